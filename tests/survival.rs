//! Accepted is never lost: `kill -9` at random moments, and every task that was answered for ends, each step's result
//! counted once, every log without a gap. `CALLBOARD_KILL_ROUNDS` sets how many rounds of three kills (1 when unset).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{PATIENCE, Server};
use tokio::time::Instant;

const TASKS: usize = 300;
const KILLS: usize = 3;

fn rounds() -> usize {
    std::env::var("CALLBOARD_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn at_ms(rfc3339: &str) -> u64 {
    let at = humantime::parse_rfc3339(rfc3339).unwrap().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(at.as_millis()).unwrap()
}

async fn submit_all(server: &Server) -> Vec<String> {
    let posts = (0..TASKS).map(|n| async move {
        let id = format!("survivor-{n}");
        let (status, body) = server.post("/task", &json!({"task_id": id, "objective": "why?"})).await;
        assert_eq!(status, 202, "{body}");
        id
    });
    futures_util::future::join_all(posts).await
}

async fn count(server: &Server, status: &str) -> usize {
    let (code, page) = server.get(&format!("/tasks?status={status}&limit=200")).await;
    assert_eq!(code, 200, "{page}");
    page["tasks"].as_array().unwrap().len()
}

async fn all_ended(server: &Server) {
    let until = Instant::now() + PATIENCE;
    while count(server, "running").await + count(server, "queued").await + count(server, "waiting_for_agent").await > 0
    {
        assert!(Instant::now() < until, "tasks do not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One log: gapless, each step succeeded once, and the task with it. Answers the times of its events.
async fn check(server: &Server, id: &str) -> Vec<u64> {
    let (status, result) = server.get(&format!("/task/{id}/result")).await;
    assert_eq!((status, result["status"].as_str()), (200, Some("succeeded")), "{id}: {result}");
    assert_eq!(result["stages"].as_array().unwrap().len(), 4, "{id}: {result}");
    let events = server.events(id).await;
    let numbers: Vec<_> = events.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{id}");
    let mut succeeded = BTreeMap::new();
    let mut attempts = BTreeSet::new();
    for (_, kind, data) in &events {
        let step = data["sub_id"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "step_succeeded" => *succeeded.entry(step).or_insert(0) += 1,
            "step_placed" => assert!(attempts.insert((step, data["attempt"].as_u64())), "{id}: an attempt twice"),
            _ => {}
        }
    }
    let once: Vec<_> = succeeded.values().copied().collect();
    assert_eq!(once, [1; 4], "{id}: {succeeded:?}");
    events.iter().map(|(_, _, data)| at_ms(data["at"].as_str().unwrap())).collect()
}

async fn round(round: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("callboard.db").display());
    let args = ["--store", &store, "--provider", "mock", "--mock-latency", "50ms", "--slots", "16"];
    let mut server = Server::start(&args);
    let ids = submit_all(&server).await;
    let mut restarts = Vec::new();
    for _ in 0..KILLS {
        // The random moment is the point here: whatever is going on is cut.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..600))).await;
        server.kill();
        restarts.push(now_ms());
        server = Server::start(&args);
    }
    all_ended(&server).await;
    let mut times = BTreeSet::new();
    for id in &ids {
        times.extend(check(&server, id).await);
    }
    let resumed: Vec<_> = restarts.iter().map(|at| times.range(at..).next().map_or(0, |first| first - at)).collect();
    println!("round {round}: restart to first resumed step, ms: {resumed:?}");
}

#[test]
fn whatever_was_accepted_ends_through_kills() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0..rounds() {
            round(number).await;
        }
    });
}
