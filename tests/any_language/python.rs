//! The worker in plain Python under our master: it does its stage, and its death, its end and a cancelled task are what
//! they are for an agent of ours.

use crate::program::Program;
use crate::support::PATIENCE;
use crate::{Company, release};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const EXAMPLE: &str = "examples/python_worker.py";
const HELD: &str = "tests/support/held_worker.py";

async fn submit(company: &Company, task: &str) {
    let (status, answer) = company.server.post("/task", &json!({"task_id": task, "objective": "Why is it so?"})).await;
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test]
async fn it_evaluates_in_the_place_of_an_agent_of_ours() {
    let company = Company::start();
    let _worker = company.worker(EXAMPLE, "py-critic", &[("AG2_PROFILE", "critic")]);
    let body = json!({"task_id": "first", "objective": "Which words of the question are taken up by the draft?"});
    let (status, answer) = company.server.post("/task?wait=60", &body).await;
    assert_eq!((status, &answer["status"]), (200, &json!("succeeded")), "{answer:#}");
    let evaluated = answer["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "evaluate").unwrap();
    assert_eq!(evaluated["agent_id"], "py-critic");
    let output = &evaluated["output"];
    assert_eq!((&output["profile"], &output["provider"]), (&json!("critic"), &json!("none")));
    assert_eq!(output["metadata"]["sub_id"], "first-P3");
    assert!(output["words"].as_u64().unwrap() > 0 && output["score"].is_number(), "it judged the draft: {output}");
    assert!(output["text"].as_str().unwrap().contains("score"), "{output}");
    assert_eq!(output["input"], json!({"refs": ["first-P2"]}));
    assert_eq!(output["context"], json!({"refs": ["first-P1", "first-P2"]}));
    let (_, agents) = company.server.get("/agents").await;
    let agents = agents["agents"].as_array().unwrap();
    let critic = agents.iter().find(|agent| agent["agent_id"] == "py-critic").unwrap();
    assert_eq!((&critic["ag2_profile"], &critic["slots"]), (&json!("critic"), &json!(4)));
}

#[tokio::test]
async fn what_it_echoes_of_its_inputs_is_kept_as_references() {
    let company = Company::start();
    release(&company.release());
    let _worker = company.worker(HELD, "py-echo", &[]);
    let body = json!({"task_id": "echoed", "objective": "x".repeat(200), "context": {"note": "y".repeat(200)}});
    let (_, answer) = company.server.post("/task?wait=60", &body).await;
    let output = &answer["stages"][2]["output"];
    assert_eq!(output["text"], "py-echo did evaluate.", "{answer:#}");
    for key in ["profile", "provider", "text", "raw_response", "metadata", "input", "context"] {
        assert!(!output[key].is_null(), "{key} is missing: {output}");
    }
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((keys(&output["input"]), keys(&output["context"])), (vec!["refs".into()], vec!["refs".to_owned()]));
    assert!(answer.to_string().len() < 8 * 1024, "{answer}");
}

#[tokio::test]
async fn killed_under_work_its_step_goes_to_another() {
    let company = Company::start();
    let mut workers = Vec::from(["py-one", "py-two"].map(|id| (id, company.worker(HELD, id, &[("SLOTS", "1")]))));
    submit(&company, "passed-on").await;
    let running = company.evaluation("passed-on", |step| step["attempts"][0]["outcome"] == "running").await;
    let held_by = running["attempts"][0]["agent_id"].as_str().unwrap().to_owned();
    let at = workers.iter().position(|(id, _)| *id == held_by).unwrap();
    let (_, killed) = workers.remove(at);
    killed.printed(|line| line == "began passed-on-P3 1");
    killed.kill();
    workers[0].1.printed(|line| line.starts_with("began passed-on-P3 "));
    release(&company.release());
    let done = company.evaluation("passed-on", |step| step["status"] == "succeeded").await;
    assert_eq!(
        (&done["agent_id"], &done["attempts"][0]["outcome"]),
        (&json!(workers[0].0), &json!("lost")),
        "{done:#}"
    );
    assert_eq!((&done["failures"], &done["crashes"]), (&json!(0), &json!(0)), "a death costs no attempt: {done:#}");
}

#[tokio::test]
async fn killed_with_nobody_to_take_over_its_step_waits_visibly() {
    let company = Company::start();
    let killed = company.worker(HELD, "py-one", &[]);
    submit(&company, "waiting").await;
    killed.printed(|line| line == "began waiting-P3 1");
    killed.kill();
    company.server.until("/task/waiting", |_, task| task["status"] == "waiting_for_agent").await;
    release(&company.release());
    let _another = company.worker(HELD, "py-one", &[]);
    let done = company.evaluation("waiting", |step| step["status"] == "succeeded").await;
    assert_eq!((&done["agent_id"], &done["failures"]), (&json!("py-one"), &json!(0)), "{done:#}");
}

#[tokio::test]
async fn told_to_end_it_takes_nothing_new_finishes_what_it_has_and_exits_0() {
    let company = Company::start();
    let mut worker = company.worker(HELD, "py-one", &[]);
    submit(&company, "last").await;
    worker.printed(|line| line == "began last-P3 1");
    worker.signal("-TERM");
    let has_left = |agents: &Value| agents["agents"].as_array().unwrap().iter().all(|a| a["agent_id"] != "py-one");
    company.server.until("/agents", |_, agents| has_left(agents)).await;
    let more = json!({"task_id": "more", "sub_id": "more-P3", "command": "evaluate"});
    let refused = company.server.client.post(format!("{}/work", worker.url)).json(&more).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let envelope: Value = refused.json().await.unwrap();
    assert_eq!((&envelope["code"], &envelope["details"]["reason"]), (&json!("overloaded"), &json!("draining")));
    release(&company.release());
    let done = company.evaluation("last", |step| step["status"] == "succeeded").await;
    assert_eq!((&done["agent_id"], done["attempts"].as_array().unwrap().len()), (&json!("py-one"), 1), "{done:#}");
    assert_eq!(worker.ended().code(), Some(0), "{}", worker.everything());
}

#[tokio::test]
async fn a_cancelled_tasks_step_is_dropped_and_its_slot_is_free() {
    let company = Company::start();
    let worker = company.worker(HELD, "py-one", &[("SLOTS", "1")]);
    submit(&company, "unwanted").await;
    worker.printed(|line| line == "began unwanted-P3 1");
    let direct = json!({"task_id": "direct", "sub_id": "direct-P3", "command": "evaluate"});
    let work = async || company.server.client.post(format!("{}/work", worker.url)).json(&direct).send().await.unwrap();
    let full = work().await;
    assert_eq!((full.status().as_u16(), full.headers().contains_key("retry-after")), (503, true));
    assert_eq!(full.json::<Value>().await.unwrap()["code"], "overloaded");
    assert_eq!(company.server.delete("/task/unwanted").await.0, 200);
    worker.said(|line| line.ends_with("unwanted-P3: dropped"));
    submit(&company, "wanted").await;
    worker.printed(|line| line.starts_with("began wanted-P3 "));
    release(&company.release());
    company.evaluation("wanted", |step| step["status"] == "succeeded").await;
}

#[tokio::test]
async fn it_joins_again_when_its_master_has_forgotten_it() {
    let company = Company::start();
    let master = |listen: &str| {
        let mut command = crate::support::callboard(&["serve", "--listen", listen, "--config"]);
        command.arg(company.folder.path().join("callboard.toml"));
        Program::start(command)
    };
    let first = master("127.0.0.1:0");
    let address = first.url.trim_start_matches("http://").to_owned();
    let worker = company.worker(EXAMPLE, "py-critic", &[("MASTER_URL", &first.url)]);
    first.kill();
    worker.said(|line| line.contains("a heartbeat was not taken"));
    let second = master(&address);
    let agents = format!("{}/agents", second.url);
    let until = Instant::now() + PATIENCE;
    loop {
        let found: Value = company.server.client.get(&agents).send().await.unwrap().json().await.unwrap();
        if found["agents"].as_array().unwrap().iter().any(|agent| agent["agent_id"] == "py-critic") {
            break;
        }
        assert!(Instant::now() < until, "it does not come back: {}", worker.everything());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_work_it_answers_in_the_envelope() {
    let company = Company::start();
    let worker = company.worker(EXAMPLE, "py-critic", &[]);
    let url = |path: &str| format!("{}{path}", worker.url);
    let client = &company.server.client;
    let work = |body: &str| client.post(url("/work")).body(body.to_owned());
    let whole = r#"{"task_id":"t-1","sub_id":"t-1-P3","command":"evaluate","reply_mode":"sync"}"#;
    let cases = [
        (client.get(url("/nowhere")), 404, "not_found"),
        (client.post(url("/nowhere")).body("{}"), 404, "not_found"),
        (client.put(url("/work")).body("{}"), 501, "validation_error"),
        (work("{"), 400, "validation_error"),
        (work("[]"), 422, "validation_error"),
        (work(r#"{"task_id":"t-1","sub_id":"t-1-P3"}"#), 422, "validation_error"),
        (work(r#"{"task_id":"t-1","sub_id":"t-1-P3","command":"paint"}"#), 422, "validation_error"),
        (work(r#"{"task_id":"t-1","sub_id":"t-1-P3","command":"evaluate","data":[]}"#), 422, "validation_error"),
        (work(whole).header("callboard-agent", "another"), 422, "validation_error"),
    ];
    for (number, (request, expected, code)) in cases.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let envelope: Value = response.json().await.unwrap();
        assert_eq!((status, &envelope["code"]), (expected, &json!(code)), "case {number}: {envelope}");
        assert!(envelope["message"].is_string() && envelope.as_object().unwrap().contains_key("details"));
    }
    let earlier = work(whole).header("callboard-incarnation", "an-earlier-one").send().await.unwrap();
    assert_eq!(earlier.status().as_u16(), 409);
    assert_eq!(earlier.json::<Value>().await.unwrap()["details"]["reason"], "restarted");
    // A step that fails is no fault of the call: the answer says how it ended.
    let response = work(whole).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let result: Value = response.json().await.unwrap();
    assert_eq!((&result["status"], &result["error"]["code"]), (&json!("fatal_failure"), &json!("validation_error")));
}

#[test]
fn python_there_is_new_enough() {
    let version = Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status();
    assert!(version.unwrap().success(), "the examples need Python 3.9");
}
