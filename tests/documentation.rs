//! The commands that the documentation shows do what it says: those of docs/operations.md and docs/teams.md are run one after the other, and
//! every `callboard` command shown anywhere is one that can be typed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use support::callboard;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.chain([root.join("README.md"), root.join("ARCHITECTURE.md")])
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

/// The lines of a page's `sh` blocks, comments aside.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language == "sh";
        } else if inside {
            let line = line.split("  #").next().unwrap_or(line).trim();
            commands.push(line.to_owned());
        }
    }
    commands.retain(|line| !line.is_empty() && !line.starts_with('#'));
    commands
}

/// A line's words, quotes taken off, up to a pipe, a redirection or an ampersand.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '|' | '&' | '>') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs a page's commands one after the other in an empty folder; how many.
fn run_in_order(page: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut run = 0;
    for line in commands(&Path::new(env!("CARGO_MANIFEST_DIR")).join(page)) {
        let words = words(&line);
        if words[0] != "callboard" {
            continue;
        }
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = callboard(&args).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        run += 1;
    }
    run
}

#[test]
fn the_commands_of_the_operations_page_work_in_its_order() {
    assert!(run_in_order("docs/operations.md") >= 8);
}

#[test]
fn the_commands_of_the_teams_page_work_in_its_order() {
    assert_eq!(run_in_order("docs/teams.md"), 4);
}

#[test]
fn every_setting_is_described_with_its_default() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let rows: Vec<String> = fs::read_to_string(page).unwrap().lines().map(str::to_owned).collect();
    for setting in callboard::settings::SETTINGS {
        let begin = format!("| `{}` |", setting.name);
        let row = rows.iter().find(|row| row.starts_with(&begin)).unwrap_or_else(|| panic!("no row {begin}"));
        let default = setting.default.filter(|default| !default.is_empty());
        assert!(default.is_none_or(|default| row.contains(&format!("| `{default}` |"))), "{row}: {default:?}");
    }
}

#[test]
fn every_command_shown_can_be_typed() {
    let mut shown = 0;
    for page in pages() {
        for line in commands(&page) {
            let words = words(&line);
            let Some(at) = words.iter().position(|word| word == "callboard") else { continue };
            let Some(command) = words.get(at + 1).filter(|word| !word.starts_with('-')) else { continue };
            if command.contains('=') {
                continue;
            }
            let output = callboard(&[command, "--help"]).output().unwrap();
            assert!(output.status.success(), "{}: {line}", page.display());
            let help = String::from_utf8_lossy(&output.stdout);
            for flag in words[at + 2..].iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(help.contains(flag), "{}: {line}: no {flag}", page.display());
            }
            shown += 1;
        }
    }
    assert!(shown >= 15, "{shown}");
}
