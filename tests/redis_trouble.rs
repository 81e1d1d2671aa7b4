//! Redis in trouble under a server with tasks under way: readiness is red and submissions are answered 503 while it cannot be
//! used; afterwards everything goes on without a hand, and whatever was accepted ends, each step's result counted once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;
use support::redis::{Redis, Wanted};
use support::{PATIENCE, Server, callboard};
use tempfile::TempDir;
use tokio::time::Instant;

/// A server over Redis with a few tasks under way.
struct House {
    redis: Redis,
    server: Server,
    tasks: Vec<String>,
    folder: TempDir,
}

/// Settings in a file: what is wrong with Redis is noticed soon.
fn settings(folder: &TempDir, more: &str) -> String {
    let path = folder.path().join("callboard.toml");
    std::fs::write(&path, format!("redis_timeout = \"500ms\"\ndrain_grace = \"1s\"\n{more}")).unwrap();
    path.to_str().unwrap().to_owned()
}

impl House {
    /// Over a Redis that keeps what it is told.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = Wanted::default().durable().start();
        let config = settings(&folder, "");
        let mock = ["--provider", "mock", "--mock-latency", "250ms"];
        let store = redis.url();
        let args = [&["--store", &store, "--config", &config], &mock[..]].concat();
        let server = Server::start_logging(&args, &folder.path().join("log"));
        let mut house = Self { redis, server, tasks: Vec::new(), folder };
        for number in 0..6 {
            house.submit(&format!("before-{number}")).await;
        }
        house
    }

    /// Hands a task in as clients do: again, until it is taken.
    async fn submit(&mut self, id: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.try_to_submit(id).await {
            assert!(Instant::now() < until, "{id} is not taken");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.tasks.push(id.to_owned());
    }

    /// Hands a task in; a refusal has to be as it should.
    async fn try_to_submit(&self, id: &str) -> bool {
        let body = json!({"task_id": id, "objective": "why?"});
        let response = self.server.client.post(format!("{}/task", self.server.url)).json(&body).send().await.unwrap();
        if response.status().as_u16() == 202 {
            return true;
        }
        assert_eq!(response.status().as_u16(), 503);
        assert!(response.headers().contains_key("retry-after"));
        let envelope: Value = response.json().await.unwrap();
        assert!(envelope["code"].is_string() && envelope["message"].as_str().unwrap().contains("store"), "{envelope}");
        false
    }

    /// Waits until readiness is red, and sees a submission refused, and the log say why.
    async fn is_red(&self, why: &str) {
        let envelope = self.server.until("/ready", |status, _| status == 503).await;
        assert!(envelope["message"].as_str().unwrap().contains("store"), "{envelope}");
        assert!(!self.try_to_submit("refused").await, "it takes what it cannot keep");
        assert_eq!(self.server.get("/health").await.0, 200, "it lives");
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(log.contains(why), "{why} is not in: {log}");
    }

    /// Waits until all goes on by itself; nothing is lost, and nothing was done twice.
    async fn goes_on(mut self) {
        self.server.until("/ready", |status, _| status == 200).await;
        // Whoever was refused comes again; it may have been written without its answer.
        self.submit("refused").await;
        self.submit("after").await;
        for id in &self.tasks {
            let result = self.server.until(&format!("/task/{id}/result"), |status, _| status == 200).await;
            assert_eq!(result["status"], "succeeded", "{id}: {result}");
            self.is_sound(id).await;
        }
        let (_, page) = self.server.get("/tasks?limit=200").await;
        assert_eq!(page["tasks"].as_array().unwrap().len(), self.tasks.len(), "{page}");
    }

    /// One log: without a gap, each step succeeded once, no attempt twice.
    async fn is_sound(&self, id: &str) {
        let events = self.server.events(id).await;
        let numbers: Vec<_> = events.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{id}");
        let (mut succeeded, mut attempts) = (BTreeMap::new(), BTreeSet::new());
        for (_, kind, data) in &events {
            let step = data["sub_id"].as_str().unwrap_or_default();
            match kind.as_str() {
                "step_succeeded" => *succeeded.entry(step).or_insert(0) += 1,
                "step_placed" => assert!(attempts.insert((step, data["attempt"].as_u64())), "{id}: an attempt twice"),
                _ => {}
            }
        }
        assert_eq!(succeeded.values().copied().collect::<Vec<_>>(), [1; 4], "{id}: {succeeded:?}");
    }
}

#[tokio::test]
async fn killed_and_started_again() {
    let mut house = House::open().await;
    house.redis.kill();
    house.is_red("refuses connections: start Redis there").await;
    house.redis.restart();
    house.goes_on().await;
}

#[tokio::test]
async fn standing_still() {
    let house = House::open().await;
    house.redis.pause();
    house.is_red("it stands still, or the way there does").await;
    house.redis.resume();
    house.goes_on().await;
}

#[tokio::test]
async fn reading_its_data() {
    let mut house = House::open().await;
    // Enough to read for some seconds, in the file that is answered beside.
    house.redis.say("DEBUG POPULATE 60000");
    house.redis.say("BGREWRITEAOF");
    let until = Instant::now() + PATIENCE;
    while !house.redis.say("INFO persistence").text().contains("aof_rewrite_in_progress:0") {
        assert!(Instant::now() < until, "it does not rewrite its file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.redis.kill();
    house.redis.restart_with(&["key-load-delay 2000", "loading-process-events-interval-bytes 1024"]);
    let answer = house.redis.ask(&["GET", "key:1"]).unwrap().text();
    assert!(answer.starts_with("LOADING"), "{answer}");
    house.is_red("is still reading its data").await;
    house.redis.say("CONFIG SET key-load-delay 0");
    house.goes_on().await;
}

#[tokio::test]
async fn a_replica_for_a_while() {
    let house = House::open().await;
    house.redis.say("REPLICAOF 127.0.0.1 1");
    house.is_red("is a replica and takes no writes").await;
    house.redis.say("REPLICAOF NO ONE");
    house.goes_on().await;
}

#[tokio::test]
async fn without_memory() {
    let house = House::open().await;
    house.redis.say("CONFIG SET maxmemory 1");
    house.is_red("has no memory left and takes no writes").await;
    house.redis.say("CONFIG SET maxmemory 0");
    house.goes_on().await;
}

#[tokio::test]
async fn without_its_scripts() {
    let mut house = House::open().await;
    house.redis.say("SCRIPT FLUSH");
    assert!(house.try_to_submit("unnoticed").await, "nobody notices");
    house.tasks.push("unnoticed".to_owned());
    house.redis.say("SCRIPT FLUSH");
    house.goes_on().await;
}

#[tokio::test]
async fn with_a_queue_entry_of_no_task() {
    let mut house = House::open().await;
    // It stands before all others, for ever.
    let (place, member) = ("default\nghost\nghost-P1", "00000000000000default\nghost\nghost-P1\n1\n0");
    house.redis.command(&["HSET", "callboard:places:analyze", place, member]);
    house.redis.command(&["ZADD", "callboard:queue:analyze", "0", member]);
    house.redis.say("HINCRBY callboard:counts:analyze 1 1");
    house.redis.say("SADD callboard:queues analyze");
    for number in 0..3 {
        house.submit(&format!("behind-{number}")).await;
    }
    let (redis, until) = (&house.redis, Instant::now() + PATIENCE);
    while redis.command(&["HEXISTS", "callboard:places:analyze", place]).number() == 1 {
        assert!(Instant::now() < until, "it is never dropped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.goes_on().await;
}

#[tokio::test]
async fn with_its_connections_cut() {
    let mut house = House::open().await;
    for number in 0..5 {
        house.redis.say("CLIENT KILL TYPE normal SKIPME yes");
        house.submit(&format!("cut-{number}")).await;
    }
    house.goes_on().await;
}

#[tokio::test]
async fn a_server_that_is_ended_meanwhile_ends() {
    let mut house = House::open().await;
    house.redis.kill();
    house.is_red("refuses connections: start Redis there").await;
    let status = tokio::task::spawn_blocking(|| house.server.terminate()).await.unwrap();
    assert!(status.code().is_some(), "{status}");
    house.redis.restart();
    // What it could not hand back is found by the next one.
    let folder = tempfile::tempdir().unwrap();
    let config = settings(&folder, "");
    let server = Server::start(&["--store", &house.redis.url(), "--config", &config, "--provider", "mock"]);
    House { server, redis: house.redis, tasks: house.tasks, folder }.goes_on().await;
}

#[tokio::test]
async fn not_there_at_the_start_and_then_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Wanted::default().durable().start();
    redis.kill();
    let config = settings(&folder, "redis_start_wait = \"1h\"");
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", &redis.url(), "--config", &config]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = log.next().unwrap().unwrap();
    assert!(told.contains("redis://127.0.0.1") && told.contains("again"), "{told}");
    redis.restart();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("listening on "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn not_there_at_the_start_and_never() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start();
    redis.kill();
    let config = settings(&folder, "redis_start_wait = \"1s\"");
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", &redis.url(), "--config", &config]);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{words}");
    assert!(words.contains("error: the store cannot be used just now: redis://127.0.0.1"), "{words}");
}
