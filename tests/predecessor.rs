//! The predecessor's clients work unchanged: its payload is accepted as it is, the answer has all its fields, and does
//! not grow with every stage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::Server;

/// What the predecessor's own demonstration posts, with an objective of 200 bytes.
fn payload() -> Value {
    let objective =
        format!("{:.<200}", "Assess how the runtime restarts agents, what is lost when it does, and who is told");
    json!({"task_id": "task-001", "objective": objective, "context": {"locale": "en", "requester": "ops"}})
}

#[tokio::test]
async fn its_payload_is_answered_with_all_its_fields_in_under_8_kb() {
    let server = Server::start(&["--store", "memory:", "--task-wait", "60"]);
    let response = server.client.post(format!("{}/task", server.url)).json(&payload()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 202, "the setting made it wait, as the predecessor does");
    let text = response.text().await.unwrap();
    assert!(text.len() < 8 * 1024, "{} bytes", text.len());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["task_id"], "task-001");
    let stages = answer["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["analyze", "retrieve", "evaluate", "finalize"]);
    for (position, stage) in stages.iter().enumerate() {
        assert_eq!(stage["sub_id"], format!("task-001-P{}", position + 1));
        assert_eq!(stage["status"], "succeeded");
        assert!(stage["agent_id"].is_string() && stage["error"].is_null());
        let output = &stage["output"];
        for key in ["profile", "provider", "text", "raw_response", "metadata", "input", "context"] {
            assert!(!output[key].is_null(), "{key} is missing: {output}");
        }
    }
    assert_eq!(answer["final_output"], stages[3]["output"]);
    // Counted right after the commit that woke the answer.
    let counted = ["tasks_accepted_total 1", "tasks_succeeded_total 1", "store_commits_total 5"];
    let until = std::time::Instant::now() + support::PATIENCE;
    loop {
        let metrics = server.client.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        if counted.iter().all(|line| metrics.lines().any(|found| found == format!("callboard_{line}"))) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{metrics}");
    }
}

#[tokio::test]
async fn the_same_task_twice_runs_once() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock", "--task-wait", "60"]);
    let (_, first) = server.post("/task", &payload()).await;
    let (status, second) = server.post("/task", &payload()).await;
    assert_eq!((status, &first["stages"]), (202, &second["stages"]));
    assert_eq!(server.get("/tasks").await.1["tasks"].as_array().unwrap().len(), 1);
    let mut other = payload();
    other["objective"] = "something else".into();
    let (status, envelope) = server.post("/task", &other).await;
    assert_eq!((status, envelope["code"].as_str()), (409, Some("conflict")));
}

#[tokio::test]
async fn whatever_is_wrong_gets_the_envelope_and_no_5xx() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    let url = |path: &str| format!("{}{path}", server.url);
    let huge = format!(r#"{{"objective":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    let post = |body: String| server.client.post(url("/task")).header("content-type", "application/json").body(body);
    let cases = [
        (server.client.get(url("/task/unknown")), 404),
        (server.client.get(url("/nowhere")), 404),
        (post("{\"objective\":".into()), 400),
        (post(huge), 413),
        (post("{}".into()), 422),
        (post(r#"{"objective":""}"#.into()), 422),
        (post(r#"{"objective":"x","context":[]}"#.into()), 422),
        (post(r#"{"objective":"x","options":{"deadline_ms":99999999999999}}"#.into()), 422),
        (post(r#"{"objective":"x","options":{"deadline_ms":-1}}"#.into()), 422),
        (post(r#"{"objective":"x","options":{"haste":true}}"#.into()), 422),
        (server.client.put(url("/task")), 405),
        (server.client.delete(url("/tasks")), 405),
        (server.client.get(url("/tasks?cursor=@@@")), 422),
        (server.client.get(url("/tasks?status=happy")), 422),
        (server.client.delete(url("/task/unknown")), 404),
        (server.client.get(url("/task/unknown/events")), 404),
    ];
    for (number, (request, expected)) in cases.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let envelope: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("case {number}: {status} {text}"));
        assert_eq!(status, expected, "case {number}: {envelope}");
        assert!(envelope["code"].is_string() && envelope["message"].is_string(), "case {number}: {envelope}");
        assert!(envelope.as_object().unwrap().contains_key("details"), "case {number}: {envelope}");
    }
    assert_eq!(server.get("/tasks").await.1["tasks"], json!([]), "nothing was changed");
}

#[tokio::test]
async fn a_cancelled_task_lets_go_of_its_model_call_while_status_answers() {
    let args = ["--store", "memory:", "--provider", "mock", "--mock-latency", "4m"];
    let server = Server::start(&args);
    server.post("/task", &json!({"task_id": "slow", "objective": "why?"})).await;
    let running = async || {
        let (_, tree) = server.get("/supervision").await;
        tree.to_string().matches("\"task\"").count()
    };
    // The web server is one; a step and its model call make three.
    while running().await < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get("/task/slow").await.1["status"], "running");
    let (status, task) = server.delete("/task/slow").await;
    assert_eq!((status, task["status"].as_str()), (200, Some("cancelled")), "{task}");
    while running().await > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.delete("/task/slow").await.0, 200, "again answers like the first time");
}
