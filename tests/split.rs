//! Workers, masters and the gateway as processes of their own: who comes is used, who goes is missed by nobody, and whoever
//! was away is known again without a hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::hands::Hands;
use support::split::{Shape, Split, place};
use support::{Server, callboard};

/// Steps that take a while, so that some are under way whenever something is killed.
fn busy() -> Shape {
    Shape::default().setting("provider", "mock").setting("mock_latency", "40ms").setting("slots", "8")
}

async fn submit_all(server: &Server, count: usize) -> Vec<String> {
    let posts = (0..count).map(|n| async move {
        let id = format!("split-{n}");
        let (status, body) = server.post("/task", &json!({"task_id": id, "objective": "why?"})).await;
        assert_eq!(status, 202, "{body}");
        id
    });
    futures_util::future::join_all(posts).await
}

/// Each task succeeded, each of its steps counted once, its log without a gap.
async fn check_all(server: &Server, ids: &[String]) {
    for id in ids {
        let result = server.until(&format!("/task/{id}/result"), |status, _| status == 200).await;
        assert_eq!(result["status"], "succeeded", "{id}: {result:#}");
        let events = server.events(id).await;
        let numbers: Vec<_> = events.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{id}");
        let log = lines(&events);
        assert!(events.last().is_some_and(|(_, kind, _)| kind == "task_succeeded"), "{id}:\n{log}");
        let mut counted = BTreeMap::new();
        for (_, kind, data) in &events {
            if kind == "step_succeeded" {
                *counted.entry(data["sub_id"].to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!(counted.into_values().collect::<Vec<_>>(), [1; 4], "{id}:\n{log}");
    }
}

/// A log as a line for each event: what a failure that happens once in a hundred runs must tell.
fn lines(events: &[(u64, String, Value)]) -> String {
    let names = ["at", "sub_id", "attempt", "agent_id", "reason", "error", "agent_absent", "until"];
    let line = |(number, kind, data): &(u64, String, Value)| {
        let told = names.iter().filter_map(|name| data.get(*name).map(|value| format!(" {name}={value}")));
        format!("{number} {kind}{}", told.collect::<String>())
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

async fn some_have_ended(server: &Server) {
    server.until("/tasks?status=succeeded&limit=10", |_, page| !page["tasks"].as_array().unwrap().is_empty()).await;
}

// === Masters together ===

#[tokio::test]
async fn two_masters_give_an_agent_no_more_than_it_takes() {
    let shape = Shape::default().setting("provider", "mock").setting("mock_latency", "40ms").setting("slots", "2");
    let split = shape.masters(2).start().await;
    let posts = (0..60).map(|n| {
        let master = &split.masters[n % 2];
        async move {
            let id = format!("shared-{n}");
            let (status, body) = master.post("/task", &json!({"task_id": id, "objective": "why?"})).await;
            assert_eq!(status, 202, "{body}");
            id
        }
    });
    let ids = futures_util::future::join_all(posts).await;
    check_all(split.master(), &ids).await;
    for id in &ids {
        let events = split.master().events(id).await;
        let lost = events.iter().filter(|(_, kind, _)| kind == "attempt_ended").count();
        assert_eq!(lost, 0, "nobody is refused:\n{}", lines(&events));
    }
}

#[tokio::test]
async fn where_every_agent_is_full_of_another_masters_steps_a_task_waits() {
    let split = Shape::default().setting("heartbeat_ttl", "120s").masters(2).workers(&[]).start().await;
    let (one, other) = (&split.masters[0], &split.masters[1]);
    let hands = Hands::listen();
    // More of them than a master asks for one task in vain.
    let agents: Vec<_> = (0..30).map(|n| format!("by-hand-{n}")).collect();
    for agent in &agents {
        let declaration = json!({"agent_id": agent, "url": hands.url, "capabilities": ["analyze"], "slots": 1,
            "ag2_profile": "by hand"});
        let (status, body) = one.post("/register", &declaration).await;
        assert_eq!(status, 202, "{body}");
    }
    let all = |_, body: &Value| body["agents"].as_array().is_some_and(|known| known.len() == agents.len());
    other.until("/agents", all).await;
    for n in 0..agents.len() {
        let (status, body) = one.post("/task", &json!({"task_id": format!("full-{n}"), "objective": "why?"})).await;
        assert_eq!(status, 202, "{body}");
    }
    let works: Vec<_> = agents.iter().map(|_| hands.next()).collect();
    let (status, body) = other.post("/task", &json!({"task_id": "waits", "objective": "why?"})).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!(other.get("/task/waits").await.1["steps"][0]["status"], "queued", "{body}");
    // Through the first master a slot comes free, and the second finds it.
    let (task, step) = (works[0]["task_id"].as_str().unwrap(), &works[0]["sub_id"]);
    let agent = one.get(&format!("/task/{task}")).await.1["steps"][0]["agent_id"].clone();
    let done = json!({"task_id": task, "sub_id": step, "agent_id": agent,
        "status": "succeeded", "output": {"text": "because"}});
    let (status, body) = one.post("/result", &done).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!(hands.next()["task_id"], "waits");
}

// === Those who come and go ===

#[tokio::test]
async fn a_finalizer_is_used_from_the_next_task_on_and_missed_by_none() {
    let mut split = busy().workers(&["analyze", "retrieve", "evaluate"]).start().await;
    let stages = async |split: &Split, id: &str| -> Vec<String> {
        split.master().post("/task", &json!({"task_id": id, "objective": "why?"})).await;
        let result = split.master().until(&format!("/task/{id}/result"), |status, _| status == 200).await;
        assert_eq!(result["status"], "succeeded", "{result:#}");
        let stages = result["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stages(&split, "before").await, ["analyze", "retrieve", "evaluate"]);
    split.add_worker("finalize");
    split.until_able("finalize", true).await;
    assert_eq!(stages(&split, "with").await, ["analyze", "retrieve", "evaluate", "finalize"]);
    // It says goodbye.
    assert!(split.workers.pop().unwrap().terminate().success());
    split.until_able("finalize", false).await;
    assert_eq!(stages(&split, "without").await, ["analyze", "retrieve", "evaluate"]);
    // It does not.
    split.add_worker("finalize");
    split.until_able("finalize", true).await;
    let ids = submit_all(split.master(), 20).await;
    split.workers.pop().unwrap().kill();
    for id in &ids {
        let result = split.master().until(&format!("/task/{id}/result"), |status, _| status == 200).await;
        assert_eq!(result["status"], "succeeded", "{result:#}");
    }
}

#[tokio::test]
async fn a_master_that_was_away_is_joined_again() {
    let mut split = busy().start().await;
    let ids = submit_all(split.master(), 4).await;
    check_all(split.master(), &ids).await;
    let place = place(split.master());
    split.masters.remove(0).kill();
    // The same place, and a memory that knows nobody.
    let mut command = callboard(&["serve", "--role", "master", "--listen", &place, "--store", "memory:"]);
    command.env("CALLBOARD_HEARTBEAT_TTL", "3s");
    split.masters.push(Server::of(command));
    split.until_joined(4).await;
    let ids = submit_all(split.master(), 4).await;
    check_all(split.master(), &ids).await;
}

#[tokio::test]
async fn a_redis_that_was_away_and_has_forgotten_all_is_used_again() {
    let mut split = busy().masters(2).start().await;
    let ids = submit_all(split.master(), 4).await;
    check_all(split.master(), &ids).await;
    split.redis.as_mut().unwrap().kill();
    for master in &split.masters {
        master.until("/ready", |status, _| status == 503).await;
    }
    split.redis.as_mut().unwrap().restart();
    for master in &split.masters {
        master.until("/ready", |status, body| status == 200 && body["status"] == "ready").await;
    }
    split.until_joined(4).await;
    let ids = submit_all(&split.masters[1], 4).await;
    check_all(split.master(), &ids).await;
}

#[tokio::test]
async fn several_workers_share_a_capability_within_their_slots() {
    let shape = Shape::default().setting("provider", "mock").setting("mock_latency", "30ms").setting("slots", "1");
    let split = shape.workers(&["analyze", "analyze", "retrieve", "retrieve", "evaluate", "finalize"]).start().await;
    let ids = submit_all(split.master(), 12).await;
    check_all(split.master(), &ids).await;
    // Who did what, and when: of no agent with one slot did two attempts overlap.
    let mut spans: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for id in &ids {
        let (_, task) = split.master().get(&format!("/task/{id}")).await;
        for attempt in task["steps"].as_array().unwrap().iter().flat_map(|step| step["attempts"].as_array().unwrap()) {
            if attempt["outcome"] == "succeeded" {
                let text = |name: &str| attempt[name].as_str().unwrap().to_owned();
                spans.entry(text("agent_id")).or_default().push((text("placed_at"), text("ended_at")));
            }
        }
    }
    assert_eq!(spans.len(), 6, "somebody had nothing to do: {:?}", spans.keys());
    for (agent, mut spans) in spans {
        spans.sort();
        assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "{agent}: {spans:?}");
    }
}

#[tokio::test]
async fn a_worker_that_ends_in_order_hands_back_what_it_has() {
    let shape = Shape::default().setting("provider", "mock").setting("mock_script", "evaluate:hang@1");
    let mut split = shape.setting("drain_grace", "0s").workers(&["analyze", "retrieve", "evaluate"]).start().await;
    split.master().post("/task", &json!({"task_id": "held", "objective": "why?"})).await;
    let is_running = |body: &Value| body["steps"][2]["status"] == "running";
    split.master().until("/task/held", |_, body| is_running(body)).await;
    assert!(split.workers.remove(2).terminate().success());
    // At once, and not when a lease runs out: nobody is left who could do it.
    let task = split.master().until("/task/held", |_, body| body["steps"][2]["status"] == "queued").await;
    assert_eq!((&task["steps"][2]["losses"], &task["steps"][2]["failures"]), (&json!(1), &json!(0)), "{task:#}");
    split.add_worker("evaluate");
    split.master().until("/task/held", |_, body| is_running(body)).await;
    split.master().delete("/task/held").await;
}

// === Those who are killed, under 100 tasks ===

#[tokio::test]
async fn a_killed_worker_costs_no_task() {
    let mut split = busy().workers(&["analyze", "retrieve", "evaluate", "evaluate", "finalize"]).start().await;
    let ids = submit_all(split.master(), 100).await;
    some_have_ended(split.master()).await;
    split.workers.remove(2).kill();
    check_all(split.master(), &ids).await;
}

#[tokio::test]
async fn a_killed_gateway_costs_no_task() {
    let mut split = busy().start().await;
    let ids = submit_all(split.master(), 100).await;
    some_have_ended(split.master()).await;
    let gateway = split.gateway.take().unwrap();
    let place = place(&gateway);
    gateway.kill();
    split.restart_gateway(&place);
    check_all(split.master(), &ids).await;
}

#[tokio::test]
async fn a_killed_master_costs_no_task() {
    let mut split = busy().masters(2).start().await;
    let ids = submit_all(split.master(), 100).await;
    some_have_ended(split.master()).await;
    split.masters.remove(0).kill();
    check_all(split.master(), &ids).await;
}

#[tokio::test]
async fn a_killed_workers_steps_go_on_elsewhere_at_once() {
    // Silence would be noticed ten minutes later only.
    let shape = Shape::default().setting("provider", "mock").setting("mock_script", "evaluate:hang@1");
    let mut split =
        shape.setting("heartbeat_ttl", "10m").masters(2).workers(&["analyze", "retrieve", "evaluate"]).start().await;
    split.master().post("/task", &json!({"task_id": "held", "objective": "why?"})).await;
    let is_running = |body: &Value, attempt: u64| {
        let step = &body["steps"][2];
        step["status"] == "running" && step["attempts"].as_array().map(Vec::len) == usize::try_from(attempt).ok()
    };
    split.master().until("/task/held", |_, body| is_running(body, 1)).await;
    split.add_worker("evaluate");
    split.until_joined(4).await;
    split.workers.remove(2).kill();
    let task = split.master().until("/task/held", |_, body| is_running(body, 2)).await;
    assert_eq!((&task["steps"][2]["losses"], &task["steps"][2]["failures"]), (&json!(1), &json!(0)), "{task:#}");
    split.master().delete("/task/held").await;
}

#[test]
fn the_distributed_demo_gives_the_answer_of_the_one_in_one_process() {
    let answer = |args: &[&str]| {
        let output = callboard(args).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}");
        (String::from_utf8(output.stdout).unwrap(), words)
    };
    let (one, _) = answer(&["demo"]);
    let (split, words) = answer(&["demo", "--distributed"]);
    assert_eq!(split, one);
    for member in ["redis", "gateway", "master 1", "master 2", "worker analyze", "worker finalize"] {
        assert!(words.contains(member), "{words}");
    }
}

// === Two masters ===

#[tokio::test]
async fn two_masters_are_one() {
    let split = busy().masters(2).start().await;
    let [one, other] = [&split.masters[0], &split.masters[1]];
    let (status, body) = one.post("/task", &json!({"task_id": "shared", "objective": "why?"})).await;
    assert_eq!(status, 202, "{body}");
    // The stream at the other is open while the task runs, and ends with it.
    let events = other.events("shared").await;
    assert_eq!(events.last().unwrap().1, "task_succeeded", "{events:?}");
    assert_eq!(one.events("shared").await, events);
    // The same submission at the other is the same task.
    let (status, again) = other.post("/task?wait=60", &json!({"task_id": "shared", "objective": "why?"})).await;
    assert_eq!((status, &again["status"]), (200, &json!("succeeded")), "{again}");
    let (status, _) = other.post("/task", &json!({"task_id": "shared", "objective": "other"})).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_result_may_be_posted_to_either_master() {
    let shape = Shape::default().setting("provider", "mock").masters(2).workers(&["retrieve", "evaluate"]);
    let split = shape.start().await;
    let [one, other] = [&split.masters[0], &split.masters[1]];
    // A worker of this test's, which accepts and answers to whichever master it likes.
    let hands = support::hands::Hands::listen();
    let declaration = json!({"agent_id": "by-hand", "url": hands.url, "capabilities": ["analyze"],
        "ag2_profile": "by hand", "incarnation": "i-1", "slots": 10});
    assert_eq!(one.post("/register", &declaration).await.0, 202);
    split.until_joined(3).await;
    for (number, (taker, answered)) in [(one, other), (other, one), (one, one)].into_iter().enumerate() {
        let id = format!("by-hand-{number}");
        taker.post("/task", &json!({"task_id": id, "objective": "why?"})).await;
        let work = hands.next();
        assert_eq!(work["task_id"], json!(id));
        let result = json!({"task_id": id, "sub_id": work["sub_id"], "agent_id": "by-hand", "status": "succeeded",
            "output": {"text": "by hand"}});
        let (status, body) = answered.post("/result", &result).await;
        assert_eq!((status, body), (202, json!({"status": "accepted"})));
        // Once more is accepted, and dropped.
        assert_eq!(taker.post("/result", &result).await.0, 202);
        let ended = taker.until(&format!("/task/{id}/result"), |status, _| status == 200).await;
        assert_eq!((&ended["status"], &ended["stages"][0]["output"]["text"]), (&json!("succeeded"), &json!("by hand")));
    }
    // Of an agent to which the step was never assigned, and of no task at all.
    let stranger = json!({"task_id": "by-hand-0", "sub_id": "by-hand-0-P1", "agent_id": "stranger",
        "status": "succeeded", "output": {}});
    assert_eq!(one.post("/result", &stranger).await.0, 409);
    let unknown = json!({"task_id": "unknown", "sub_id": "unknown-P1", "agent_id": "by-hand", "status": "succeeded",
        "output": {}});
    assert_eq!(other.post("/result", &unknown).await.0, 404);
}

#[tokio::test]
async fn a_slot_is_free_again_though_another_master_heard_the_end_and_is_gone() {
    // By hand: no heartbeats come.
    let mut split = Shape::default().setting("heartbeat_ttl", "60s").masters(2).workers(&[]).start().await;
    let hands = support::hands::Hands::listen();
    let declaration = json!({"agent_id": "by-hand", "url": hands.url, "capabilities": ["analyze"],
        "ag2_profile": "by hand", "incarnation": "i-1", "slots": 1});
    let gone = split.masters.remove(0);
    assert_eq!(split.master().post("/register", &declaration).await.0, 202);
    split.until_joined(1).await;
    split.master().post("/task", &json!({"task_id": "first", "objective": "why?"})).await;
    let work = hands.next();
    let result = json!({"task_id": "first", "sub_id": work["sub_id"], "agent_id": "by-hand", "status": "succeeded",
        "output": {"text": "by hand"}});
    assert_eq!(gone.post("/result", &result).await.0, 202);
    gone.kill();
    split.master().post("/task", &json!({"task_id": "second", "objective": "why?"})).await;
    assert_eq!(hands.next()["task_id"], "second");
}
