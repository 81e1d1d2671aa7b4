//! An agent of AG2's under our master: AG2 runs it, our gateway answers for its models.

use crate::Company;
use crate::program::{Program, in_repository, python_of};
use crate::support::clean;
use serde_json::json;

/// The Python that has AG2; made at the first time.
fn interpreter() -> String {
    let output = clean("bash").arg(in_repository("scripts/python.sh")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn an_ag2_agent_evaluates_with_models_of_our_gateway() {
    let company = Company::start();
    let environment = [
        ("AGENT_ID", "ag2-critic"),
        ("MASTER_URL", &*company.server.url),
        ("LLM_GATEWAY_URL", &*company.server.url),
        ("HEARTBEAT_SECONDS", "0.2"),
    ];
    let worker = Program::start(python_of(&interpreter(), "examples/ag2_worker/worker.py", &environment));
    worker.said(|line| line.ends_with("joined"));
    let (status, answer) = company.server.post("/task?wait=60", &json!({"objective": "Who answers here?"})).await;
    assert_eq!((status, &answer["status"]), (200, &json!("succeeded")), "{answer:#}\n{}", worker.everything());
    let evaluated = &answer["stages"][2];
    assert_eq!((&evaluated["agent_id"], &evaluated["output"]["provider"]), (&json!("ag2-critic"), &json!("mock")));
    assert!(!evaluated["output"]["text"].as_str().unwrap().is_empty());
    assert!(evaluated["output"]["ag2_trace"].is_null(), "the trace is kept beside the output: {evaluated}");
}
