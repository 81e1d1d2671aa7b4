//! The servers that other tests are made with are what they say: each lets in whom it should, keeps what it should, and can
//! be paused, killed and started again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/redis.rs"]
mod redis;

use redis::{Certificate, Redis, Reply, Wanted};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// What a stranger is answered to a PING, behind these lines.
fn stranger(redis: &Redis, before: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", redis.port())).unwrap());
    stream.get_mut().write_all(format!("{before}PING\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut last = String::new();
    for line in stream.lines().map_while(Result::ok).filter(|line| line != "+OK") {
        last = line;
    }
    last
}

#[test]
fn each_lets_in_whom_it_should() {
    assert_eq!(stranger(&Redis::start(), ""), "+PONG");
    let closed = Wanted::default().password("s3cret").start();
    assert!(stranger(&closed, "").starts_with("-NOAUTH"));
    assert_eq!(stranger(&closed, "AUTH s3cret\r\n"), "+PONG");
    let ruled = Wanted::default().user("ann", "s3cret", "~callboard:* +ping +auth +get").start();
    assert!(stranger(&ruled, "").starts_with("-NOAUTH"));
    assert_eq!(stranger(&ruled, "AUTH ann s3cret\r\n"), "+PONG");
    assert!(ruled.say("SET a b") == Reply::Text("OK".to_owned()), "the test may everything");
}

#[test]
fn certificates_are_what_they_are_called() {
    for (certificate, expected) in [
        (Certificate::Good, "Verify return code: 0 (ok)"),
        (Certificate::Expired, "certificate has expired"),
        (Certificate::Untrusted, "unable to"),
        (Certificate::OtherHost, "IP address mismatch"),
    ] {
        let redis = Wanted::default().tls(certificate).start();
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", redis.port()), "-verify_ip", "127.0.0.1"])
            .args(["-CAfile", &redis.ca()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(words.contains(expected), "{certificate:?}: {words}");
    }
}

#[test]
fn a_killed_one_comes_back_with_what_it_was_told_to_keep() {
    let mut durable = Wanted::default().durable().start();
    let port = durable.port();
    durable.say("SET kept yes");
    durable.kill();
    assert!(durable.ask(&["PING"]).is_err());
    durable.restart();
    assert_eq!((durable.port(), durable.say("GET kept").text().as_str()), (port, "yes"));

    let mut forgetful = Redis::start();
    forgetful.say("SET kept yes");
    forgetful.kill();
    forgetful.restart();
    assert_eq!(forgetful.say("GET kept"), Reply::Nil);
}

#[test]
fn a_paused_one_says_nothing_until_it_goes_on() {
    let redis = Redis::start();
    redis.pause();
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    assert!(stream.read_line(&mut line).is_err(), "{line}");
    redis.resume();
    stream.get_ref().set_read_timeout(None).unwrap();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "+PONG\r\n");
}
