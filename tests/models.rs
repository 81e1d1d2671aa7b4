//! Models elsewhere, by their documented wire over sockets: what is asked of them, what becomes of each of their faults, who
//! answers in their place, and that nobody goes on paying for what nobody waits for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::model_server::{ModelServer, Says};
use support::{Server, callboard};

const KEY: &str = "sk-nobody-may-see-this";

/// A gateway with these settings.
fn gateway(settings: &[(&str, &str)]) -> Server {
    Server::of(command(&["serve", "--listen", "127.0.0.1:0", "--role", "gateway"], settings))
}

fn command(args: &[&str], settings: &[(&str, &str)]) -> std::process::Command {
    let mut command = callboard(args);
    for (name, value) in settings {
        command.env(format!("CALLBOARD_{}", name.to_uppercase()), value);
    }
    command
}

/// One that asks a server in OpenAI's language and then, where the first cannot, another in Gemini's.
fn of_two(openai: &ModelServer, gemini: &ModelServer, more: &[(&str, &str)]) -> Server {
    let url = format!("{}/v1", openai.url);
    let settings = [
        ("provider", "openai"),
        ("openai_url", &url),
        ("openai_model", "gpt-9-mini"),
        ("openai_key", KEY),
        ("fallback", "gemini"),
        ("gemini_url", &gemini.url),
        ("gemini_key", KEY),
    ];
    gateway(&[&settings[..], more].concat())
}

async fn ask(gateway: &Server) -> (u16, Value) {
    gateway.post("/generate", &json!({"system_prompt": "be brief", "user_prompt": "why?"})).await
}

fn fails(status: u16, body: Value) -> Says {
    Says::Answer(status, Vec::new(), body.to_string())
}

fn openai_error(status: u16, kind: &str, code: &str) -> Says {
    fails(status, json!({"error": {"message": "so it is", "type": kind, "param": null, "code": code}}))
}

// === What is asked ===

#[tokio::test]
async fn a_task_is_answered_by_a_model_elsewhere() {
    for (provider, path, model) in [
        ("openai", "/v1/chat/completions", "gpt-9"),
        ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-9"),
    ] {
        let models = ModelServer::start();
        let url = format!("{}/v1", models.url);
        let settings = [
            ("openai_url", &*url),
            ("openai_model", "gpt-9-mini"),
            ("openai_key", KEY),
            ("gemini_url", &models.url),
            ("gemini_key", KEY),
        ];
        let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--provider", provider];
        let server = Server::of(command(&args, &settings));
        server.post("/task", &json!({"task_id": "asked", "objective": "why?"})).await;
        let result = server.until("/task/asked/result", |status, _| status == 200).await;
        assert_eq!(result["status"], "succeeded", "{result:#}");
        assert_eq!(result["final_output"]["text"], "The answer is forty-two.", "{result:#}");
        assert_eq!(result["final_output"]["provider"], provider, "{result:#}");
        assert_eq!(result["final_output"]["raw_response"]["model"], model, "{result:#}");
        let asked = models.asked();
        assert_eq!(asked.len(), 3, "analyze, evaluate and finalize think");
        for asked in &asked {
            assert_eq!(asked.path, path);
            assert!(asked.body.to_string().contains("why?"), "{:#}", asked.body);
            let shown = asked.header("authorization").or(asked.header("x-goog-api-key")).unwrap();
            assert_eq!(shown.trim_start_matches("Bearer "), KEY);
            assert!(!asked.path.contains(KEY));
        }
    }
}

// === The table of what follows from each fault ===

/// A fault of the first provider, as it is each time that it is asked.
struct Row {
    name: &'static str,
    fault: Says,
    /// How often the first is asked.
    asked: usize,
    falls_back: bool,
}

fn row(name: &'static str, fault: Says, asked: usize, falls_back: bool) -> Row {
    Row { name, fault, asked, falls_back }
}

#[tokio::test]
async fn each_fault_has_the_consequences_of_the_table() {
    let waits = |header, value: &str| {
        let body = json!({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}});
        Says::Answer(429, vec![(header, value.to_owned())], body.to_string())
    };
    let rows = [
        row("a connection that ends", Says::Leaves, 3, true),
        row("500", openai_error(500, "server_error", ""), 3, true),
        row("502 in HTML", Says::Answer(502, Vec::new(), "<html>Bad Gateway</html>".into()), 3, true),
        row("503", openai_error(503, "server_error", "overloaded"), 3, true),
        row("504", openai_error(504, "server_error", ""), 3, true),
        row("424", openai_error(424, "server_error", ""), 3, true),
        row("an answer that is no JSON", Says::Answer(200, Vec::new(), "{\"choices\": [".into()), 3, true),
        row("408", openai_error(408, "timeout", ""), 2, true),
        row("a server that says nothing", Says::Nothing, 2, true),
        row("429 with a time", waits("retry-after", "5"), 1, true),
        row("429 without one", openai_error(429, "requests", "rate_limit_exceeded"), 1, true),
        row("429 for unpaid bills", openai_error(429, "insufficient_quota", "insufficient_quota"), 1, true),
        row("401", openai_error(401, "invalid_request_error", "invalid_api_key"), 1, true),
        row("403", openai_error(403, "x", ""), 1, true),
        row("400", openai_error(400, "invalid_request_error", "context_length_exceeded"), 1, false),
        row("404", openai_error(404, "invalid_request_error", "model_not_found"), 1, false),
        row("422", openai_error(422, "invalid_request_error", ""), 1, false),
        row("a content filter", openai_error(400, "invalid_request_error", "content_filter"), 1, false),
    ];
    let checked = rows.into_iter().map(|row| async move {
        let (openai, gemini) = (ModelServer::start(), ModelServer::start());
        openai.says(vec![row.fault; 10]);
        let gateway = of_two(&openai, &gemini, &[("model_silence", "1s")]);
        let (status, body) = ask(&gateway).await;
        let seen = (openai.asked().len(), gemini.asked().len(), status);
        let expected = if row.falls_back { (row.asked, 1, 200) } else { (row.asked, 0, 502) };
        assert_eq!(seen, expected, "{}: {body:#}", row.name);
        if row.falls_back {
            assert_eq!(body["provider"], "gemini", "{}", row.name);
        } else {
            assert_eq!(body["details"]["kind"], "fatal", "{}: {body:#}", row.name);
        }
        assert!(!body.to_string().contains(KEY), "{}", row.name);
    });
    futures_util::future::join_all(checked).await;
}

#[tokio::test]
async fn refused_questions_go_on_only_where_somebody_said_so() {
    let (openai, gemini) = (ModelServer::start(), ModelServer::start());
    openai.says([openai_error(400, "invalid_request_error", "content_filter")]);
    let gateway = of_two(&openai, &gemini, &[("fallback_refused", "true")]);
    let (status, body) = ask(&gateway).await;
    assert_eq!((status, &body["provider"]), (200, &json!("gemini")), "{body:#}");
}

// === What the market's gateways get wrong ===

#[tokio::test]
async fn retries_are_not_multiplied_by_layers() {
    let models = ModelServer::start();
    models.says(vec![openai_error(500, "server_error", ""); 20]);
    let url = format!("{}/v1", models.url);
    let settings = [("provider", "openai"), ("openai_url", &*url), ("openai_model", "m"), ("model_tries", "2")];
    let (status, body) = ask(&gateway(&settings)).await;
    assert_eq!((status, models.asked().len()), (502, 2), "{body:#}");
    assert_eq!(body["message"], "the model server answered 500: so it is", "{body:#}");
}

#[tokio::test]
async fn a_question_that_is_refused_is_no_failure_of_its_server() {
    let (openai, gemini) = (ModelServer::start(), ModelServer::start());
    openai.says(vec![openai_error(400, "invalid_request_error", "x"); 12]);
    let gateway = of_two(&openai, &gemini, &[]);
    for _ in 0..12 {
        assert_eq!(ask(&gateway).await.0, 502);
    }
    let (status, body) = ask(&gateway).await;
    assert_eq!((status, &body["provider"]), (200, &json!("openai")), "{body:#}");
}

#[tokio::test]
async fn a_quota_for_the_day_is_not_asked_for_again_and_again() {
    let (openai, gemini) = (ModelServer::start(), ModelServer::start());
    openai.says([openai_error(429, "insufficient_quota", "insufficient_quota")]);
    let gateway = of_two(&openai, &gemini, &[]);
    for _ in 0..5 {
        let (status, body) = ask(&gateway).await;
        assert_eq!((status, &body["provider"]), (200, &json!("gemini")), "{body:#}");
    }
    assert_eq!((openai.asked().len(), gemini.asked().len()), (1, 5));
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_left_alone() {
    let (openai, gemini) = (ModelServer::start(), ModelServer::start());
    openai.says(vec![openai_error(503, "server_error", ""); 50]);
    let gateway = of_two(&openai, &gemini, &[("model_tries", "1")]);
    for _ in 0..20 {
        assert_eq!(ask(&gateway).await.0, 200);
    }
    let asked = openai.asked().len();
    assert!((5..10).contains(&asked), "it was asked {asked} times for 20 calls");
}

#[tokio::test]
async fn how_the_providers_do_can_be_seen() {
    let (openai, gemini) = (ModelServer::start(), ModelServer::start());
    openai.says([openai_error(401, "invalid_request_error", "invalid_api_key")]);
    let gateway = of_two(&openai, &gemini, &[]);
    let places = async || {
        let (status, body) = gateway.get("/providers").await;
        assert_eq!(status, 200, "{body:#}");
        let known = body["providers"].as_array().unwrap().iter().find(|state| state["name"] == "openai");
        known.unwrap()["places"].clone()
    };
    let well =
        |provider: &str| json!({"provider": provider, "available": true, "rests_ms": null, "last_failure": null});
    assert_eq!(places().await, json!([well("openai"), well("gemini")]));
    assert_eq!(ask(&gateway).await.0, 200);
    let places = places().await;
    assert_eq!((&places[0]["available"], &places[1]), (&json!(false), &well("gemini")), "{places:#}");
    assert!(places[0]["rests_ms"].as_u64().is_some_and(|rest| rest > 200_000), "{places:#}");
    assert_eq!(places[0]["last_failure"], "the model server answered 401: so it is");
}

#[tokio::test]
async fn the_only_provider_is_waited_for_as_long_as_it_asks() {
    let models = ModelServer::start();
    let body = json!({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}});
    models.says([Says::Answer(429, vec![("retry-after-ms", "700".into())], body.to_string())]);
    let url = format!("{}/v1", models.url);
    let began = Instant::now();
    let (status, body) = ask(&gateway(&[("provider", "openai"), ("openai_url", &url), ("openai_model", "m")])).await;
    assert_eq!((status, models.asked().len()), (200, 2), "{body:#}");
    assert!(began.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn several_keys_are_used_in_turn_and_a_wrong_one_is_left_alone() {
    let models = ModelServer::start();
    models.says([openai_error(401, "invalid_request_error", "invalid_api_key")]);
    let url = format!("{}/v1", models.url);
    let settings = [("provider", "openai"), ("openai_url", &*url), ("openai_model", "m"), ("openai_key", "one,two*2")];
    let gateway = gateway(&settings);
    for _ in 0..8 {
        assert_eq!(ask(&gateway).await.0, 200);
    }
    let asked = models.asked();
    let wrong = asked[0].header("authorization").unwrap();
    let with_it = asked.iter().filter(|asked| asked.header("authorization") == Some(wrong)).count();
    assert_eq!((asked.len(), with_it), (9, 1));
}

// === Nobody waits any more ===

#[tokio::test]
async fn a_caller_that_leaves_takes_its_call_with_it() {
    let models = ModelServer::start();
    models.says([Says::Nothing]);
    let url = format!("{}/v1", models.url);
    let gateway = gateway(&[("provider", "openai"), ("openai_url", &url), ("openai_model", "m")]);
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let body = json!({"system_prompt": "", "user_prompt": "why?"});
    let answer = impatient.post(format!("{}/generate", gateway.url)).json(&body).send().await;
    assert!(answer.unwrap_err().is_timeout());
    models.until_left(1).await;
}

// === Settings ===

#[test]
fn a_provider_that_is_not_set_up_is_told_before_anything_starts() {
    let said = |args: &[&str], settings: &[(&str, &str)]| {
        let output = command(args, settings).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let serve = ["serve", "--store", "memory:"];
    let words = said(&[&serve[..], &["--provider", "gemini"]].concat(), &[]);
    assert!(words.contains("gemini needs a key: set CALLBOARD_GEMINI_KEY or GEMINI_API_KEY"), "{words}");
    let words = said(&[&serve[..], &["--provider", "openai"]].concat(), &[("openai_key", KEY)]);
    assert!(words.contains("openai needs a model") && !words.contains(KEY), "{words}");
    let words = said(&serve, &[("gemini_key", "env:NOBODY_SET_THIS")]);
    assert!(words.contains("the environment has no variable NOBODY_SET_THIS"), "{words}");
    let words = said(&serve, &[("openai_url", "https://me:secret@models.internal/v1")]);
    assert!(words.contains("a key does not belong into a URL") && !words.contains("me:secret"), "{words}");
}
