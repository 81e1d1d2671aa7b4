//! What must hold however Callboard runs. Each check starts a deployment of its own and speaks to it over HTTP alone.

use crate::deployment::{Kind, step, with};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn texts(result: &Value) -> Vec<&str> {
    result["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect()
}

fn kinds(events: &[(u64, String, Value)]) -> Vec<&str> {
    events.iter().map(|(_, kind, _)| kind.as_str()).collect()
}

// === Answers ===

pub async fn a_task_passes_four_stages_to_its_answer(kind: Kind) {
    let it = kind.scripted("").await;
    let result = it.done("t-1", json!({})).await;
    assert_eq!(result["status"], "succeeded", "{result:#}");
    assert_eq!(texts(&result), ["analyze", "retrieve", "evaluate", "finalize"]);
    assert_eq!(result["final_output"]["text"], result["stages"][3]["output"]["text"]);
    for (number, stage) in result["stages"].as_array().unwrap().iter().enumerate() {
        assert_eq!(stage["sub_id"], format!("t-1-P{}", number + 1));
        assert_eq!((&stage["status"], &stage["error"]), (&json!("succeeded"), &Value::Null));
    }
}

pub async fn an_answer_quotes_the_documents(kind: Kind) {
    let it = kind.start(&[]).await;
    let result = it.done("t-1", json!({})).await;
    let output = &result["final_output"];
    assert!(output["text"].as_str().unwrap().contains("store"), "{output:#}");
    assert_eq!(output["citations"][0]["file"], "docs/concepts.md", "{output:#}");
}

pub async fn a_wait_ends_with_the_answer_or_the_state_so_far(kind: Kind) {
    let it = kind.scripted("evaluate:hang@1").await;
    let (status, so_far) = it.server().post("/task?wait=0.05", &with("t-1", json!({}))).await;
    assert_eq!((status, so_far["final_output"].is_null()), (202, true), "{so_far:#}");
    it.server().delete("/task/t-1").await;
    let it = kind.scripted("").await;
    let (status, answer) = it.server().post("/task?wait=60", &with("t-1", json!({}))).await;
    assert_eq!((status, &answer["status"]), (200, &json!("succeeded")), "{answer:#}");
}

pub async fn what_is_large_arrives_whole(kind: Kind) {
    let it = kind.scripted("").await;
    let large = "任務 ".repeat(100_000);
    it.done("t-1", json!({"context": {"large": large}})).await;
    let (_, task) = it.get("/task/t-1").await;
    assert_eq!(task["context"]["large"], large);
}

pub async fn a_context_reaches_every_stage(kind: Kind) {
    let it = kind.scripted("").await;
    // The mock counts the tokens of each prompt, which holds the context.
    let tokens = async |id: &str, context: Value| -> Vec<u64> {
        let result = it.done(id, json!({"context": context})).await;
        let of = |stage: &Value| stage["output"]["metadata"]["usage"]["input_tokens"].as_u64().unwrap();
        result["stages"].as_array().unwrap().iter().map(of).collect()
    };
    let (bare, told) = (tokens("t-1", json!({})).await, tokens("t-2", json!({"audience": "x".repeat(4000)})).await);
    assert!(bare.iter().zip(&told).all(|(bare, told)| told - bare > 500), "{bare:?} {told:?}");
}

pub async fn outputs_stay_small(kind: Kind) {
    let it = kind.scripted("").await;
    let objective = "x".repeat(200);
    let result = it.done("t-1", json!({"objective": objective, "context": {"k": "v".repeat(500)}})).await;
    assert!(result.to_string().len() < 8192, "{}", result.to_string().len());
    let last = &result["stages"][3]["output"];
    assert_eq!(last["input"], json!({"refs": ["t-1-P3"]}));
    assert_eq!(last["context"], json!({"refs": ["t-1-P1", "t-1-P2", "t-1-P3"]}));
}

// === Submissions ===

pub async fn the_same_submission_again_is_the_same_task(kind: Kind) {
    let it = kind.scripted("").await;
    let first = it.done("t-1", json!({})).await;
    let (status, again) = it.server().post("/task?wait=60", &with("t-1", json!({}))).await;
    assert_eq!((status, &again["final_output"]), (200, &first["final_output"]));
    assert_eq!(kinds(&it.server().events("t-1").await).iter().filter(|kind| **kind == "accepted").count(), 1);
}

pub async fn another_submission_of_the_same_name_is_refused(kind: Kind) {
    let it = kind.scripted("").await;
    it.done("t-1", json!({})).await;
    let (status, body) = it.server().post("/task", &with("t-1", json!({"objective": "other"}))).await;
    assert_eq!((status, &body["code"]), (409, &json!("conflict")), "{body:#}");
}

pub async fn an_idempotency_key_names_a_submission(kind: Kind) {
    let it = kind.scripted("").await;
    let post = async |objective: &str| {
        let request = it.server().client.post(format!("{}/task?wait=60", it.server().url));
        let request = request.header("idempotency-key", "order-7").json(&json!({"objective": objective}));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (first, again, other) = (post("why?").await, post("why?").await, post("how?").await);
    assert_eq!((first.0, again.0, other.0), (200, 200, 409), "{other:?}");
    assert_eq!(first.1["task_id"], again.1["task_id"]);
}

pub async fn what_is_out_of_bounds_is_refused(kind: Kind) {
    let it = kind.scripted("").await;
    for (body, status) in [
        (json!({}), 422),
        (json!({"objective": ""}), 422),
        (json!({"objective": "x", "task_id": "a"}), 422),
        (json!({"objective": "x", "options": {"colour": 1}}), 422),
        (json!({"objective": "x".repeat(3 << 20)}), 413),
    ] {
        let (is, answer) = it.server().post("/task", &body).await;
        assert_eq!((is, &answer["code"]), (status, &json!("validation_error")));
    }
    let (_, page) = it.get("/tasks").await;
    assert_eq!(page["tasks"], json!([]));
}

// === The log ===

pub async fn a_log_has_no_gap_and_every_step_counts_once(kind: Kind) {
    let it = kind.scripted("").await;
    it.done("t-1", json!({})).await;
    let events = it.server().events("t-1").await;
    let numbers: Vec<_> = events.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let mut counted = BTreeMap::new();
    for (_, kind, data) in &events {
        if kind == "step_succeeded" {
            *counted.entry(data["sub_id"].to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(counted.values().copied().collect::<Vec<_>>(), [1; 4]);
    let pair = ["step_placed", "step_succeeded"];
    let steps = std::iter::repeat_n(pair, 4).flatten();
    let expected: Vec<_> = ["accepted", "planned"].into_iter().chain(steps).chain(["task_succeeded"]).collect();
    assert_eq!(kinds(&events), expected);
}

pub async fn a_stream_is_taken_up_where_it_broke_off(kind: Kind) {
    let it = kind.scripted("").await;
    it.done("t-1", json!({})).await;
    let all = it.server().events("t-1").await;
    let request = it.server().client.get(format!("{}/task/t-1/events", it.server().url)).header("last-event-id", "7");
    let text = request.send().await.unwrap().text().await.unwrap();
    let ids: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")?.split('-').next()?.parse().ok()).collect();
    assert_eq!(ids, (8..=all.len() as u64).collect::<Vec<_>>());
}

pub async fn a_running_task_can_be_followed(kind: Kind) {
    let it = kind.scripted("evaluate:latency=300ms").await;
    it.submit("t-1", json!({})).await;
    // The stream is open while the task runs, and ends with it.
    let events = it.server().events("t-1").await;
    assert_eq!(kinds(&events).last(), Some(&"task_succeeded"));
}

// === Ends ===

pub async fn a_task_can_be_cancelled(kind: Kind) {
    let it = kind.scripted("evaluate:hang@1").await;
    it.submit("t-1", json!({})).await;
    it.step_is("t-1", "evaluate", "running").await;
    let (status, body) = it.server().delete("/task/t-1").await;
    assert_eq!((status, &body["status"]), (200, &json!("cancelled")), "{body:#}");
    assert_eq!(step(&it.get("/task/t-1").await.1, "evaluate")["status"], "cancelled");
    // Once more is the same answer; of one that ended otherwise it is a conflict.
    assert_eq!(it.server().delete("/task/t-1").await.0, 200);
    it.submit("t-2", json!({})).await;
    it.server().delete("/task/t-2").await;
    assert_eq!(it.server().delete("/task/unknown").await.0, 404);
}

pub async fn a_cancelled_task_frees_its_slot(kind: Kind) {
    let settings = [("provider", "mock"), ("mock_script", "evaluate:hang@1"), ("slots", "1"), ("retry_pause", "10ms")];
    let it = kind.start(&settings).await;
    it.submit("t-1", json!({})).await;
    it.step_is("t-1", "evaluate", "running").await;
    it.submit("t-2", json!({})).await;
    it.step_is("t-2", "evaluate", "queued").await;
    it.server().delete("/task/t-1").await;
    it.step_is("t-2", "evaluate", "running").await;
    it.server().delete("/task/t-2").await;
}

pub async fn a_deadline_ends_a_task(kind: Kind) {
    let it = kind.scripted("evaluate:hang@1").await;
    let result = it.done("t-1", json!({"options": {"deadline_ms": 400}})).await;
    assert_eq!((&result["status"], &result["error"]["code"]), (&json!("failed"), &json!("deadline_exceeded")));
}

pub async fn a_failure_is_tried_again_and_costs_an_attempt(kind: Kind) {
    let it = kind.scripted("evaluate:error@2").await;
    it.done("t-1", json!({})).await;
    let result = it.done("t-2", json!({})).await;
    assert_eq!(result["status"], "succeeded", "{result:#}");
    let evaluate = step(&it.get("/task/t-2").await.1, "evaluate");
    assert_eq!((&evaluate["failures"], &evaluate["crashes"], &evaluate["losses"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(evaluate["attempts"].as_array().unwrap().len(), 2);
}

pub async fn a_failure_for_good_ends_the_task(kind: Kind) {
    let it = kind.scripted("retrieve:fatal@1").await;
    let result = it.done("t-1", json!({})).await;
    assert_eq!((&result["status"], &result["stages"][1]["status"]), (&json!("failed"), &json!("fatal_failure")));
    assert!(result["error"]["message"].as_str().unwrap().contains("retrieve"), "{result:#}");
    assert_eq!(step(&it.get("/task/t-1").await.1, "retrieve")["attempts"].as_array().unwrap().len(), 1);
}

pub async fn a_panic_costs_no_attempt(kind: Kind) {
    let it = kind.scripted("evaluate:panic@2").await;
    it.done("t-1", json!({})).await;
    let result = it.done("t-2", json!({})).await;
    assert_eq!(result["status"], "succeeded", "{result:#}");
    let evaluate = step(&it.get("/task/t-2").await.1, "evaluate");
    assert_eq!((&evaluate["failures"], &evaluate["crashes"]), (&json!(0), &json!(1)), "{evaluate:#}");
}

pub async fn a_step_that_hangs_fails_as_too_slow(kind: Kind) {
    let settings = [
        ("provider", "mock"),
        ("mock_script", "evaluate:hang@1"),
        ("step_timeout", "300ms"),
        ("max_attempts", "2"),
        ("retry_pause", "10ms"),
    ];
    let it = kind.start(&settings).await;
    let result = it.done("t-1", json!({})).await;
    assert_eq!(result["status"], "failed", "{result:#}");
    let evaluate = step(&it.get("/task/t-1").await.1, "evaluate");
    assert_eq!((&evaluate["failures"], evaluate["attempts"].as_array().unwrap().len()), (&json!(2), 2), "{evaluate:#}");
}

// === Load ===

pub async fn many_tasks_at_once_all_end(kind: Kind) {
    let it = kind.scripted("").await;
    let all = (0..100).map(|n| {
        let it = &it;
        async move {
            let (status, body) = it.server().post("/task?wait=100", &with(&format!("many-{n}"), json!({}))).await;
            assert_eq!((status, &body["status"]), (200, &json!("succeeded")), "{body:#}");
        }
    });
    futures_util::future::join_all(all).await;
    let (_, page) = it.get("/tasks?status=succeeded&limit=200").await;
    assert_eq!(page["tasks"].as_array().unwrap().len(), 100);
}

pub async fn steps_wait_for_slots_and_all_run(kind: Kind) {
    let it = kind.start(&[("provider", "mock"), ("mock_latency", "5ms"), ("slots", "1")]).await;
    let all = (0..20).map(|n| it.submit_owned(format!("slow-{n}")));
    futures_util::future::join_all(all).await;
    for n in 0..20 {
        assert_eq!(it.ended(&format!("slow-{n}")).await["status"], "succeeded");
    }
    // One slot: of no two attempts of an agent did one begin before the other had ended.
    let (_, agents) = it.get("/agents").await;
    assert!(agents["agents"].as_array().unwrap().iter().all(|agent| agent["slots"] == 1), "{agents:#}");
}

pub async fn the_urgent_go_first(kind: Kind) {
    let settings = [("provider", "mock"), ("mock_script", "analyze:hang@1"), ("slots", "1"), ("retry_pause", "10ms")];
    let it = kind.start(&settings).await;
    it.submit("holds", json!({})).await;
    it.step_is("holds", "analyze", "running").await;
    it.submit("low", json!({"options": {"priority": "low"}})).await;
    it.submit("high", json!({"options": {"priority": "high"}})).await;
    it.step_is("high", "analyze", "queued").await;
    it.server().delete("/task/holds").await;
    it.step_is("high", "analyze", "running").await;
    assert_eq!(step(&it.get("/task/low").await.1, "analyze")["status"], "queued");
    it.server().delete("/task/high").await;
    it.server().delete("/task/low").await;
}

// === Lists and the like ===

pub async fn lists_show_what_there_is(kind: Kind) {
    let it = kind.scripted("").await;
    for n in 1..=5 {
        it.done(&format!("t-{n}"), json!({})).await;
    }
    let (_, first) = it.get("/tasks?limit=3").await;
    let ids = |page: &Value| -> Vec<String> {
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["task_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&first), ["t-5", "t-4", "t-3"]);
    let cursor = &first["next_cursor"];
    let cursor = cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned);
    let (_, second) = it.get(&format!("/tasks?limit=3&cursor={cursor}")).await;
    assert_eq!((ids(&second), &second["next_cursor"]), (vec!["t-2".to_owned(), "t-1".to_owned()], &Value::Null));
    assert_eq!(ids(&it.get("/tasks?status=failed").await.1), Vec::<String>::new());
}

pub async fn agents_are_listed_with_what_they_do(kind: Kind) {
    let it = kind.scripted("").await;
    let (_, body) = it.get("/agents").await;
    let mut does: Vec<_> =
        body["agents"].as_array().unwrap().iter().map(|agent| agent["capabilities"].clone()).collect();
    does.sort_by_key(Value::to_string);
    assert_eq!(does, [json!(["analyze"]), json!(["evaluate"]), json!(["finalize"]), json!(["retrieve"])]);
    let (_, team) = it.get("/team").await;
    assert_eq!(team["stages"].as_array().unwrap().len(), 4);
    assert_eq!(it.get("/supervision").await.0, 200);
}

pub async fn what_is_not_there_is_not_found(kind: Kind) {
    let it = kind.scripted("").await;
    for path in ["/task/unknown", "/task/unknown/result", "/task/unknown/events", "/nowhere"] {
        let (status, body) = it.get(path).await;
        assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{path}");
    }
}

pub async fn readiness_and_health_answer(kind: Kind) {
    let it = kind.scripted("").await;
    assert_eq!(it.get("/health").await, (200, json!({"status": "ok"})));
    it.server().until("/ready", |_, body| *body == json!({"status": "ready", "missing_capabilities": []})).await;
    let metrics = it.server().client.get(format!("{}/metrics", it.server().url)).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("callboard_open_tasks"));
}

pub async fn a_team_of_ones_own_works(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("team.toml");
    let text = r#"
        [[stages]]
        capability = "retrieve"
        [[stages]]
        capability = "reply"
        [[stages]]
        capability = "retrieve"
        [[agents]]
        id = "searcher"
        capabilities = ["retrieve"]
        [[agents]]
        id = "writer"
        capabilities = ["reply"]
    "#;
    std::fs::write(&file, text).unwrap();
    let team = file.display().to_string();
    let it = kind.start_with(&["retrieve", "reply"], &[("provider", "mock"), ("team", &team)]).await;
    let result = it.done("t-1", json!({})).await;
    assert_eq!(texts(&result), ["retrieve", "reply", "retrieve"], "{result:#}");
    let last = &result["stages"][2]["output"];
    assert_eq!(last["context"], json!({"refs": ["t-1-P1", "t-1-P2"]}));
}
