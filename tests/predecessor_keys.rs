//! The predecessor's tools find in Redis what they look for: its names hold a task's plan, decisions and results, and the
//! agents, in its types and fields, and what belongs to a task goes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::Server;
use support::redis::Redis;

const CAPABILITIES: [&str; 4] = ["analyze", "retrieve", "evaluate", "finalize"];

/// A server over Redis that has done the task `t-1`.
async fn done(redis: &Redis, settings: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callboard.toml");
    std::fs::write(&config, settings).unwrap();
    let args = ["--store", &redis.url(), "--provider", "mock", "--config", config.to_str().unwrap()];
    let server = Server::start(&args);
    let body = json!({"task_id": "t-1", "objective": "why?", "context": {"locale": "en"}});
    let (status, ended) = server.post("/task?wait=60", &body).await;
    assert_eq!((status, ended["status"].as_str()), (200, Some("succeeded")), "{ended}");
    (server, folder)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn list(redis: &Redis, key: &str) -> Vec<Value> {
    redis.say(&format!("LRANGE {key} 0 -1")).texts().iter().map(|text| json_of(text)).collect()
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

/// That a value has these fields; it may have more.
#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    let names = names(value);
    for field in fields {
        assert!(names.contains(*field), "{field} is missing: {value}");
    }
}

#[tokio::test]
async fn a_task_leaves_its_plan_its_decisions_and_its_results() {
    let redis = Redis::start();
    let _server = done(&redis, "").await;
    let subtasks = list(&redis, "subtasks:t-1");
    assert_eq!(subtasks.len(), 4);
    for (position, (subtask, capability)) in subtasks.iter().zip(CAPABILITIES).enumerate() {
        let sub_id = format!("t-1-P{}", position + 1);
        has(subtask, &["task_id", "sub_id", "command", "description", "target_capability", "metadata"]);
        assert_eq!((&subtask["task_id"], &subtask["sub_id"]), (&json!("t-1"), &json!(sub_id)));
        assert_eq!((&subtask["command"], &subtask["target_capability"]), (&json!(capability), &json!(capability)));
        assert!(subtask["description"].is_string() && subtask["metadata"].is_object(), "{subtask}");
        assert_eq!(json_of(&redis.say(&format!("GET subtask:t-1:{sub_id}")).text()), *subtask);

        let route = json_of(&redis.say(&format!("GET route:t-1:{sub_id}")).text());
        has(&route, &["selected_agent", "reason", "considered", "scores"]);
        assert!(route["selected_agent"].as_str().unwrap().contains(capability), "{route}");
        assert!(route["considered"].is_array() && route["scores"].is_object(), "{route}");
    }

    let results = list(&redis, "results:t-1");
    assert_eq!(results.len(), 4);
    for (position, result) in results.iter().enumerate() {
        has(result, &["task_id", "sub_id", "agent_id", "status", "output", "ag2_trace", "error", "metrics"]);
        assert_eq!(result["sub_id"], format!("t-1-P{}", position + 1), "in order");
        assert_eq!((&result["status"], &result["error"]), (&json!("succeeded"), &Value::Null));
        assert!(result["output"]["text"].is_string(), "{result}");
    }

    let log = list(&redis, "dispatch_log:t-1");
    for entry in &log {
        has(entry, &["task_id", "sub_id", "agent_id", "route_reason", "created_at"]);
        assert!(humantime::parse_rfc3339(entry["created_at"].as_str().unwrap()).is_ok(), "{entry}");
    }
    let with_status = log.iter().filter(|entry| entry["status"] == "succeeded").count();
    assert_eq!((log.len(), with_status), (8, 4), "{log:?}");
}

#[tokio::test]
async fn the_agents_are_found_by_name_and_by_capability_and_say_when_they_come_and_go() {
    let redis = Redis::start();
    let mut events = redis.subscribe("agent_events");
    let (server, _folder) = done(&redis, "").await;
    let agents: BTreeSet<_> = redis.say("HKEYS routing").texts().into_iter().collect();
    assert_eq!(agents.len(), 4);
    for agent in &agents {
        let declaration = json_of(&redis.say(&format!("HGET routing {agent}")).text());
        has(&declaration, &["agent_id", "url", "capabilities", "ag2_profile", "description", "metrics"]);
        assert_eq!(declaration["agent_id"], agent.as_str());
        for capability in declaration["capabilities"].as_array().unwrap() {
            let members = redis.say(&format!("SMEMBERS cap_index:{}", capability.as_str().unwrap())).texts();
            assert_eq!(members, std::slice::from_ref(agent));
        }
        for field in ["load", "avg_latency_ms", "recent_failures", "last_heartbeat"] {
            let value = redis.say(&format!("HGET metrics:{agent} {field}")).text();
            json_of(&value);
        }
    }
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let (mut joined, mut left) = (BTreeSet::new(), BTreeSet::new());
    while left.len() < 4 {
        let event = json_of(&events.next_message());
        let agent = event["agent_id"].as_str().unwrap().to_owned();
        match event["event"].as_str().unwrap() {
            "join" => joined.insert(agent),
            "leave" => left.insert(agent),
            other => panic!("{other}: {event}"),
        };
    }
    assert_eq!((&joined, &left), (&agents, &agents));
    assert_eq!(redis.say("HLEN routing").number(), 0);
    assert_eq!(redis.say("EXISTS cap_index:analyze").number(), 0);
}

#[tokio::test]
async fn what_belongs_to_a_task_goes_by_itself() {
    let redis = Redis::start();
    let _server = done(&redis, "predecessor_ttl = \"1h\"").await;
    for key in ["subtasks:t-1", "subtask:t-1:t-1-P1", "route:t-1:t-1-P4", "results:t-1", "dispatch_log:t-1"] {
        let ttl = redis.say(&format!("TTL {key}")).number();
        assert!((1..=3600).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn nothing_of_it_is_written_where_nobody_wants_it() {
    let redis = Redis::start();
    let (server, _folder) = done(&redis, "predecessor_keys = false\nredis_prefix = \"acme:\"").await;
    let strange: Vec<_> = redis.say("KEYS *").texts().into_iter().filter(|key| !key.starts_with("acme:")).collect();
    assert_eq!(strange, [""; 0]);
    assert_eq!(server.get("/ready").await.0, 200);
}
