//! What a listener bears from its clients: heads, bodies, connections, depth and waits all have a bound, each can be set,
//! and whoever goes past one is told so without harm to the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use support::{PATIENCE, Server};

/// A server with these settings, and the folder that holds their file.
fn server(settings: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callboard.toml");
    std::fs::write(&file, format!("store = \"memory:\"\nprovider = \"mock\"\n{settings}\n")).unwrap();
    (Server::start(&["--config", file.to_str().unwrap()]), folder)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends this and reads until the server closes the connection.
fn talk(server: &Server, text: &str) -> String {
    let mut stream = connect(server);
    // A server that has seen enough may close while we write.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request on a connection that stays open; its answer's first line.
fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"{\"status\":\"ok\"}") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned()
}

fn post(body: &str) -> String {
    format!("POST /task HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The envelope at the end of an answer.
fn envelope(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_else(|_| panic!("{answer}"))
}

async fn is_well(server: &Server) -> bool {
    server.post("/task?wait=60", &json!({"objective": "why?"})).await.0 == 200
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (server, _folder) = server("");
    let many = (0..200).fold(String::new(), |mut head, nth| {
        write!(head, "X-{nth}: a\r\n").unwrap();
        head
    });
    for head in [many, format!("X: {}\r\n", "a".repeat(300_000))] {
        let answer = talk(&server, &format!("GET /health HTTP/1.1\r\nHost: x\r\n{head}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let answer = talk(&server, &format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(is_well(&server).await);
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_given_up() {
    let (server, _folder) = server("head_timeout = \"1s\"");
    let answer = talk(&server, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(is_well(&server).await);
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_is_given_up() {
    let (server, _folder) = server("body_timeout = \"1s\"");
    let answer = talk(&server, "POST /task HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"objective\":");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(envelope(&answer)["code"], "timeout");
    assert!(is_well(&server).await);
}

#[tokio::test]
async fn a_connection_that_says_nothing_more_is_closed() {
    let (server, _folder) = server("keep_alive = \"1s\"");
    let answer = talk(&server, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let (server, _folder) = server("max_body_bytes = 1024");
    let body = |length: usize| format!("{{\"objective\":\"{}\"}}", "x".repeat(length - "{\"objective\":\"\"}".len()));
    let answer = talk(&server, &post(&body(1025)));
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("larger than 1024 bytes"), "{answer}");
    assert!(talk(&server, &post(&body(1024))).starts_with("HTTP/1.1 202 "));
}

#[tokio::test]
async fn json_that_is_nested_too_deep_is_refused() {
    let (server, _folder) = server("max_json_depth = 10");
    let body = |levels: usize| {
        // The body and the context are levels, too.
        let inner = levels - 2;
        format!("{{\"objective\":\"x\",\"context\":{{\"a\":{}1{}}}}}", "[".repeat(inner), "]".repeat(inner))
    };
    let answer = talk(&server, &post(&body(11)));
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    assert!(envelope(&answer)["message"].as_str().unwrap().contains("deeper than 10 levels"), "{answer}");
    assert!(talk(&server, &post(&body(10))).starts_with("HTTP/1.1 202 "));
    // Where it is no field that anybody reads, too.
    let deep = format!("{{\"objective\":\"x\",\"other\":{}", "[".repeat(100_000));
    assert!(talk(&server, &post(&deep)).starts_with("HTTP/1.1 422 "));
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let (server, _folder) = server("max_connections = 2\nhttp_workers = 1");
    let mut open = [connect(&server), connect(&server)];
    open.iter_mut().for_each(|stream| assert!(ask(stream).starts_with("HTTP/1.1 200 ")));
    let mut third = connect(&server);
    third.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let [first, mut second] = open;
    for _ in 0..200 {
        ask(&mut second);
    }
    third.set_nonblocking(true).unwrap();
    let unanswered = third.read(&mut [0; 16]).unwrap_err();
    assert_eq!(unanswered.kind(), ErrorKind::WouldBlock);
    drop(first);
    third.set_nonblocking(false).unwrap();
    let mut begin = [0; 12];
    third.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
}

#[tokio::test]
async fn one_watcher_too_many_is_told_to_come_back() {
    let (server, _folder) = server("max_watchers = 1\nmock_latency = \"1h\"");
    let (_, task) = server.post("/task", &json!({"objective": "why?"})).await;
    let url = format!("{}{}", server.url, task["links"]["events"].as_str().unwrap());
    let first = server.client.get(&url).send().await.unwrap();
    assert_eq!(first.status(), 200);
    let second = server.client.get(&url).send().await.unwrap();
    assert_eq!(second.status(), 429);
    assert_eq!(second.headers()["retry-after"], "5");
    assert_eq!(second.json::<Value>().await.unwrap()["code"], "overloaded");
}
