//! A worker whose work is done by the test: it accepts whatever comes, and hands it over.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// What listens.
pub struct Hands {
    pub url: String,
    works: Receiver<Value>,
}

impl Hands {
    /// Listens on a free port, for as long as the test's process lives.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, works) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), sender) = (stream, sender.clone()) else { return };
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    loop {
                        let mut length = 0;
                        let mut line = String::new();
                        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                            let header = line.to_lowercase();
                            if let Some(value) = header.strip_prefix("content-length:") {
                                length = value.trim().parse().unwrap();
                            }
                            line.clear();
                        }
                        let mut body = vec![0; length];
                        if length == 0 || reader.read_exact(&mut body).is_err() {
                            return;
                        }
                        let _ = sender.send(serde_json::from_slice(&body).unwrap());
                        let answer = r#"{"status":"accepted"}"#;
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}",
                            answer.len()
                        );
                        if write!(stream, "{head}\r\n\r\n{answer}").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, works }
    }

    /// The next work that came.
    pub fn next(&self) -> Value {
        self.works.recv_timeout(super::PATIENCE).unwrap()
    }
}
