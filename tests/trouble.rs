//! The store in trouble: while its files cannot be written the answer is 503 and a red readiness; when they can again,
//! everything goes on without a hand, and nothing that was answered for is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::Server;
use tokio::time::Instant;

/// Sets the size over which no file of a process may grow; what writes past it meets an I/O error.
fn limit_files(process: u32, bytes: &str) {
    let limited = Command::new("prlimit").args(["--pid", &process.to_string(), &format!("--fsize={bytes}:")]).status();
    assert!(limited.unwrap().success());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_said_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let args = ["--store", &store, "--provider", "mock", "--mock-latency", "300ms"];
    // The signal that comes with the error would end the process before it could be told.
    let server = Server::start_ignoring("XFSZ", &args);
    let (status, _) = server.post("/task", &json!({"task_id": "before", "objective": "why?"})).await;
    assert_eq!(status, 202);

    limit_files(server.id(), "0");
    let refused = server.client.post(format!("{}/task", server.url)).json(&json!({"objective": "why?"}));
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let envelope: Value = refused.json().await.unwrap();
    assert!(envelope["code"].is_string() && envelope["message"].as_str().unwrap().contains("store"), "{envelope}");
    server.until("/ready", |status, _| status == 503).await;
    let (status, task) = server.get("/task/before").await;
    assert_eq!((status, task["status"].as_str()), (200, Some("running")), "{task}");

    limit_files(server.id(), "unlimited");
    server.until("/ready", |status, _| status == 200).await;
    let ended = server.until("/task/before/result", |status, _| status == 200).await;
    assert_eq!(ended["status"], "succeeded");
    let numbers: Vec<_> = server.events("before").await.into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let (status, after) = server.post("/task?wait=60", &json!({"objective": "why?"})).await;
    assert_eq!((status, after["status"].as_str()), (200, Some("succeeded")), "{after}");
}

/// Settings with a heartbeat that counts for the least time there is.
fn short_heartbeats(folder: &std::path::Path) -> String {
    let config = folder.join("callboard.toml");
    std::fs::write(&config, "heartbeat_ttl = \"3s\"\n").unwrap();
    config.to_str().unwrap().to_owned()
}

async fn attempts(server: &Server, id: &str) -> usize {
    server.events(id).await.iter().filter(|(_, kind, _)| kind == "step_placed").count()
}

#[tokio::test]
async fn trouble_longer_than_a_heartbeat_counts_ends_nobody_who_lives() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let config = short_heartbeats(folder.path());
    let script = "analyze:latency=8s";
    let args = ["--store", &store, "--provider", "mock", "--mock-script", script, "--config", &config];
    let server = Server::start_ignoring("XFSZ", &args);
    server.post("/task", &json!({"task_id": "slow", "objective": "why?"})).await;
    limit_files(server.id(), "0");
    let began = Instant::now();
    server.until("/ready", |status, _| status == 503).await;
    // Two heartbeats' time: whoever depends on the disk to stay alive is dead by then.
    server.until("/health", |_, _| began.elapsed() > Duration::from_secs(6)).await;
    limit_files(server.id(), "unlimited");
    server.until("/task/slow/result", |status, _| status == 200).await;
    assert_eq!(attempts(&server, "slow").await, 4, "one attempt a step");
}

#[tokio::test]
async fn a_drain_longer_than_a_heartbeat_counts_lets_steps_finish() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let config = short_heartbeats(folder.path());
    let slow = ["--store", &store, "--provider", "mock", "--mock-script", "analyze:latency=6s", "--config", &config];
    let server = Server::start(&slow);
    server.post("/task", &json!({"task_id": "kept", "objective": "why?"})).await;
    assert_eq!(server.terminate().code(), Some(0));
    let server = Server::start(&["--store", &store, "--provider", "mock", "--config", &config]);
    server.until("/task/kept/result", |status, _| status == 200).await;
    assert_eq!(attempts(&server, "kept").await, 4, "the step that ran had its time, and its result counted");
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let first = Server::start(&["--store", &store]);
    let second = support::callboard(&["serve", "--listen", "127.0.0.1:0", "--store", &store]).output().unwrap();
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains("callboard.db") && words.contains("--store"), "{words}");
    assert_eq!(first.get("/health").await.0, 200);
}
