//! Single steps: `MASTER_MODE=routing` says which there are, and `POST /dispatch` gives one to the best agent that can take
//! it now, as durable as any task.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::net::TcpListener;
use support::hands::Hands;
use support::{Server, callboard};

fn routing() -> Server {
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--provider", "mock"]);
    command.env("MASTER_MODE", "routing");
    Server::of(command)
}

#[tokio::test]
async fn a_routing_master_says_which_steps_there_are_and_runs_none() {
    let server = routing();
    let (status, body) = server.post("/task", &json!({"task_id": "t-1", "objective": "why?"})).await;
    assert_eq!((status, &body["task_id"]), (202, &json!("t-1")), "{body:#}");
    let subtasks = body["subtasks"].as_array().unwrap();
    let commands: Vec<_> = subtasks.iter().map(|subtask| subtask["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["analyze", "retrieve", "evaluate", "finalize"]);
    assert_eq!(
        subtasks[1],
        json!({"task_id": "t-1", "sub_id": "t-1-S2", "command": "retrieve", "description": "why?",
            "target_capability": "retrieve", "metadata": {"agent_hint": "agent-retrieve"}})
    );
    assert_eq!(server.get("/task/t-1").await.0, 404);
}

#[tokio::test]
async fn each_of_them_can_be_dispatched() {
    let server = routing();
    let (_, body) = server.post("/task", &json!({"task_id": "t-1", "objective": "why?"})).await;
    for subtask in body["subtasks"].as_array().unwrap() {
        let work = json!({"task_id": "t-1", "sub_id": subtask["sub_id"], "command": subtask["command"],
            "data": {"objective": "why?"}, "priority": "high"});
        let (status, decision) = server.post("/dispatch", &work).await;
        let agent = format!("agent-{}", subtask["command"].as_str().unwrap());
        assert_eq!((status, &decision["selected_agent"]), (200, &json!(agent)), "{decision:#}");
        assert!(decision["reason"].as_str().unwrap().starts_with("score 1.00"), "{decision:#}");
        assert_eq!(decision["scores"], json!({agent.clone(): 1.0}));
        assert_eq!(decision["considered"][0]["agent_id"], json!(agent));
        let path = format!("/task/t-1:{}/result", subtask["sub_id"].as_str().unwrap());
        let result = server.until(&path, |status, _| status == 200).await;
        assert_eq!(result["status"], "succeeded", "{result:#}");
    }
}

#[tokio::test]
async fn a_worker_gets_what_was_dispatched_as_it_was_given_and_answers_by_the_same_names() {
    let server = routing();
    let hands = Hands::listen();
    let declaration = json!({"agent_id": "by-hand", "url": hands.url, "capabilities": ["paint"],
        "ag2_profile": "painter"});
    assert_eq!(server.post("/register", &declaration).await.0, 202);
    let work = json!({"task_id": "t-1", "sub_id": "S1", "command": "paint", "data": {"colour": "red", "n": 1.0},
        "context": {"k": ["v"]}});
    let (status, decision) = server.post("/dispatch", &work).await;
    assert_eq!((status, &decision["selected_agent"]), (200, &json!("by-hand")), "{decision:#}");
    let came = hands.next();
    for field in ["task_id", "sub_id", "command", "data", "context"] {
        assert_eq!(came[field], work[field], "{came:#}");
    }
    // The same again is the same step.
    assert_eq!(server.post("/dispatch", &work).await.0, 200);
    let result = json!({"task_id": "t-1", "sub_id": "S1", "agent_id": "by-hand", "status": "succeeded",
        "output": {"text": "red", "input": {"long": "x".repeat(5000)}, "context": {"k": ["v"]}}});
    assert_eq!(server.post("/result", &result).await.0, 202);
    let ended = server.until("/task/t-1:S1/result", |status, _| status == 200).await;
    // What it repeats of its input is kept as references.
    assert_eq!(ended["final_output"], json!({"text": "red", "input": {"refs": []}, "context": {"refs": []}}));
    assert!(hands.nothing_came());
}

#[tokio::test]
async fn a_worker_that_is_reached_and_never_answers_is_found_out() {
    let server = routing();
    // What connects to it waits for ever.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let register = async |name: &str, url: String, slots: u32| {
        let declaration = json!({"agent_id": name, "url": url, "capabilities": ["paint"], "slots": slots,
            "ag2_profile": "painter"});
        assert_eq!(server.post("/register", &declaration).await.0, 202);
    };
    let dispatch = async |step: String| {
        let work = json!({"task_id": "t-1", "sub_id": step, "command": "paint"});
        let (status, decision) = server.post("/dispatch", &work).await;
        (status, decision["selected_agent"].as_str().unwrap_or_default().to_owned())
    };
    register("deaf", format!("http://{}", deaf.local_addr().unwrap()), 20).await;
    for step in 0..3 {
        assert_eq!(dispatch(format!("S{step}")).await, (200, "deaf".to_owned()));
    }
    let hands = Hands::listen();
    register("by-hand", hands.url.clone(), 4).await;
    let mut came: Vec<_> = (0..3).map(|_| hands.next()["sub_id"].as_str().unwrap().to_owned()).collect();
    came.sort();
    assert_eq!(came, ["S0", "S1", "S2"], "lost there, they came here");
    for step in came {
        let (_, task) = server.get(&format!("/task/t-1:{step}")).await;
        assert_eq!(task["steps"][0]["losses"], 1, "{task:#}");
    }
    // Now it rests: beside a full worker it gets no more than one step, to see whether it has come to itself.
    let mut answers = Vec::new();
    for step in 3..10 {
        answers.push(dispatch(format!("S{step}")).await);
    }
    let count = |answer: (u16, &str)| answers.iter().filter(|(status, name)| (*status, &**name) == answer).count();
    let tried = count((200, "deaf"));
    assert!(tried <= 1, "{answers:?}");
    assert_eq!((count((200, "by-hand")), count((429, ""))), (1, 6 - tried), "{answers:?}");
}

#[tokio::test]
async fn what_nobody_can_take_is_refused_and_kept_by_nobody() {
    let server = routing();
    let dispatch = async |work: Value| {
        let (status, body) = server.post("/dispatch", &work).await;
        (status, body["code"].as_str().unwrap().to_owned())
    };
    let nobody = json!({"task_id": "t-1", "sub_id": "S1", "command": "paint"});
    assert_eq!(dispatch(nobody).await, (503, "routing_error".to_owned()));
    assert_eq!(dispatch(json!({"task_id": "t-1", "sub_id": "S1"})).await, (422, "validation_error".to_owned()));
    assert_eq!(server.get("/tasks").await.1["tasks"], json!([]));
}

#[tokio::test]
async fn a_worker_that_only_registers_and_answers_lives_as_long_as_it_is_there() {
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.env("CALLBOARD_HEARTBEAT_TTL", "3s");
    let server = Server::of(command);
    let hands = Hands::listen();
    let declaration = json!({"agent_id": "by-hand", "url": hands.url, "capabilities": ["paint"],
        "ag2_profile": "painter"});
    assert_eq!(server.post("/register", &declaration).await.0, 202);
    let beat = async || {
        let (_, body) = server.get("/agents").await;
        let agents = body["agents"].as_array().unwrap().clone();
        let agent = agents.into_iter().find(|agent| agent["agent_id"] == "by-hand");
        agent.map(|agent| agent["last_heartbeat"].as_str().unwrap().to_owned())
    };
    // Asked whether it is there, again and again: past the time after which silence is death.
    let first = humantime::parse_rfc3339(&beat().await.unwrap()).unwrap();
    let past = |at: &str| humantime::parse_rfc3339(at).unwrap() > first + std::time::Duration::from_secs(5);
    server
        .until("/agents", |_, body| {
            let agents = body["agents"].as_array().unwrap();
            let agent = agents.iter().find(|agent| agent["agent_id"] == "by-hand").expect("it was forgotten");
            past(agent["last_heartbeat"].as_str().unwrap())
        })
        .await;
    // Its step outlives that, too.
    server.post("/dispatch", &json!({"task_id": "t-1", "sub_id": "S1", "command": "paint"})).await;
    hands.next();
    let taken = humantime::parse_rfc3339(&beat().await.unwrap()).unwrap();
    server
        .until("/agents", |_, body| {
            let agents = body["agents"].as_array().unwrap();
            let agent = agents.iter().find(|agent| agent["agent_id"] == "by-hand").expect("it was forgotten");
            let at = humantime::parse_rfc3339(agent["last_heartbeat"].as_str().unwrap()).unwrap();
            at > taken + std::time::Duration::from_secs(5)
        })
        .await;
    let (_, task) = server.get("/task/t-1:S1").await;
    assert_eq!((&task["steps"][0]["status"], &task["steps"][0]["losses"]), (&json!("running"), &json!(0)), "{task:#}");
    hands.leave();
    server.until("/agents", |_, body| !body.to_string().contains("by-hand")).await;
}
