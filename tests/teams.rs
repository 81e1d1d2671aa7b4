//! A team is a file: own agents, stages, prompts, limits and providers. It is checked with line and remedy, and read again
//! while tasks run without any of them noticing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use callboard::testkit::{Scripted, TestCompany, always, when};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::{Server, callboard};

/// A stage and its agent behind the four of the default team.
const FIFTH: &str = r#"
[[stages]]
capability = "shorten"

[[agents]]
id = "agent-shorten"
capabilities = ["shorten"]
description = "says it in one sentence"
system = "You shorten."
user = '''
Say this in one sentence:
{{ earlier[-1].text | quoted }}
'''
"#;

/// Writes the default team into a folder; its file's path.
fn written(folder: &Path) -> String {
    let output = callboard(&["team", "init", folder.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    folder.join("team.toml").to_str().unwrap().to_owned()
}

fn append(path: &str, text: &str) {
    fs::write(path, fs::read_to_string(path).unwrap() + text).unwrap();
}

/// What a command printed, its exit code, and what it said.
fn run(args: &[&str]) -> (String, Option<i32>, String) {
    let output = callboard(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), output.status.code(), text(output.stderr))
}

// === Agents, prompts, providers ===

#[test]
fn a_fifth_agent_gets_its_own_prompts_and_gives_the_answer() {
    let file = include_str!("../src/team/default.toml").replace("prompts/", "src/agents/prompts/") + FIFTH;
    let model = Scripted::default().line(when("shorten").says("In short: yes.")).line(always().says("Long words."));
    TestCompany::default().team(&file).model(model).run(async |company| {
        let task = company.submit("t-1").await;
        assert_eq!(company.answer(&task).await.text(), "In short: yes.");
        company.log(&task).await.succeeded().sound().step("shorten").done_by("agent-shorten");
        let asked = company.model().asked_to("shorten");
        assert_eq!(&*asked[0].system_prompt(), "You shorten.");
        assert_eq!(&*asked[0].user_prompt(), "Say this in one sentence:\n> Long words.\n");
    });
}

#[test]
fn each_agent_thinks_with_the_provider_that_its_team_names() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    append(&team, &FIFTH.replace("description", "provider = \"mock\"\ndescription"));
    let (answer, code, said) = run(&["run", "What is a lease?", "--team", &team, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let provider =
        |stage: &str| answer["stages"].as_array().unwrap().iter().find(|step| step["stage"] == stage).cloned();
    assert_eq!(answer["final_output"]["provider"], "mock");
    assert_eq!(provider("evaluate").unwrap()["output"]["provider"], "extractive", "{answer:#}");
}

#[test]
fn the_example_team_reviews_its_answers() {
    let file =
        include_str!("../examples/teams/reviewed/team.toml").replace("\"review.", "\"examples/teams/reviewed/review.");
    let model = Scripted::default().line(when("review").says("Reviewed.")).line(always().says("Drafted."));
    TestCompany::default().team(&file).model(model).run(async |company| {
        let task = company.submit("t-1").await;
        assert_eq!(company.answer(&task).await.text(), "Reviewed.");
        let log = company.log(&task).await;
        for stage in ["evaluate", "finalize"] {
            log.step(stage).done_by("agent-writer");
        }
        let asked = company.model().asked_to("review");
        assert!(asked[0].user_prompt().contains("The answer to check:\n> Drafted."), "{}", asked[0].user_prompt());
    });
}

// === Init, check, show ===

#[test]
fn the_written_team_is_the_default_one_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let shown = |args: &[&str]| {
        let mut shown: Value = serde_json::from_str(&run(args).0).unwrap();
        assert!(shown["loaded_at"].take().is_string() && shown["source"].take().is_string());
        shown
    };
    assert_eq!(shown(&["team", "show", &team, "--json"]), shown(&["team", "show", "--json"]));
    fs::write(folder.path().join("prompts/evaluate.system.j2"), "Mine.").unwrap();
    let (_, code, said) = run(&["team", "init", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is there already: choose another folder, or say --force"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("prompts/evaluate.system.j2")).unwrap(), "Mine.");
    let (table, code, _) = run(&["team", "show", &team]);
    assert_eq!(code, Some(0));
    assert!(table.contains("agent-retrieve  retriever  retrieve") && table.contains("finalize  yes"), "{table}");
}

#[test]
fn a_check_tells_every_fault_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let (said, code, _) = run(&["team", "check", &team]);
    assert_eq!(
        (code, said.contains("can be used: 4 agents for the stages analyze, retrieve, ")),
        (Some(0), true),
        "{said}"
    );
    append(&team, "slotz = 3\n");
    fs::write(folder.path().join("prompts/question.user.j2"), "Question:\n{{ objectif }}\n").unwrap();
    let (told, code, said) = run(&["team", "check", &team]);
    assert_eq!(code, Some(64));
    let lines = fs::read_to_string(&team).unwrap().lines().count();
    let wanted = [
        "question.user.j2:2: agent agent-analyze: the user prompt for analyze cannot be used: there is no \"objectif\""
            .to_owned(),
        format!("team.toml:{lines}: agent agent-finalize: there is no key \"slotz\" here: did you mean slots?"),
    ];
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(wanted.iter().all(|wanted| told.contains(wanted)), "{told}");
    assert!(said.contains("2 things in the team are wrong"), "{said}");
    let (report, code, _) = run(&["team", "check", &team, "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["ok"], report["problems"].as_array().unwrap().len()), (Some(64), &json!(false), 2));
    // A server does not start with it.
    let (_, code, said) = run(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--team", &team]);
    assert_eq!((code, said.contains("did you mean slots?")), (Some(64), true), "{said}");
}

#[test]
fn a_missing_file_is_told_with_what_writes_one() {
    let (_, code, said) = run(&["run", "why?", "--team", "no/such/team.toml"]);
    assert_eq!(code, Some(64));
    assert!(said.contains("no/such/team.toml cannot be read") && said.contains("`callboard team init`"), "{said}");
}

// === Reading it again ===

/// A server with this team, whose model takes its time.
fn server(team: &str, latency: &str) -> Server {
    Server::start(&["--store", "memory:", "--provider", "mock", "--mock-latency", latency, "--team", team])
}

fn has_ended(_: u16, task: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&task["status"].as_str().unwrap_or_default())
}

fn stages(task: &Value) -> Vec<&str> {
    task["plan"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap()).collect()
}

/// Submits a task; its id.
async fn submit(server: &Server) -> String {
    let (status, accepted) = server.post("/task", &json!({"objective": "why?"})).await;
    assert_eq!(status, 202, "{accepted}");
    accepted["task_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_task_keeps_its_plan_while_new_ones_get_the_new_stages() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let server = server(&team, "150ms");
    let before = submit(&server).await;
    append(&team, FIFTH);
    server.signal("-HUP");
    server.until("/team", |_, team| team["stages"].as_array().is_some_and(|stages| stages.len() == 5)).await;
    let after = submit(&server).await;
    let old = server.until(&format!("/task/{before}"), has_ended).await;
    assert_eq!(
        (&old["status"], stages(&old)),
        (&json!("succeeded"), vec!["analyze", "retrieve", "evaluate", "finalize"])
    );
    let new = server.until(&format!("/task/{after}"), has_ended).await;
    assert_eq!(new["status"], "succeeded");
    assert_eq!(stages(&new), ["analyze", "retrieve", "evaluate", "finalize", "shorten"]);
    // No attempt was lost to the reload.
    for step in [&old, &new].into_iter().flat_map(|task| task["steps"].as_array().unwrap()) {
        assert_eq!((&step["losses"], &step["failures"], &step["crashes"]), (&json!(0), &json!(0), &json!(0)), "{step}");
    }
}

#[tokio::test]
async fn an_agent_that_leaves_the_team_finishes_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let four = fs::read_to_string(&team).unwrap();
    append(&team, FIFTH);
    let server = server(&team, "400ms");
    let task = submit(&server).await;
    let path = format!("/task/{task}");
    server.until(&path, |_, task| task["steps"][4]["status"] == "running").await;
    fs::write(&team, four).unwrap();
    server.signal("-HUP");
    server.until("/agents", |_, agents| !agents.to_string().contains("agent-shorten")).await;
    let ended = server.until(&path, has_ended).await;
    assert_eq!(ended["status"], "succeeded");
    assert_eq!((&ended["steps"][4]["status"], &ended["steps"][4]["losses"]), (&json!("succeeded"), &json!(0)));
    // With nothing left to do its actor is gone, too.
    server.until("/supervision", |_, tree| !tree.to_string().contains("agent-shorten")).await;
    assert!(server.terminate().success());
}

#[tokio::test]
async fn other_slots_and_prompts_are_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let server = server(&team, "0ms");
    let agent = |agents: &Value| {
        agents["agents"]
            .as_array()
            .unwrap()
            .iter()
            .find(|agent| agent["agent_id"] == "agent-finalize")
            .cloned()
            .unwrap()
    };
    let before = agent(&server.get("/agents").await.1);
    append(&team, "slots = 9\n");
    server.signal("-HUP");
    let after = agent(&server.until("/agents", |_, agents| agent(agents)["slots"] == 9).await);
    assert_eq!(before["slots"], 4);
    assert_eq!(before["incarnation"], after["incarnation"]);
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let team = written(folder.path());
    let server = server(&team, "0ms");
    let (_, before) = server.get("/team").await;
    assert_eq!(before["last_reload"], Value::Null);
    let whole = fs::read_to_string(&team).unwrap();
    fs::write(&team, whole.replace("kind = \"retriever\"", "kind = \"retreiver\"")).unwrap();
    server.signal("-HUP");
    let refused = server.until("/team", |_, team| team["last_reload"]["fault"].is_string()).await;
    assert!(refused["last_reload"]["fault"].as_str().unwrap().contains("did you mean retriever?"), "{refused:#}");
    assert_eq!((&refused["stages"], &refused["agents"]), (&before["stages"], &before["agents"]));
    let url = server.url.clone();
    let (shown, code, _) = run(&["team", "show", "--server", &url]);
    assert!(code == Some(0) && shown.contains("The last reload was refused:"), "{shown}");
    let task = submit(&server).await;
    assert_eq!(server.until(&format!("/task/{task}"), has_ended).await["status"], "succeeded");
    fs::write(&team, whole).unwrap();
    server.signal("-HUP");
    server.until("/team", |_, team| team["last_reload"]["fault"].is_null()).await;
}
