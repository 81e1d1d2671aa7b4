//! What docs/troubleshooting.md quotes is what the program says: every message there is provoked here and read, and none is
//! forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{PATIENCE, Server, callboard, clean};
use tempfile::TempDir;

/// These are provoked by a file of their own.
const ELSEWHERE: [(&str, &str); 14] = [
    ("stuck in one turn", include_str!("escalation.rs")),
    ("over the same stone", include_str!("escalation.rs")),
    ("refuses connections: start Redis there", include_str!("redis_trouble.rs")),
    ("it stands still, or the way there does", include_str!("redis_trouble.rs")),
    ("is still reading its data", include_str!("redis_trouble.rs")),
    ("is a replica and takes no writes", include_str!("redis_trouble.rs")),
    ("has no memory left and takes no writes", include_str!("redis_trouble.rs")),
    ("wants a password: set CALLBOARD_REDIS_PASSWORD", include_str!("redis_access.rs")),
    ("does not let this user in with this password", include_str!("redis_access.rs")),
    ("says that this user may not do what is needed", include_str!("redis_access.rs")),
    ("shows a certificate that has expired", include_str!("redis_access.rs")),
    ("by an authority that is not trusted", include_str!("redis_access.rs")),
    ("that was made for another host", include_str!("redis_access.rs")),
    ("is in cluster mode", include_str!("redis_access.rs")),
];

/// The message of each row: what stands first between backticks.
fn quoted() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md")).unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.filter_map(|cell| cell.split('`').nth(1)).map(str::to_owned).collect()
}

/// That the page quotes this, and the program says it; `…` is anything.
fn is_said(quote: &str, words: &str) {
    assert!(quoted().iter().any(|other| other == quote), "the page does not quote {quote}");
    let mut rest = words;
    for part in quote.split('…') {
        let at = rest.find(part).unwrap_or_else(|| panic!("{quote} is not in: {words}"));
        rest = &rest[at + part.len()..];
    }
}

/// Everything that a command says.
fn words(mut command: Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The same, from inside a runtime that also serves.
async fn words_beside(server: &Server, args: &[&str]) -> String {
    let mut command = callboard(args);
    command.args(["--server", &server.url]);
    tokio::task::spawn_blocking(move || words(command)).await.unwrap()
}

fn said_by(args: &[&str]) -> String {
    words(callboard(args))
}

fn with(name: &str, value: &str, args: &[&str]) -> String {
    let mut command = callboard(args);
    command.env(name, value);
    words(command)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// A file of settings.
fn settings(folder: &TempDir, text: &str) -> String {
    fs::write(folder.path().join("callboard.toml"), text).unwrap();
    path(folder, "callboard.toml")
}

#[test]
fn every_message_of_the_page_is_provoked() {
    let here = include_str!("troubleshooting.rs");
    let all = quoted();
    for quote in &all {
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| other == quote);
        let provoked =
            elsewhere.map_or_else(|| here.contains(&format!("r#\"{quote}\"#")), |(_, text)| text.contains(quote));
        assert!(provoked, "nobody provokes {quote}");
    }
    assert!(all.len() >= 40, "{all:?}");
}

#[test]
fn settings_that_cannot_be_used() {
    let mut nowhere = clean("bash");
    nowhere.args(["-c", "PATH=/nowhere; callboard demo"]);
    is_said(r#"callboard: command not found"#, &words(nowhere));
    is_said(r#"there is no setting "…": did you mean …?"#, &with("CALLBOARD_SLOTZ", "1", &["serve"]));
    is_said(r#"can be reached from other machines"#, &said_by(&["serve", "--listen", "0.0.0.0:0"]));
    is_said(r#"names no store: use"#, &said_by(&["serve", "--store", "./callboard.db"]));
    is_said(
        r#"there is no provider "…"; use one of extractive, gemini, openai, mock"#,
        &said_by(&["run", "why?", "--provider", "claude"]),
    );
    is_said(r#"gemini needs a key: set"#, &said_by(&["run", "why?", "--provider", "gemini"]));
    is_said(r#"openai needs a model: set"#, &said_by(&["run", "why?", "--provider", "openai"]));
    is_said(
        r#"in this URL of Redis: write redis://[user[:password]@]host[:port][/database]"#,
        &said_by(&["serve", "--store", "redis://cache:port"]),
    );
    is_said(r#"is no filter"#, &said_by(&["serve", "--log", "a=b=c"]));
    is_said(r#"the documents' folder … does not exist"#, &said_by(&["run", "why?", "--docs", "/nowhere"]));
    let empty = folder();
    is_said(r#"no documents in …"#, &said_by(&["run", "why?", "--docs", &path(&empty, "")]));
}

#[tokio::test]
async fn what_somebody_else_has() {
    let folder = folder();
    let store = format!("sqlite:{}", path(&folder, "callboard.db"));
    let server = Server::start(&["--store", &store]);
    let address = server.url.strip_prefix("http://").unwrap();
    is_said(
        r#"is in use by process …, and a SQLite file serves one process at a time"#,
        &said_by(&["serve", "--listen", "127.0.0.1:0", "--store", &store]),
    );
    let taken = said_by(&["serve", "--listen", address, "--store", "memory:"]);
    is_said(r#"cannot listen on … (Address already in use"#, &taken);
    assert_eq!(taken.matches("cannot listen").count(), 1, "{taken}");
    let _ = server;
}

#[test]
fn stores_and_exports_that_cannot_be_used() {
    let folder = folder();
    let serve = |store: &str| said_by(&["serve", "--listen", "127.0.0.1:0", "--store", &format!("sqlite:{store}")]);
    is_said(r#"the folder … does not exist: create it"#, &serve("/nowhere/callboard.db"));
    fs::write(path(&folder, "letter.db"), "Dear Sir or Madam, ".repeat(100)).unwrap();
    is_said(r#"is not a database"#, &serve(&path(&folder, "letter.db")));
    let store = format!("sqlite:{}", path(&folder, "callboard.db"));
    is_said(r#"there is no store sqlite:…"#, &said_by(&["export", "--store", &store]));

    said_by(&["run", "why?", "--provider", "mock", "--store", &store]);
    let export = String::from_utf8(callboard(&["export", "--store", &store]).output().unwrap().stdout).unwrap();
    let import = |text: &str| {
        fs::write(path(&folder, "tasks.jsonl"), text).unwrap();
        said_by(&["import", &path(&folder, "tasks.jsonl"), "--store", &format!("sqlite:{}", path(&folder, "other.db"))])
    };
    is_said(r#"its events do not give its state"#, &import(&export.replacen("why?", "when?", 1)));
    let cut = export.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    is_said(r#"the file ends before its last line"#, &import(&cut));
}

#[test]
fn teams_that_cannot_be_used() {
    let folder = folder();
    let team = path(&folder, "team.toml");
    said_by(&["team", "init", &path(&folder, "")]);
    let good = fs::read_to_string(&team).unwrap();
    fs::write(&team, format!("{good}\n[[stages]]\ncapability = \"translate\"\n")).unwrap();
    is_said(r#"no agent can do it: give an agent that capability"#, &said_by(&["team", "check", &team]));
    fs::write(&team, good).unwrap();
    fs::write(path(&folder, "prompts/question.user.j2"), "{{ objectve }}").unwrap();
    is_said(r#"there is no "…" to show; a prompt sees"#, &said_by(&["team", "check", &team]));
}

#[tokio::test]
async fn clients_that_are_refused() {
    is_said(r#"cannot be reached: Connection refused"#, &said_by(&["tasks", "--server", "http://127.0.0.1:9"]));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", other.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut client, _) = other.accept().unwrap();
        let _ = client.read(&mut [0; 4096]);
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nHello").unwrap();
    });
    is_said(r#"answers, but not as callboard does"#, &said_by(&["tasks", "--server", &url]));
    answering.join().unwrap();

    let folder = folder();
    let closed = Server::start(&["--store", "memory:", "--config", &settings(&folder, "api_keys = \"s3cret=acme\"")]);
    is_said(r#"wants an API key"#, &words_beside(&closed, &["tasks"]).await);
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    is_said(r#"there is no task …: check the id"#, &words_beside(&server, &["show", "nobody"]).await);
    server.post("/task?wait=60", &json!({"task_id": "done", "objective": "why?"})).await;
    is_said(r#"the task has already succeeded"#, &words_beside(&server, &["cancel", "done"]).await);
}

#[tokio::test]
async fn calls_that_are_refused() {
    let folder = folder();
    let few = settings(&folder, "max_open_tasks = 1\nmax_watchers = 1\nmax_body_bytes = 1024\ndrain_grace = \"10m\"");
    let server = Server::start(&["--store", "memory:", "--provider", "mock", "--mock-latency", "4m", "--config", &few]);
    let (url, client) = (server.url.clone(), server.client.clone());
    let post =
        async |body: String| client.post(format!("{url}/task")).body(body).send().await.unwrap().text().await.unwrap();
    is_said(r#"the body is not JSON"#, &post("{objective: why?}".into()).await);
    is_said(r#"the body has the wrong form"#, &post("{}".into()).await);
    is_said(r#"the body is larger than"#, &post(json!({"objective": "x".repeat(2000)}).to_string()).await);
    let (_, wrong) = server.get("/tasks?statu=failed").await;
    is_said(r#"there is no parameter "…""#, wrong["message"].as_str().unwrap());

    let first = client.post(format!("{url}/task?wait=0.01")).body(r#"{"task_id": "first", "objective": "why?"}"#);
    is_said(r#""status":"running""#, &first.send().await.unwrap().text().await.unwrap());
    is_said(
        r#"was already used for a different submission"#,
        &post(r#"{"task_id": "first", "objective": "when?"}"#.into()).await,
    );
    is_said(r#"as many tasks are open as may be"#, &post(r#"{"objective": "why?"}"#.into()).await);
    let follow = || client.get(format!("{url}/task/first/events")).send();
    let one = follow().await.unwrap();
    is_said(r#"too many clients wait for tasks just now"#, &follow().await.unwrap().text().await.unwrap());
    drop(one);
    server.signal("-TERM");
    server.until("/ready", |status, _| status == 503).await;
    is_said(r#"this process is shutting down"#, &post(r#"{"objective": "why?"}"#.into()).await);
}

#[tokio::test]
async fn a_store_in_trouble() {
    let folder = folder();
    let store = format!("sqlite:{}", path(&folder, "callboard.db"));
    let server = Server::start_ignoring("XFSZ", &["--store", &store]);
    let full = Command::new("prlimit").args(["--pid", &server.id().to_string(), "--fsize=0:"]).status();
    assert!(full.unwrap().success());
    let (_, refused) = server.post("/task", &json!({"objective": "why?"})).await;
    is_said(r#"the store cannot be reached just now, and nothing was lost"#, refused["message"].as_str().unwrap());
}

#[test]
fn answers_that_disappoint() {
    let folder = folder();
    fs::write(path(&folder, "harbour.md"), "The harbour floods when the moon is full.\n").unwrap();
    fs::write(path(&folder, "broken.pdf"), "%PDF-1.4 and nothing more").unwrap();
    let said = said_by(&["run", "Who wrote Hamlet?", "--docs", &path(&folder, "")]);
    is_said(r#"Not found in the documents"#, &said);
    is_said(r#"some documents are not searched"#, &said);
}

#[test]
fn tasks_that_fail() {
    let mock = |script: &str, more: &[&str]| {
        said_by(&[&["run", "why?", "--provider", "mock", "--mock-script", script], more].concat())
    };
    is_said(r#"times and is given up as poison"#, &mock("analyze:panic", &[]));
    is_said(r#"the task was not done within"#, &mock("analyze:hang", &["--deadline", "300ms"]));
    is_said(r#"skipped:"#, &mock("finalize:fatal", &[]));
    let folder = folder();
    let hasty = settings(&folder, "step_timeout = \"1s\"\nmax_attempts = 1");
    is_said(r#"did not answer within the time left"#, &mock("analyze:hang", &["--config", &hasty]));
}

#[tokio::test]
async fn a_step_whose_process_was_killed() {
    let folder = folder();
    let store = format!("sqlite:{}", path(&folder, "callboard.db"));
    let server = Server::start(&["--store", &store, "--provider", "mock", "--mock-latency", "4m"]);
    server.post("/task", &json!({"task_id": "unlucky", "objective": "why?"})).await;
    server.kill();
    let server = Server::start(&["--store", &store, "--provider", "mock"]);
    server.until("/task/unlucky/result", |status, _| status == 200).await;
    is_said(r#"a lease that nobody renewed"#, &words_beside(&server, &["show", "unlucky"]).await);
}

/// A server whose team loses its analyst while a task waits for it, and what its log says in the meantime.
async fn bereaved(no_agent_timeout: &str) -> (Server, TempDir) {
    let folder = folder();
    let team = path(&folder, "team.toml");
    let two = "[[stages]]\ncapability = \"think\"\n[[stages]]\ncapability = \"write\"\n\
               [[agents]]\nid = \"thinker\"\ncapabilities = [\"think\"]\nslots = 1\n";
    fs::write(&team, format!("{two}[[agents]]\nid = \"writer\"\ncapabilities = [\"write\"]\n")).unwrap();
    let config = settings(&folder, &format!("no_agent_timeout = \"{no_agent_timeout}\""));
    let slow = ["--provider", "mock", "--mock-script", "think:latency=2s", "--config", &config];
    let args = [&["--store", "memory:", "--team", &team], &slow[..]].concat();
    let server = Server::start_logging(&args, path(&folder, "log").as_ref());
    server.post("/task", &json!({"task_id": "left", "objective": "why?"})).await;
    fs::write(&team, two).unwrap();
    server.signal("-HUP");
    let until = Instant::now() + PATIENCE;
    while !fs::read_to_string(path(&folder, "log")).unwrap().contains("stays as it was") {
        assert!(Instant::now() < until, "it does not read its team again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(&team, two.replace("[[stages]]\ncapability = \"write\"\n", "")).unwrap();
    server.signal("-HUP");
    (server, folder)
}

#[tokio::test]
async fn a_team_that_is_read_again_without_somebody() {
    let (server, folder) = bereaved("5m").await;
    let log = fs::read_to_string(path(&folder, "log")).unwrap();
    is_said(r#"the team stays as it was, because its file cannot be used"#, &log);
    let task = server.until("/task/left", |_, task| task["status"] == "waiting_for_agent").await;
    is_said(r#"waiting_for_agent"#, &task.to_string());

    let (server, _folder) = bereaved("1s").await;
    server.until("/task/left/result", |status, _| status == 200).await;
    is_said(r#"no agent that can … appeared within"#, &words_beside(&server, &["show", "left"]).await);
}
