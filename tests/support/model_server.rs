//! A model provider on this machine: speaks the documented wire over a socket, says what the test tells it to, in order, and
//! keeps what it was asked. Where nothing is told it answers well.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What it says.
#[derive(Debug, Clone)]
pub enum Says {
    /// This status, these headers, this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// A stream of these events after a 200, and then its proper end.
    Stream(Vec<String>),
    /// A stream of these events, and then a broken connection.
    Breaks(Vec<String>),
    /// A stream of these events, and then nothing, for as long as the other side stays.
    Hangs(Vec<String>),
    /// Nothing, for as long as the other side stays.
    Nothing,
    /// Not even that: the connection ends.
    Leaves,
}

/// One question that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The provider.
#[derive(Clone)]
pub struct ModelServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    to_say: VecDeque<Says>,
    asked: Vec<Asked>,
    /// Questions whose askers have gone while it said nothing.
    left: usize,
}

impl ModelServer {
    /// Listens on a free port for as long as the test lives.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), state: Arc::default() };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = own.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Says these next, one for each question.
    pub fn says(&self, all: impl IntoIterator<Item = Says>) {
        self.state.lock().unwrap().to_say.extend(all);
    }

    /// All that it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Waits until so many have gone that it said nothing to; gives how long that took.
    pub async fn until_left(&self, count: usize) -> Duration {
        let began = Instant::now();
        while self.left() < count {
            assert!(began.elapsed() < super::PATIENCE, "nobody went");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }

    fn left(&self) -> usize {
        self.state.lock().unwrap().left
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(asked) = question(&mut reader) {
            let says = {
                let mut state = self.state.lock().unwrap();
                state.asked.push(asked.clone());
                state.to_say.pop_front().unwrap_or_else(|| well(&asked))
            };
            let done = match says.clone() {
                Says::Answer(status, headers, body) => answer(&mut stream, status, &headers, &body),
                Says::Stream(events) => events_of(&mut stream, &events).and_then(|()| write!(stream, "0\r\n\r\n")),
                Says::Breaks(events) => {
                    let _ = events_of(&mut stream, &events);
                    return;
                }
                Says::Leaves => return,
                Says::Nothing | Says::Hangs(_) => {
                    if let Says::Hangs(events) = says {
                        let _ = events_of(&mut stream, &events);
                    }
                    // Ends when the other side does.
                    let _ = reader.read(&mut [0]);
                    self.state.lock().unwrap().left += 1;
                    return;
                }
            };
            if done.is_err() {
                return;
            }
        }
    }
}

/// The right answer for what was asked, by the path's manner.
fn well(asked: &Asked) -> Says {
    let text = "The answer is forty-two.";
    let body = if asked.path.contains(":generateContent") {
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5, "totalTokenCount": 16},
            "modelVersion": "gemini-9"})
    } else {
        json!({"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-9",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}})
    };
    Says::Answer(200, Vec::new(), body.to_string())
}

fn answer(stream: &mut TcpStream, status: u16, headers: &[(&str, String)], body: &str) -> std::io::Result<()> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("HTTP/1.1 {status} It\r\ncontent-type: application/json\r\n{headers}content-length: {}", body.len());
    write!(stream, "{head}\r\n\r\n{body}")
}

fn events_of(stream: &mut TcpStream, events: &[String]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for event in events {
        let event = format!("data: {event}\n\n");
        write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
    }
    Ok(())
}

/// The next question; none when the connection has ended.
fn question(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        let (name, value) = line.trim_end().split_once(':')?;
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body: serde_json::from_slice(&body).ok()? })
}
