//! A store moves whole: what is exported from one and imported into another is the same task with the same log, what was
//! open goes on there, doing it again changes nothing, and a cut-off file is never taken for a whole one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::{Server, callboard};

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = callboard(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(name).display())
}

/// A store with two finished tasks and one that was open when its server was killed.
async fn filled(store: &str) -> Vec<Vec<(u64, String, Value)>> {
    let server = Server::start(&["--store", store, "--provider", "mock", "--mock-latency", "0ms"]);
    for id in ["t-one", "t-two"] {
        let (status, _) = server.post("/task?wait=60", &json!({"task_id": id, "objective": "why?"})).await;
        assert_eq!(status, 200);
    }
    let logs = vec![server.events("t-one").await, server.events("t-two").await];
    server.kill();
    let slow = Server::start(&["--store", store, "--provider", "mock", "--mock-latency", "1h"]);
    assert_eq!(slow.post("/task", &json!({"task_id": "t-open", "objective": "why?"})).await.0, 202);
    slow.kill();
    logs
}

#[tokio::test]
async fn a_store_is_moved_whole_and_what_was_open_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    let file = folder.path().join("tasks.jsonl");
    let file = file.to_str().unwrap();
    let logs = filled(&old).await;

    let (code, out, words) = run(&["export", "--store", &old, "--out", file]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{words}");
    assert!(words.contains("exported 3 tasks"), "{words}");
    let (_, out, _) = run(&["export", "--store", &old]);
    assert_eq!(out.lines().count(), fs::read_to_string(file).unwrap().lines().count());

    let (code, out, _) = run(&["import", file, "--store", &new, "--dry-run"]);
    assert_eq!((code, out.trim()), (Some(0), "3 would be imported, 0 there already, 0 refused"));
    let (code, out, _) = run(&["import", file, "--store", &new]);
    assert_eq!((code, out.trim()), (Some(0), "3 imported, 0 there already, 0 refused"));
    let (code, out, _) = run(&["import", file, "--store", &new]);
    assert_eq!((code, out.trim()), (Some(0), "0 imported, 3 there already, 0 refused"));

    let server = Server::start(&["--store", &new, "--provider", "mock"]);
    for (id, log) in [("t-one", &logs[0]), ("t-two", &logs[1])] {
        assert_eq!(&server.events(id).await, log);
    }
    let (status, answer) = server.post("/task?wait=60", &json!({"task_id": "t-open", "objective": "why?"})).await;
    assert_eq!((status, &answer["status"]), (200, &json!("succeeded")), "{answer}");
}

#[tokio::test]
async fn what_is_not_whole_or_not_the_same_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    filled(&old).await;
    let (_, lines, _) = run(&["export", "--store", &old]);
    let file = folder.path().join("tasks.jsonl");
    let import = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["import", file.to_str().unwrap(), "--store", &new])
    };

    let cut: Vec<&str> = lines.lines().collect();
    let (code, out, words) = import(&cut[..cut.len() - 1].join("\n"));
    assert_eq!((code, out.contains("3 imported")), (Some(1), true), "{words}");
    assert!(words.contains("cut off"), "{words}");
    let (code, _, words) = import("{\"task\": {}}\n");
    assert_eq!(code, Some(1));
    assert!(words.contains("error:"), "{words}");
    // Another task under a name that the store knows.
    let other = sqlite(folder.path(), "other.db");
    filled(&other).await;
    let (_, others, _) = run(&["export", "--store", &other, "t-one"]);
    let (code, out, words) = import(&others);
    assert_eq!((code, out.contains("1 refused")), (Some(1), true), "{words}");
    assert!(words.contains("t-one"), "{words}");

    let (code, _, words) = run(&["export", "--store", &sqlite(folder.path(), "nowhere.db")]);
    assert_eq!(code, Some(69), "{words}");
    assert!(!folder.path().join("nowhere.db").exists());
    assert_eq!(run(&["export", "--store", "memory:"]).0, Some(64));
}

#[tokio::test]
async fn finished_tasks_are_removed_by_hand_and_open_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path(), "tasks.db");
    filled(&store).await;
    assert_eq!(run(&["gc", "--store", &store]).0, Some(64), "nothing says what may go");
    let (_, out, _) = run(&["gc", "--store", &store, "--keep", "1", "--dry-run"]);
    assert_eq!(out.trim(), "1 finished tasks would be removed");
    let (code, out, _) = run(&["gc", "--store", &store, "--older-than", "0s"]);
    assert_eq!((code, out.trim()), (Some(0), "2 finished tasks removed"));
    let server = Server::start(&["--store", &store, "--provider", "mock"]);
    assert_eq!(server.get("/task/t-one").await.0, 404);
    assert_eq!(server.get("/task/t-open").await.0, 200);
    let (code, _, words) = run(&["gc", "--store", &store, "--keep", "1"]);
    assert_eq!(code, Some(69), "the server has it: {words}");
}

#[tokio::test]
async fn a_log_is_printed_so_far_and_followed_to_its_end() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock", "--mock-latency", "20ms"]);
    server.post("/task", &json!({"task_id": "t-log", "objective": "why?"})).await;
    let (code, followed, words) = run(&["events", "t-log", "--follow", "--server", &server.url]);
    assert_eq!(code, Some(0), "{words}");
    assert!(followed.lines().next().unwrap().contains("accepted"), "{followed}");
    assert!(followed.lines().last().unwrap().contains("task_succeeded"), "{followed}");
    let (_, so_far, _) = run(&["events", "t-log", "--server", &server.url]);
    assert_eq!(so_far, followed);
    let (_, json, _) = run(&["events", "t-log", "--json", "--after", "9", "--server", &server.url]);
    let numbers: Vec<_> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone()).collect();
    assert_eq!(numbers, [10, 11]);
    assert_eq!(run(&["events", "t-none", "--server", &server.url]).0, Some(3));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(out.contains("callboard") && out.contains("export"), "{shell}");
    }
    assert_eq!(run(&["completions", "none"]).0, Some(2));
}
