//! What goes to a terminal, and what does not: colours only where somebody sees them and has not said no (`NO_COLOR`),
//! moving lines only where lines can move, and nothing of either in a file or a pipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::process::{Command, Stdio};
use support::{Server, callboard, clean};

const ESCAPE: char = '\u{1b}';

/// What a command line prints on a terminal of its own, by `script`, which every Debian has.
fn on_a_terminal(line: &str, variables: &[(&str, &str)]) -> String {
    let mut command = clean("script");
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_callboard"));
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether anything in it sets a colour or a weight: an escape that ends in `m`.
fn is_coloured(text: &str) -> bool {
    let sequences = text.split(ESCAPE).skip(1).filter_map(|rest| rest.strip_prefix('['));
    sequences
        .filter_map(|rest| rest.find(|c: char| c.is_ascii_alphabetic()).map(|at| &rest[at..]))
        .any(|end| end.starts_with('m'))
}

const LOGS: &str = "run why? --provider mock --log info";
const STEPS: &str = "demo why? --provider mock";
const WRONG: &str = "serv";

#[test]
fn colours_are_for_those_who_want_them() {
    for line in [LOGS, WRONG, "--help"] {
        let (with, without) = (on_a_terminal(line, &[]), on_a_terminal(line, &[("NO_COLOR", "1")]));
        assert!(is_coloured(&with), "{line}: {with:?}");
        assert!(!without.is_empty() && !is_coloured(&without), "{line}: {without:?}");
        let empty = on_a_terminal(line, &[("NO_COLOR", "")]);
        assert!(is_coloured(&empty), "empty means nothing was said: {line}: {empty:?}");
    }
    let steps = on_a_terminal(STEPS, &[("NO_COLOR", "1")]);
    assert!(steps.contains("agent-analyze") && !is_coloured(&steps), "{steps:?}");
}

#[test]
fn lines_move_only_where_they_can() {
    assert!(on_a_terminal(STEPS, &[]).contains(ESCAPE));
    let dumb = on_a_terminal(STEPS, &[("TERM", "dumb")]);
    assert!(dumb.contains("agent-finalize, attempt 1") && !dumb.contains(ESCAPE), "{dumb:?}");
}

fn piped(mut command: Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn nothing_of_it_goes_into_a_pipe() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    server.post("/task?wait=60", &serde_json::json!({"task_id": "first", "objective": "why?"})).await;
    let url = server.url.clone();
    let told = tokio::task::spawn_blocking(move || {
        for line in
            [LOGS, STEPS, WRONG, "--help", "check --listen 127.0.0.1:0 --store memory:", "team show", "bench --help"]
        {
            let said = piped(callboard(&line.split(' ').collect::<Vec<_>>()));
            assert!(!said.is_empty() && !said.contains(ESCAPE), "{line}: {said:?}");
        }
        for line in ["tasks", "show first", "events first", "agents", "tree", "team show", "cancel first"] {
            let args: Vec<_> = line.split(' ').chain(["--server", &url]).collect();
            let said = piped(callboard(&args));
            assert!(!said.is_empty() && !said.contains(ESCAPE), "{line}: {said:?}");
        }
    });
    told.await.unwrap();
}

#[test]
fn a_misspelled_word_is_answered_with_the_nearest() {
    for (line, nearest) in [
        ("serv", "'serve'"),
        ("task", "'tasks'"),
        ("serve --lisen 127.0.0.1:0", "'--listen'"),
        ("run why? --dcos notes", "'--docs'"),
        ("team chek", "'check'"),
        ("completions fsh", "'fish'"),
        ("run why? --priority hihg", "'high'"),
    ] {
        let output = callboard(&line.split(' ').collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains("similar") && said.contains(nearest), "{line}: {said}");
    }
}

#[test]
fn every_commands_help_says_what_it_does_and_what_it_takes() {
    let whole = piped(callboard(&["--help"]));
    let commands = whole.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        let help = piped(callboard(&[name, "--help"]));
        assert!(help.contains("Usage: callboard"), "{name}: {help}");
        let silent =
            help.lines().filter(|line| line.trim_start().starts_with("--") && line.trim().split("  ").count() < 2);
        // A long help has what a flag means below it.
        let is_long = help.contains("(see a summary with '-h')");
        assert!(is_long || silent.clone().next().is_none(), "{name}: {:?}", silent.collect::<Vec<_>>());
        assert!(help.lines().all(|line| line.chars().count() <= 130), "{name}: {help}");
    }
}
