//! The corners of the command line: signals, closed pipes, hostile text, keys, stores that are taken. What a user meets
//! on a good day is in `command_line.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use support::{PATIENCE, Server, callboard};

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    said(callboard(args).output().unwrap())
}

/// The same from inside a runtime that also serves.
async fn run_beside(server: &Server, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = callboard(args);
    command.args(["--server", &server.url]);
    tokio::task::spawn_blocking(move || said(command.output().unwrap())).await.unwrap()
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
}

/// A process that is killed when the test ends before it.
struct Ours(Child);

impl Ours {
    fn code(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn json_is_the_whole_answer_and_small() {
    let (code, out, words) = run(&["run", "What happens to a task when the process is killed?", "--json"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(out.len() < 12 * 1024, "{} bytes", out.len());
    let answer: Value = serde_json::from_str(&out).unwrap();
    for stage in answer["stages"].as_array().unwrap() {
        for field in ["stage", "agent_id", "sub_id", "status", "output", "error"] {
            assert!(stage.get(field).is_some(), "{field}: {stage}");
        }
    }
    assert!(answer["task_id"].is_string() && answer["final_output"]["text"].is_string());
}

#[test]
fn a_failed_task_still_has_its_json() {
    let failing = ["run", "why?", "--json", "--provider", "mock", "--mock-script", "evaluate:fatal"];
    let (code, out, words) = run(&failing);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, answer["status"].as_str()), (Some(1), Some("failed")));
    assert!(words.contains("error: task") && words.contains("as its script says"), "{words}");
}

#[test]
fn ctrl_c_cancels_the_task_and_ends_cleanly() {
    let slow = ["run", "why?", "--provider", "mock", "--mock-latency", "4m"];
    let mut child = Ours(callboard(&slow).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("agent-analyze, attempt 1")));
    signal("-INT", child.0.id());
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.code(), Some(4), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("was cancelled")), "{rest:?}");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let mut child = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--provider", "mock"]);
    child.args(["--mock-latency", "4m"]).env("CALLBOARD_DRAIN_GRACE", "10m");
    let mut child = Ours(child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.next().unwrap().strip_prefix("listening on ").unwrap().to_owned();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let taken = client.post(format!("{url}/task")).json(&json!({"objective": "why?"})).send().await.unwrap();
    assert_eq!(taken.status(), 202);
    signal("-TERM", child.0.id());
    let until = Instant::now() + PATIENCE;
    while client.get(format!("{url}/ready")).send().await.unwrap().status() != 503 {
        assert!(Instant::now() < until, "it does not drain");
    }
    signal("-TERM", child.0.id());
    assert_eq!(child.code(), Some(143));
}

#[tokio::test]
async fn nobody_who_reads_is_no_error() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = callboard(&["agents", "--server", &server.url]);
    command.stdout(writer);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (code, _, words) = said(output);
    assert_eq!((code, words.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn text_of_others_cannot_act_on_the_terminal() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    let hostile = "\u{1b}[2J\u{9b}31m\u{7}\u{202e}gone";
    let (status, _) = server.post("/task?wait=60", &json!({"task_id": "hostile", "objective": hostile})).await;
    assert_eq!(status, 200);
    for args in [&["show", "hostile"][..], &["show", "hostile", "--json"], &["tasks"], &["tasks", "--json"]] {
        let (code, out, _) = run_beside(&server, args).await;
        assert_eq!(code, Some(0), "{args:?}");
        assert!(out.contains("gone"), "{out:?}");
        let acts = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
        assert!(!out.contains(acts), "{args:?}: {out:?}");
    }
}

#[tokio::test]
async fn all_pages_are_listed_when_asked_for() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    for n in 0..5 {
        server.post("/task?wait=60", &json!({"task_id": format!("task-{n}"), "objective": "why?"})).await;
    }
    let (_, page, words) = run_beside(&server, &["tasks", "--limit", "2"]).await;
    assert_eq!(page.matches("task-").count(), 2, "{page}");
    assert!(words.contains("--all"), "{words}");
    let (_, all, words) = run_beside(&server, &["tasks", "--limit", "2", "--all", "--status", "succeeded"]).await;
    assert_eq!((all.matches("task-").count(), words.as_str()), (5, ""), "{all}");
    let (code, _, words) = run_beside(&server, &["tasks", "--status", "odd"]).await;
    assert_eq!(code, Some(1));
    assert!(words.contains("waiting_for_agent"), "{words}");
}

#[tokio::test]
async fn a_key_opens_the_server_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callboard.toml");
    std::fs::write(&config, "api_keys = \"s3cret=acme\"\n").unwrap();
    let server = Server::start(&["--store", "memory:", "--config", config.to_str().unwrap()]);
    let (code, _, words) = run_beside(&server, &["tasks"]).await;
    assert_eq!(code, Some(1));
    assert!(words.contains("CALLBOARD_API_KEY"), "{words}");
    for (key, expected) in [("s3cret", 0), ("wr0ng", 1)] {
        let mut command = callboard(&["tasks", "--server", &server.url]);
        command.env("CALLBOARD_API_KEY", key);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (code, out, words) = said(output);
        assert_eq!(code, Some(expected), "{words}");
        assert!(!format!("{out}{words}").contains(key), "{out}{words}");
    }
}

#[tokio::test]
async fn cancelling_what_has_ended_says_so() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    server.post("/task?wait=60", &json!({"task_id": "done", "objective": "why?"})).await;
    let (code, _, words) = run_beside(&server, &["cancel", "done"]).await;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("already succeeded"), "{words}");
    assert_eq!(run_beside(&server, &["cancel", "never"]).await.0, Some(3));
}

#[tokio::test]
async fn a_store_that_is_taken_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let _server = Server::start(&["--store", &store]);
    let (code, out, words) = run(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    assert_eq!((code, out.as_str()), (Some(69), ""), "{words}");
    assert!(words.contains("error:") && words.contains("callboard.db"), "{words}");
}

#[test]
fn a_wrong_setting_is_named_with_its_remedy() {
    for (name, value, expected) in [
        ("CALLBOARD_SLOTZ", "1", "did you mean CALLBOARD_SLOTS?"),
        ("CALLBOARD_STEP_TIMEOUT", "soon", "setting step_timeout"),
        ("CALLBOARD_CONFIG", "/nowhere/callboard.toml", "/nowhere/callboard.toml"),
        ("CALLBOARD_STORE", "postgres://host", "sqlite:PATH"),
    ] {
        let (code, _, words) = said(callboard(&["serve"]).env(name, value).output().unwrap());
        assert_eq!(code, Some(64), "{words}");
        assert!(words.contains(expected), "{name}: {words}");
    }
}

#[test]
fn a_benchmark_has_a_store_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.db");
    std::fs::write(&path, "precious").unwrap();
    let few = ["bench", "--tasks", "2", "--concurrency", "1", "--log", "off", "--store"];
    let (code, _, words) = run(&[&few[..], &[&format!("sqlite:{}", path.display())]].concat());
    assert_eq!(code, Some(64));
    assert!(words.contains("does not exist yet"), "{words}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    for (store, kind) in [("sqlite:", "sqlite"), ("memory:", "memory")] {
        let (code, out, words) = run(&[&few[..], &[store]].concat());
        assert_eq!(code, Some(0), "{words}");
        let line: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((line["store"].as_str(), line["objective_bytes"].as_u64()), (Some(kind), Some(200)));
        assert_eq!(line["fsync_rate_per_s"].is_null(), kind == "memory", "{line}");
    }
}

#[test]
fn a_benchmark_with_failures_reports_and_fails() {
    let failing = ["--mock-script", "analyze:fatal@3", "--store", "memory:", "--log", "off"];
    let (code, out, words) = run(&[&["bench", "--tasks", "6", "--concurrency", "2"], &failing[..]].concat());
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, line["errors"].as_u64()), (Some(1), Some(2)), "{words}");
    assert!(words.contains("2 of 6 tasks went wrong"), "{words}");
}

#[test]
fn a_crowd_is_queued_done_and_counted() {
    for store in ["memory:", "sqlite:"] {
        let queued = ["bench", "--queued", "60", "--concurrency", "4", "--log", "off", "--store", store];
        let (code, out, words) = run(&queued);
        assert_eq!(code, Some(0), "{words}");
        let line: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((line["tasks"].as_u64(), line["lost"].as_u64()), (Some(60), Some(0)), "{line}");
        for name in ["list_p99_ms", "read_p99_ms", "submit_p99_ms"] {
            assert!(line["many"][name].as_f64().unwrap() > 0.0, "{name}: {line}");
        }
        assert!(line["done_per_s"].as_f64().unwrap() > 0.0 && words.contains("60 tasks queued"), "{line} {words}");
    }
    let failing = ["bench", "--queued", "30", "--concurrency", "4", "--log", "off", "--store", "memory:"];
    let (code, out, words) = run(&[&failing[..], &["--mock-script", "analyze:fatal@3"]].concat());
    let lost = serde_json::from_str::<Value>(&out).unwrap()["lost"].as_u64().unwrap();
    assert!(code == Some(1) && (1..=30).contains(&lost), "{out} {words}");
    assert!(words.contains(&format!("{lost} of 30 tasks went wrong")), "{words}");
}

#[test]
fn finished_tasks_are_looked_at_beside_few_and_many() {
    let finished = ["bench", "--finished", "40", "--concurrency", "4", "--log", "off", "--store", "sqlite:"];
    let (code, out, words) = run(&finished);
    assert_eq!(code, Some(0), "{words}");
    let line: Value = serde_json::from_str(&out).unwrap();
    let beside = |when: &str| line[when]["beside"].as_u64();
    assert_eq!((beside("few"), beside("many"), line["lost"].as_u64()), (Some(20), Some(40), Some(0)), "{line}");
    assert!(words.contains("40 tasks finished"), "{words}");
}

#[test]
fn all_at_once_means_as_many_clients_as_tasks() {
    let (code, out, words) = run(&["bench", "--at-once", "25", "--log", "off", "--store", "memory:"]);
    assert_eq!(code, Some(0), "{words}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((line["tasks"].as_u64(), line["concurrency"].as_u64()), (Some(25), Some(25)), "{line}");
    assert_eq!(run(&["bench", "--at-once", "25", "--queued", "5"]).0, Some(2));
}
