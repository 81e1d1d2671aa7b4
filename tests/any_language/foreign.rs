//! Workers under a master that knows only the predecessor's part of the contract: ours, and the one in plain Python. It
//! calls them synchronously or is called back, and knows neither heartbeats nor attempts nor leaving. And such a worker
//! under our master.

use crate::Company;
use crate::program::{Program, python};
use crate::support::redis::{Redis, Reply};
use crate::support::{PATIENCE, callboard};
use serde_json::{Value, json};
use std::time::Instant;

const STAGES: [&str; 4] = ["analyze", "retrieve", "evaluate", "finalize"];

/// Such a master.
struct Foreign(Program);

impl Foreign {
    fn start(reply_mode: &str) -> Self {
        let mut command = python("tests/support/foreign_master.py", &[]);
        command.arg(reply_mode);
        Self(Program::start(command))
    }

    /// Waits for a request to this path that was answered with this status; its body.
    fn seen(&self, path: &str, status: u16) -> Value {
        let request = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let is_so = |line: &str| request(line)["path"] == path && request(line)["status"] == status;
        request(&self.0.printed(is_so))["body"].clone()
    }

    /// Waits until somebody can do each stage.
    fn is_staffed(&self) {
        for stage in STAGES {
            let can = |line: &str| line.contains("\"/register\"") && line.contains("202") && line.contains(stage);
            self.0.printed(can);
        }
    }

    /// Runs a task as the predecessor's clients do.
    async fn run(&self, task: &str) -> Value {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let body = json!({"task_id": task, "objective": "How is work kept?", "context": {"locale": "en"}});
        let response = client.post(format!("{}/task", self.0.url)).json(&body).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(status, 202, "{text}\n{}", self.0.everything());
        serde_json::from_str(&text).unwrap()
    }

    /// Runs a task, and looks at all that it is answered with.
    async fn runs_well(&self, task: &str) {
        let answer = self.run(task).await;
        let stages = answer["stages"].as_array().unwrap();
        assert_eq!(stages.len(), STAGES.len(), "{answer:#}");
        for (nth, (stage, name)) in stages.iter().zip(STAGES).enumerate() {
            assert_eq!((&stage["stage"], &stage["status"]), (&json!(name), &json!("succeeded")), "{answer:#}");
            assert_eq!(stage["sub_id"], format!("{task}-P{}", nth + 1));
            for key in ["profile", "provider", "text", "raw_response", "metadata", "input", "context"] {
                assert!(!stage["output"][key].is_null(), "{key} is missing: {stage}");
            }
            assert_eq!(stage["output"]["metadata"]["command"], name);
        }
        assert_eq!(answer["final_output"], stages[3]["output"]);
    }
}

/// Our worker with the default team's four agents, thinking with a mock in the same process.
fn ours(master: &Foreign, environment: &[(&str, &str)]) -> Program {
    let mut command =
        callboard(&["serve", "--role", "worker,gateway", "--listen", "127.0.0.1:0", "--provider", "mock"]);
    command.env("MASTER_URL", &master.0.url).envs(environment.iter().copied());
    Program::start(command)
}

#[tokio::test]
async fn our_worker_answers_a_foreign_master_on_the_spot() {
    let master = Foreign::start("sync");
    let mut worker = ours(&master, &[("CALLBOARD_HEARTBEAT_TTL", "3s")]);
    master.is_staffed();
    master.runs_well("on-the-spot").await;
    // It says that it is alive, is not understood, and works on.
    master.seen("/heartbeat", 404);
    master.runs_well("and-again").await;
    worker.signal("-TERM");
    assert_eq!(worker.ended().code(), Some(0), "{}", worker.everything());
}

#[tokio::test]
async fn our_worker_calls_a_foreign_master_back() {
    let master = Foreign::start("async");
    let _worker = ours(&master, &[]);
    master.is_staffed();
    master.runs_well("called-back").await;
    let result = master.seen("/result", 202);
    assert_eq!((&result["task_id"], &result["status"]), (&json!("called-back"), &json!("succeeded")));
}

#[tokio::test]
async fn our_worker_tells_a_foreign_master_how_a_step_failed() {
    let ways = [("sync", "fatal", "fatal_failure"), ("async", "error", "retryable_failure")];
    for (reply_mode, fault, status) in ways {
        let master = Foreign::start(reply_mode);
        let script = format!("retrieve:{fault}@1");
        let _worker = ours(&master, &[("CALLBOARD_MOCK_SCRIPT", &script)]);
        master.is_staffed();
        let answer = master.run("failing").await;
        let stages = answer["stages"].as_array().unwrap();
        assert_eq!((stages.len(), &stages[0]["status"]), (2, &json!("succeeded")), "{answer:#}");
        assert_eq!(stages[1]["status"], status, "{answer:#}");
        assert!(stages[1]["error"]["message"].as_str().unwrap().contains("mock"), "{answer:#}");
        assert_eq!(answer["final_output"], Value::Null);
    }
}

#[tokio::test]
async fn our_worker_shows_a_foreign_master_by_a_key_that_it_lives() {
    let redis = Redis::start();
    let master = Foreign::start("sync");
    let all = json!(STAGES).to_string();
    let port = redis.port().to_string();
    let environment = [
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &*port),
        ("AGENT_ID", "shown"),
        ("CAPABILITIES", &*all),
        ("CALLBOARD_HEARTBEAT_TTL", "3s"),
    ];
    let worker = ours(&master, &environment);
    master.is_staffed();
    let key = || redis.command(&["GET", "heartbeat:shown"]);
    let shown = || {
        let until = Instant::now() + PATIENCE;
        while key() == Reply::Nil {
            assert!(Instant::now() < until, "there is no key: {}", worker.everything());
            std::thread::yield_now();
        }
        serde_json::from_str::<Value>(&key().text()).unwrap()
    };
    assert_eq!(shown(), json!({"agent_id": "shown", "load": 0.0, "active_tasks": []}));
    let left = redis.command(&["TTL", "heartbeat:shown"]).number();
    assert!((1..=30).contains(&left), "{left}");
    // Each heartbeat writes it, not only the first word.
    redis.command(&["DEL", "heartbeat:shown"]);
    shown();
    master.runs_well("shown-to").await;
}

#[tokio::test]
async fn the_worker_in_python_serves_a_foreign_master_in_both_ways() {
    let all = json!(STAGES).to_string();
    for reply_mode in ["sync", "async"] {
        let master = Foreign::start(reply_mode);
        let environment = [
            ("AGENT_ID", "py-all"),
            ("CAPABILITIES", &*all),
            ("MASTER_URL", &*master.0.url),
            ("HEARTBEAT_SECONDS", "0.2"),
        ];
        let mut worker = Program::start(python("examples/python_worker.py", &environment));
        master.is_staffed();
        master.runs_well("in-python").await;
        master.seen("/heartbeat", 404);
        master.runs_well("and-again").await;
        worker.signal("-TERM");
        master.seen("/register/py-all", 404);
        assert_eq!(worker.ended().code(), Some(0), "{}", worker.everything());
    }
}

#[tokio::test]
async fn a_foreign_worker_serves_our_master_and_fails_and_is_asked_again() {
    let company = Company::start();
    let environment = [
        ("AGENT_ID", "old-critic"),
        ("CAPABILITIES", "[\"evaluate\"]"),
        ("AG2_PROFILE", "critic"),
        ("MASTER_URL", &*company.server.url),
        ("FAILURES", "1"),
    ];
    let worker = Program::start(python("tests/support/foreign_worker.py", &environment));
    worker.printed(|line| line == r#"{"joined": [202, {"status": "accepted"}]}"#);
    let body = json!({"task_id": "old", "objective": "Is it as it was?", "context": {"locale": "en"}});
    let (status, answer) = company.server.post("/task?wait=60", &body).await;
    assert_eq!((status, &answer["status"]), (200, &json!("succeeded")), "{answer:#}\n{}", worker.everything());
    let evaluated = &answer["stages"][2];
    let output = &evaluated["output"];
    assert_eq!((&evaluated["agent_id"], &output["text"]), (&json!("old-critic"), &json!("old-critic did evaluate.")));
    assert_eq!((&output["input"], &output["context"]["refs"][0]), (&json!({"refs": ["old-P2"]}), &json!("old-P1")));
    let step = company.evaluation("old", |_| true).await;
    assert_eq!((step["failures"].as_u64(), step["attempts"].as_array().unwrap().len()), (Some(1), 2), "{step:#}");
    // What it was sent is what the predecessor's master sends.
    let sent = worker.printed(|line| line.starts_with(r#"{"work""#));
    let sent = &serde_json::from_str::<Value>(&sent).unwrap()["work"];
    assert_eq!((&sent["sub_id"], &sent["command"]), (&json!("old-P3"), &json!("evaluate")));
    assert_eq!((&sent["data"]["objective"], &sent["context"]["locale"]), (&json!("Is it as it was?"), &json!("en")));
    let (previous, stage) = (&sent["data"]["previous_output"]["text"], &sent["context"]["stage_retrieve"]["text"]);
    assert!(previous.is_string() && previous == stage, "{sent:#}");
}
