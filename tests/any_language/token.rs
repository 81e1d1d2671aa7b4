//! A token between the parts: a worker joins with it, as a bearer or in the user part of its master's URL, and is refused
//! without it. It refuses whoever does not have it, too.

use crate::Company;
use crate::program::{Program, python};
use serde_json::json;

const EXAMPLE: &str = "examples/python_worker.py";
const TOKEN: &str = "t0ken/with:signs";

fn guarded() -> Company {
    Company::start_with(&format!("internal_token = \"{TOKEN}\"\n"))
}

#[tokio::test]
async fn a_worker_joins_with_the_token_as_a_bearer_and_asks_for_it_itself() {
    let company = guarded();
    let worker = company.worker(EXAMPLE, "py-critic", &[("CALLBOARD_INTERNAL_TOKEN", TOKEN)]);
    let (status, answer) = company.server.post("/task?wait=60", &json!({"objective": "Does it know who calls?"})).await;
    assert_eq!((status, &answer["stages"][2]["agent_id"]), (200, &json!("py-critic")), "{answer:#}");
    let work = json!({"task_id": "t-1", "sub_id": "t-1-P3", "command": "evaluate", "reply_mode": "sync"});
    let call = || company.server.client.post(format!("{}/work", worker.url)).json(&work);
    for (request, expected) in [
        (call(), 401),
        (call().bearer_auth("wrong"), 401),
        (call().basic_auth("master", Some("wrong")), 401),
        (call().bearer_auth(TOKEN), 200),
        (call().basic_auth("master", Some(TOKEN)), 200),
    ] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected);
    }
    assert!(!worker.everything().contains(TOKEN), "it says its token: {}", worker.everything());
}

#[tokio::test]
async fn a_worker_joins_with_the_token_in_the_user_part_of_its_masters_url() {
    let company = guarded();
    let master = company.server.url.replace("http://", "http://worker:t0ken%2Fwith%3Asigns@");
    let worker = company.worker(EXAMPLE, "py-critic", &[("MASTER_URL", &master)]);
    let (status, answer) = company.server.post("/task?wait=60", &json!({"objective": "Does it know who calls?"})).await;
    assert_eq!((status, &answer["stages"][2]["agent_id"]), (200, &json!("py-critic")), "{answer:#}");
    assert!(!worker.everything().contains("t0ken"), "it says its token: {}", worker.everything());
}

#[tokio::test]
async fn a_worker_without_the_token_is_refused_and_ends() {
    let company = guarded();
    let mut worker = Program::launch(company.command(EXAMPLE, "py-critic", &[]));
    worker.said(|line| line.contains("py-critic is refused: 401"));
    assert_eq!(worker.ended().code(), Some(1));
    let (_, agents) = company.server.get("/agents").await;
    assert!(!agents.to_string().contains("py-critic"), "{agents}");
}

#[test]
fn a_worker_that_others_can_reach_asks_for_a_token_before_it_listens() {
    let environment = [("LISTEN_HOST", "0.0.0.0"), ("MASTER_URL", "http://127.0.0.1:9")];
    let mut worker = Program::launch(python(EXAMPLE, &environment));
    worker.said(|line| line.contains("CALLBOARD_INTERNAL_TOKEN"));
    assert_eq!(worker.ended().code(), Some(1));
    assert!(!worker.everything().contains("listening"), "{}", worker.everything());
}
