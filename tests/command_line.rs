//! The command line as a user meets it: real processes, their words and their exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use support::{Server, callboard};

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = callboard(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().expect("it was ended by a signal"), text(stdout), text(stderr))
}

#[test]
fn the_demo_answers_over_real_documents_and_cites_them() {
    let (code, answer, progress) = run(&["demo"]);
    assert_eq!(code, 0, "{progress}");
    let sources: Vec<_> = answer.lines().filter(|line| line.trim_start().starts_with('[')).collect();
    assert!(!sources.is_empty(), "{answer}");
    for source in sources {
        let place = source.split_whitespace().nth(1).unwrap();
        let (file, line) = place.rsplit_once(':').unwrap();
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let line: usize = line.parse().unwrap();
        assert!((1..=text.lines().count()).contains(&line), "{source}");
    }
    for agent in ["agent-analyze", "agent-retrieve", "agent-evaluate", "agent-finalize"] {
        assert!(progress.contains(agent), "{progress}");
    }
}

#[test]
fn a_question_over_a_folder_of_ones_own_is_answered_from_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("tides.md"),
        "# Tides\n\nThe harbour at Zellwick floods when the moon is full.\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("bread.txt"), "Knead the dough for ten minutes.\n").unwrap();
    let docs = folder.path().to_str().unwrap();
    let (code, answer, words) = run(&["run", "When does the harbour at Zellwick flood?", "--docs", docs, "--json"]);
    assert_eq!(code, 0, "{words}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["stages"].as_array().unwrap().len() == 4 && answer["task_id"].is_string());
    let last = &answer["final_output"];
    assert!(last["text"].as_str().unwrap().contains("floods when the moon is full"), "{last}");
    assert_eq!(
        (last["citations"][0]["file"].as_str(), last["citations"][0]["line"].as_u64()),
        (Some("tides.md"), Some(1))
    );
}

#[test]
fn exit_codes_say_what_happened() {
    let failing = ["run", "why?", "--provider", "mock", "--mock-script", "analyze:fatal@1"];
    let (code, _, words) = run(&failing);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("analyze"), "{words}");
    assert_eq!(run(&["frobnicate"]).0, 2);
    let (code, _, words) = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 64);
    assert!(words.contains("CALLBOARD_API_KEYS") && words.contains("--insecure"), "{words}");
    let (code, _, words) = run(&["serve", "--docs", "/nowhere/at/all"]);
    assert!(code != 0 && words.contains("/nowhere/at/all"), "{code}: {words}");
    let (code, _, words) = run(&["tasks", "--server", "http://127.0.0.1:9"]);
    assert_eq!(code, 69);
    assert!(words.contains("callboard serve"), "{words}");
    let mode = callboard(&["serve"]).env("MASTER_MODE", "other").output().unwrap();
    assert_eq!(mode.status.code(), Some(64));
}

#[tokio::test]
async fn client_commands_speak_to_a_server() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock", "--mock-script", "finalize:latency=4m"]);
    server.post("/task", &json!({"task_id": "held", "objective": "hold on"})).await;
    let url = server.url.clone();
    let ask = move |args: &[&str]| run(&[args, &["--server", &url]].concat());
    let told = tokio::task::spawn_blocking(move || {
        let (_, agents, _) = ask(&["agents"]);
        assert!(agents.contains("agent-finalize"), "{agents}");
        let (_, tree, _) = ask(&["tree"]);
        assert!(tree.contains("master") && tree.contains("agent-analyze"), "{tree}");
        let (_, tasks, _) = ask(&["tasks"]);
        assert!(tasks.contains("held"), "{tasks}");
        assert_eq!(ask(&["cancel", "held"]).0, 0);
        let (_, shown, _) = ask(&["show", "held"]);
        assert!(shown.contains("cancelled"), "{shown}");
        assert_eq!(ask(&["show", "nobody"]).0, 3);
        let (_, page, _) = ask(&["tasks", "--json"]);
        serde_json::from_str::<Value>(page.lines().next().unwrap()).map(|_| ())
    });
    told.await.unwrap().unwrap();
}

#[tokio::test]
async fn sigterm_hands_running_steps_back_and_a_restart_finishes_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let config = folder.path().join("callboard.toml");
    std::fs::write(&config, "drain_grace = \"100ms\"\n").unwrap();
    let config = config.to_str().unwrap().to_owned();
    let slow = ["--store", &store, "--provider", "mock", "--mock-latency", "4m", "--config", &config];
    let server = Server::start(&slow);
    server.post("/task", &json!({"task_id": "kept", "objective": "why?"})).await;
    assert_eq!(server.terminate().code(), Some(0));

    let server = Server::start(&["--store", &store, "--provider", "mock"]);
    let (status, answer) = server.post("/task?wait=60", &json!({"task_id": "kept", "objective": "why?"})).await;
    assert_eq!((status, answer["status"].as_str()), (200, Some("succeeded")), "{answer}");
    let ends: Vec<_> = server.events("kept").await.into_iter().filter(|(_, kind, _)| kind == "attempt_ended").collect();
    assert!(ends.iter().all(|(.., data)| data.to_string().contains("drain")), "{ends:?}");
}

#[test]
fn the_benchmark_prints_one_line_with_everything_in_it() {
    for via in ["process", "http"] {
        let (code, line, words) =
            run(&["bench", "--tasks", "20", "--concurrency", "4", "--provider", "mock", "--via", via]);
        assert_eq!(code, 0, "{words}");
        assert_eq!(line.lines().count(), 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        for name in [
            "tasks_per_s",
            "p50_ms",
            "p99_ms",
            "max_ms",
            "cpu_us_per_task",
            "peak_rss_mb",
            "commits_per_task",
            "fsyncs_per_task",
            "fsync_rate_per_s",
        ] {
            assert!(line[name].as_f64().is_some_and(|value| value > 0.0), "{name}: {line}");
        }
        assert_eq!(line["commits_per_task"], 5.0, "slots are free, so no step had to queue");
        assert_eq!((line["errors"].as_u64(), line["via"].as_str()), (Some(0), Some(via)));
    }
}
