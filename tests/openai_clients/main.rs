//! Clients that speak OpenAI's language are served under `/v1`: its official Python client in everything that it can ask, and
//! raw requests where that one would not go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::model_server::{ModelServer, Says};
use support::{Server, callboard, clean};

fn in_repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// The Python that has the official client; made at the first time.
fn interpreter() -> String {
    let mut command = clean("bash");
    command.arg(in_repository("scripts/python.sh")).arg(in_repository("tests/openai_clients/requirements.txt"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn gateway(models: &ModelServer, more: &[(&str, &str)]) -> Server {
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--role", "gateway", "--provider", "openai"]);
    command.env("CALLBOARD_OPENAI_URL", format!("{}/v1", models.url));
    command.env("CALLBOARD_OPENAI_MODEL", "gpt-9").env("CALLBOARD_OPENAI_EMBEDDING_MODEL", "e-9");
    command.envs(more.iter().map(|(name, value)| (format!("CALLBOARD_{name}"), (*value).to_owned())));
    Server::of(command)
}

fn answers(message: Value, reason: &str) -> Says {
    let body = json!({"id": "x", "model": "gpt-9", "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4}});
    Says::Answer(200, Vec::new(), body.to_string())
}

fn words(text: &str) -> Says {
    answers(json!({"role": "assistant", "content": text}), "stop")
}

fn chunk(delta: Value, reason: Option<&str>) -> String {
    json!({"id": "x", "model": "gpt-9", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).to_string()
}

#[tokio::test]
async fn the_official_client_does_all_that_it_can() {
    let models = ModelServer::start();
    let call = json!({"id": "c-1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}});
    let used = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).to_string();
    models.says([
        words("Because."),
        Says::Stream(vec![
            chunk(json!({"role": "assistant", "content": "Be"}), None),
            chunk(json!({"content": "cause."}), None),
            chunk(json!({}), Some("stop")),
            used,
            "[DONE]".to_owned(),
        ]),
        answers(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls"),
        words("It is 3."),
        words("{\"sum\": 3}"),
        Says::Answer(
            200,
            Vec::new(),
            json!({"model": "e-9", "data": [{"index": 0, "embedding": [0.5]}, {"index": 1, "embedding": [1.5]}]})
                .to_string(),
        ),
        Says::Answer(400, Vec::new(), json!({"error": {"message": "no", "code": "content_filter"}}).to_string()),
        Says::Breaks(vec![chunk(json!({"content": "Be"}), None)]),
    ]);
    let gateway = gateway(&models, &[]);
    let mut command = clean(&interpreter());
    command.arg(in_repository("tests/openai_clients/client.py")).args([&gateway.url, "any"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let saw: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(saw["models"], json!(["openai", "extractive", "mock"]));
    assert_eq!(saw["plain"], json!(["Because.", "stop", 13, "gpt-9"]));
    assert_eq!(saw["stream"], json!([["Be", "cause."], ["stop"], [11]]));
    assert_eq!(saw["tools"], json!(["add", {"a": 1}, "tool_calls"]));
    assert_eq!(saw["tool result"], "It is 3.");
    assert_eq!(saw["structured"], json!({"sum": 3}));
    assert_eq!(saw["vectors"], json!([[0.5], [1.5]]));
    let refused = json!([[400, "invalid_request_error", "content_filter"], [400, "invalid_request_error", null]]);
    assert_eq!(saw["refused"], refused);
    assert!(saw["broken"].as_str().is_some_and(|words| words.contains("broke off")), "{:#}", saw["broken"]);
    let asked = models.asked();
    assert_eq!(asked[0].body["max_tokens"], 50, "{:#}", asked[0].body);
    assert_eq!(asked[1].body["model"], "gpt-9");
    assert_eq!(asked[3].body["messages"][3], json!({"role": "tool", "tool_call_id": "c-1", "content": "3"}));
    assert_eq!(asked[4].body["response_format"]["json_schema"]["strict"], true);
}

#[tokio::test]
async fn a_client_that_leaves_its_stream_ends_the_call() {
    let models = ModelServer::start();
    models.says([Says::Hangs(vec![chunk(json!({"content": "Be"}), None)])]);
    let gateway = gateway(&models, &[]);
    let body = json!({"messages": [{"role": "user", "content": "why?"}], "stream": true});
    let client = reqwest::Client::new();
    let mut answer = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"content\":\"Be\""), "{first:?}");
    drop((answer, client));
    models.until_left(1).await;
}

#[tokio::test]
async fn a_stream_falls_back_until_its_first_word_and_not_after() {
    let models = ModelServer::start();
    let stopped =
        || vec![chunk(json!({"content": "Well."}), None), chunk(json!({}), Some("stop")), "[DONE]".to_owned()];
    models.says([
        Says::Breaks(Vec::new()),
        Says::Stream(stopped()),
        Says::Breaks(vec![chunk(json!({"content": "Be"}), None)]),
    ]);
    let gateway = gateway(&models, &[]);
    let ask = async || {
        let body = json!({"messages": [{"role": "user", "content": "why?"}], "stream": true});
        let request = gateway.client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body);
        request.send().await.unwrap().text().await.unwrap()
    };
    let text = ask().await;
    assert!(text.contains("Well.") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(models.asked().len(), 2);
    let text = ask().await;
    assert!(text.contains("\"Be\"") && text.contains("\"error\"") && !text.contains("[DONE]"), "{text}");
    assert_eq!(models.asked().len(), 3, "nobody answers the rest");
}

#[tokio::test]
async fn strangers_are_not_let_in_where_others_reach_the_listener() {
    let models = ModelServer::start();
    let mut command = callboard(&["serve", "--listen", "0.0.0.0:0", "--role", "gateway"]);
    command.env("CALLBOARD_INTERNAL_TOKEN", "s3cret");
    let gateway = Server::of(command);
    let url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    let ask = async |token: &str| {
        let body = json!({"messages": [{"role": "user", "content": "why?"}]});
        let request = gateway.client.post(format!("{url}/v1/chat/completions")).bearer_auth(token).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((ask("wrong").await, ask("s3cret").await), (401, 200));
    assert!(models.asked().is_empty());
}
