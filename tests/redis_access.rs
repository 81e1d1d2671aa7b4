//! Who cannot get into Redis is told why and what to do, at once, with the exit code for what cannot be had and without the
//! secret; and whoever has just the rights that docs/operations.md lists gets everything done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use std::path::Path;
use support::redis::{Certificate, Redis, Wanted};
use support::{Server, callboard, clean};

/// What every password here begins with.
const SECRET: &str = "s3cret";

/// What `serve` and `check` say of a store that they cannot have. Neither waits: trying again would change nothing.
fn refusal(store: &str, ca: Option<&str>) -> String {
    refusal_with("redis_start_wait = \"1h\"", store, ca)
}

/// The same with these settings.
fn refusal_with(settings: &str, store: &str, ca: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callboard.toml");
    let ca = ca.map_or_else(String::new, |ca| format!("redis_ca = \"{ca}\"\n"));
    std::fs::write(&config, format!("{settings}\n{ca}")).unwrap();
    let args = ["--listen", "127.0.0.1:0", "--store", store, "--config", config.to_str().unwrap()];
    let said = |command: &str| {
        // One that waits after all is ended, with a code of its own.
        let mut command_line = clean("timeout");
        command_line.args(["60", env!("CARGO_BIN_EXE_callboard"), command]).args(args);
        let output = command_line.output().unwrap();
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(69), "{command}: {words}");
        assert!(!words.contains(SECRET), "{command}: {words}");
        words
    };
    let checked = said("check");
    let store = checked.lines().find(|line| line.starts_with("FAULT  store")).unwrap_or_else(|| panic!("{checked}"));
    let served = said("serve");
    let error = served.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("{served}"));
    assert!(store.ends_with(error), "{store}\n{error}");
    error.to_owned()
}

#[track_caller]
fn is_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

#[test]
fn passwords() {
    let redis = Wanted::default().password("s3cret-right").start();
    is_told(&refusal(&redis.url(), None), &["redis://127.0.0.1", "wants a password: set CALLBOARD_REDIS_PASSWORD"]);
    let wrong = "does not let this user in with this password";
    is_told(&refusal(&redis.url_of(":s3cret-wrong@"), None), &[wrong, "CALLBOARD_REDIS_PASSWORD"]);
    is_told(&refusal(&redis.url_of("ann:s3cret-right@"), None), &[wrong]);
}

#[test]
fn rights() {
    let other_keys = Wanted::default().user("ann", "s3cret", "~other:* &* +@all").start();
    is_told(
        &refusal(&other_keys.url_of("ann:s3cret@"), None),
        &["says that this user may not do what is needed", "ACL"],
    );
    let no_scripts = Wanted::default().user("ann", "s3cret", "~* &* +@all -@scripting").start();
    is_told(
        &refusal(&no_scripts.url_of("ann:s3cret@"), None),
        &["says that this user may not do what is needed", "ACL"],
    );
}

#[test]
fn certificates() {
    for (certificate, what) in [
        (Certificate::Expired, "shows a certificate that has expired"),
        (Certificate::Untrusted, "by an authority that is not trusted"),
        (Certificate::OtherHost, "that was made for another host"),
    ] {
        let redis = Wanted::default().tls(certificate).password("s3cret").start();
        let told = refusal(&redis.url_of(":s3cret@"), Some(&redis.ca()));
        is_told(&told, &["rediss://127.0.0.1", "certificate", what]);
    }
    let redis = Wanted::default().tls(Certificate::Good).start();
    is_told(&refusal(&redis.url(), None), &["certificate", "redis_ca"]);
    is_told(&refusal(&redis.url(), Some("/nowhere/ca.crt")), &["/nowhere/ca.crt"]);
}

#[test]
fn servers_that_cannot_be_the_store() {
    let cluster = Wanted::default().line("cluster-enabled yes").start();
    is_told(&refusal(&cluster.url(), None), &["is in cluster mode"]);
    let redis = Redis::start();
    is_told(&refusal(&format!("{}/20", redis.url()), None), &["has no such database"]);
}

#[test]
fn tls_and_no_tls() {
    // What these do is also what a server in trouble does.
    let settings = "redis_start_wait = \"0s\"\nredis_timeout = \"200ms\"";
    let redis = Redis::start();
    is_told(&refusal_with(settings, &format!("rediss://127.0.0.1:{}", redis.port()), None), &["TLS", "redis://"]);
    let redis = Wanted::default().tls(Certificate::Good).start();
    is_told(&refusal_with(settings, &format!("redis://127.0.0.1:{}", redis.port()), None), &["TLS", "rediss://"]);
}

/// The rules of the page's user, without its name and password.
fn documented_rules() -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let rules = page.split("ACL SETUSER callboard on >PASSWORD\n").nth(1).expect("the page has no rules");
    rules.split("```").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_page_over_tls() {
    let redis = Wanted::default().tls(Certificate::Good).user("callboard", "s3cret", &documented_rules()).start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callboard.toml");
    std::fs::write(&config, format!("redis_ca = \"{}\"\nredis_password = \"s3cret\"\n", redis.ca())).unwrap();
    let (store, config) = (redis.url_of("callboard@"), config.to_str().unwrap());
    let server = Server::start(&["--store", &store, "--config", config, "--provider", "mock"]);
    for id in ["kept", "gone"] {
        let (status, ended) = server.post("/task?wait=60", &json!({"task_id": id, "objective": "why?"})).await;
        assert_eq!((status, ended["status"].as_str()), (200, Some("succeeded")), "{ended}");
    }
    assert_eq!(server.get("/ready").await.0, 200);
    assert_eq!(server.get("/tasks").await.1["tasks"].as_array().unwrap().len(), 2);
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    // What only operators do.
    let said = |args: &[&str]| {
        let output = callboard(&[args, &["--store", &store, "--config", config]].concat()).output().unwrap();
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words}");
        words
    };
    is_told(&said(&["gc", "--keep", "1"]), &["1"]);
    is_told(&said(&["export"]), &["gone", "exported 1 tasks"]);
    is_told(&said(&["check", "--listen", "127.0.0.1:0"]), &["can be written"]);
    assert!(!redis.log().contains("NOPERM"), "{}", redis.log());
}
