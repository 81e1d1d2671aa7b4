//! `callboard check` finds what would keep a server from starting, says what to do, shows no secret and leaves nothing
//! behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::{Server, callboard};

fn check(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = callboard(&["check"]);
    let output = command.args(args).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_well_is_said_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("tasks.db").display());
    let keys = [("CALLBOARD_API_KEYS", "s3cret=acme")];
    let (code, out, words) = check(&["--store", &store, "--listen", "127.0.0.1:0", "--json"], &keys);
    assert_eq!(code, Some(0), "{words}");
    assert!(!out.contains("s3cret"), "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["ok"], true);
    let setting = |name: &str| told["settings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    assert_eq!((&setting("store")["from"], &setting("api_keys")["value"]), (&"command line".into(), &"***".into()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn colleagues_elsewhere_are_looked_for() {
    let there = Server::start(&["--store", "memory:"]);
    let worker = ["--role", "worker", "--listen", "127.0.0.1:0", "--gateway-url", &there.url];
    let secret = there.url.replace("http://", "http://worker:s3cret@");
    let (code, out, words) = check(&[&worker[..], &["--master-url", &secret]].concat(), &[]);
    assert_eq!(code, Some(0), "{out}{words}");
    assert!(out.contains(&format!("lives at {}", there.url)) && !out.contains("s3cret"), "{out}");
    let (code, out, _) = check(&[&worker[..], &["--master-url", "http://127.0.0.1:9"]].concat(), &[]);
    assert!(code == Some(69) && out.contains("nobody answers at http://127.0.0.1:9"), "{out}");
}

#[test]
fn each_fault_is_told_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("tasks.db").display());
    let server = Server::start(&["--store", &store]);
    let address = server.url.strip_prefix("http://").unwrap();
    let (code, out, _) = check(&["--store", &store, "--listen", address], &[]);
    assert_eq!(code, Some(69), "{out}");
    let fault = |out: &str, name: &str| out.lines().any(|line| line.starts_with("FAULT") && line.contains(name));
    assert!(fault(&out, "store") && fault(&out, "listen") && out.contains("--listen"), "{out}");

    let nowhere = format!("sqlite:{}", folder.path().join("no/such/tasks.db").display());
    let (code, out, _) = check(&["--store", &nowhere, "--docs", "/no/such/folder", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(code, Some(69), "{out}");
    assert!(fault(&out, "store") && fault(&out, "team") && out.contains("make its folder"), "{out}");

    let (code, out, _) = check(&["--slots", "0"], &[("CALLBOARD_SLOTZ", "1")]);
    assert_eq!((code, out.lines().count()), (Some(64), 2), "{out}");
    assert!(out.contains("did you mean CALLBOARD_SLOTS?"), "{out}");
}
