//! A worker whose work is done by the test: it accepts whatever comes, and hands it over.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What listens.
pub struct Hands {
    pub url: String,
    works: Receiver<Value>,
    is_gone: Arc<AtomicBool>,
}

impl Hands {
    /// Listens on a free port, until it leaves.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, works) = channel();
        let is_gone = Arc::new(AtomicBool::new(false));
        let gone = is_gone.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if gone.load(Ordering::SeqCst) {
                    return;
                }
                let (sender, gone) = (sender.clone(), gone.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &sender, &gone));
                }
            }
        });
        Self { url, works, is_gone }
    }

    /// The next work that came.
    pub fn next(&self) -> Value {
        self.works.recv_timeout(super::PATIENCE).unwrap()
    }

    /// The next work, if it comes within this time.
    pub fn next_within(&self, time: std::time::Duration) -> Option<Value> {
        self.works.recv_timeout(time).ok()
    }

    /// Whether nothing has come that was not taken.
    pub fn nothing_came(&self) -> bool {
        self.works.try_recv().is_err()
    }

    /// Listens no more.
    pub fn leave(&self) {
        self.is_gone.store(true, Ordering::SeqCst);
        let place = self.url.trim_start_matches("http://").to_owned();
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(place));
    }
}

fn serve(mut stream: TcpStream, works: &Sender<Value>, gone: &AtomicBool) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(body) = request(&mut reader) {
        if gone.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(work) = serde_json::from_slice(&body) {
            let _ = works.send(work);
        }
        let answer = r#"{"status":"accepted"}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", answer.len());
        if write!(stream, "{head}\r\n\r\n{answer}").is_err() {
            return;
        }
    }
}

/// The next request's body; none when the connection has ended.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// A place where connections are taken and never answered; gives its URL.
pub fn deaf() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    url
}

/// A server that answers everything with these words; gives its URL.
pub fn answering(words: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let words = words.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), words) = (stream, words.clone()) else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while request(&mut reader).is_some() && stream.write_all(words.as_bytes()).is_ok() {}
            });
        }
    });
    url
}
