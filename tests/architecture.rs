//! The picture of the house in ARCHITECTURE.md, held against the code: which room may name which, where actix may be
//! named, and that no room grows too large to see at a glance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with those it may name, itself aside.
const MAY_NAME: [(&str, &[&str]); 15] = [
    ("task", &[]),
    ("text", &[]),
    ("secret", &[]),
    ("messages", &["task"]),
    ("telemetry", &["task"]),
    ("store", &["messages", "secret", "task"]),
    ("llm", &["messages", "secret", "task", "text"]),
    ("agents", &["messages", "task", "text"]),
    ("actors", &["agents", "llm", "store", "messages", "task", "telemetry"]),
    ("http", &["actors", "store", "messages", "task", "telemetry"]),
    ("settings", &["http", "llm", "secret", "store", "task"]),
    ("team", &["agents", "llm", "messages", "settings", "task"]),
    ("node", &["actors", "http", "llm", "messages", "settings", "store", "task", "team", "telemetry"]),
    ("testkit", &["actors", "agents", "llm", "messages", "node", "settings", "store", "task", "team"]),
    ("cli", &["actors", "http", "llm", "messages", "node", "settings", "store", "task", "team", "telemetry"]),
];

/// What every room's own tests may name besides.
const FOR_TESTS: &str = "testkit";

/// Lines a file may have; the house aims at half of it.
const MAX_LINES: usize = 600;

fn sources() -> Vec<(PathBuf, String)> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    below(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// Whether a file holds a room's own tests, which may name whatever they need.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// The first part of a file's path, without its ending: the room that it is in.
fn room(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without its comments, in which anything may be named.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// A file's code, and that of the tests at its end.
fn with_tests(text: &str) -> (String, String) {
    let code = code(text);
    let tests = code.find("#[cfg(test)]").unwrap_or(code.len());
    (code[..tests].to_owned(), code[tests..].to_owned())
}

/// The rooms that a file names by `crate::room`, also inside `use crate::{…}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            rooms.insert(word(item.trim()));
                            item.clear();
                        }
                        c if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                rooms.insert(word(item.trim()));
            }
            None => {
                rooms.insert(word(rest));
            }
        }
    }
    rooms
}

#[test]
fn rooms_name_only_whom_they_may() {
    let rooms: BTreeSet<_> = MAY_NAME.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let room = room(&path);
        if ["lib", "main"].contains(&room.as_str()) || is_test(&path) {
            continue;
        }
        let (_, allowed) =
            MAY_NAME.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("no rule for {room}"));
        let (code, tests) = with_tests(&text);
        let in_tests = named(&tests).into_iter().filter(|name| name != FOR_TESTS);
        let named: BTreeSet<_> = named(&code).into_iter().chain(in_tests).collect();
        let others = named.intersection(&rooms).filter(|name| **name != room && !allowed.contains(&name.as_str()));
        faults.extend(others.map(|name| format!("{} names {name}", path.display())));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn actix_is_named_in_its_rooms_only() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let code = code(&text);
        let names = |name: &str| code.contains(&format!("{name}::"));
        let (in_actors, in_http) = (room(&path) == "actors", room(&path) == "http");
        if (names("actix") || names("actix_rt")) && !in_actors {
            faults.push(format!("{} names actix", path.display()));
        }
        if names("actix_web") && !in_http {
            faults.push(format!("{} names actix_web", path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_file_says_what_it_is_and_can_be_seen_at_a_glance() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            faults.push(format!("{} does not say what it is", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn names_in_lists_and_paths_are_found() {
    let found = named("use crate::{task::{self, Task}, store};\nlet x = crate::llm::Mock;");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["llm", "store", "task"]);
}

#[test]
fn every_file_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let named: Vec<_> =
        quoted.map(|name| name.split("::").next().unwrap()).filter(|name| name.ends_with(".rs")).collect();
    assert!(named.len() > 20, "the page was not read: {named:?}");
    let is_there = |name: &&str| root.join(name).is_file() || root.join("src").join(name).is_file();
    let missing: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
