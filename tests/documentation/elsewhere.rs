//! The commands that no test can run inside a test, because they build the program or fetch something: a short list. What
//! they name must be there.

use super::page::{root, words};
use std::fs;

/// Whether a line is one of them. Everything else is run.
pub fn is_elsewhere(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    matches!(first, "make" | "cargo" | "git") || first.starts_with("scripts/") || first == ".ci/run"
}

/// What is wrong with one; none when all that it names is there.
pub fn fault(command: &str) -> Option<String> {
    let words = words(command);
    let exists = |paths: &[String]| paths.iter().any(|path| root().join(path).is_file());
    match words[0].as_str() {
        "make" => words[1..].iter().find(|target| !is_target(target)).map(|target| format!("no target {target}")),
        "cargo" => cargo_fault(&words, exists),
        "git" => (words.get(1).is_none_or(|word| word != "clone")).then(|| "only cloning is shown".to_owned()),
        script => (!exists(&[script.to_owned()])).then(|| format!("there is no {script}")),
    }
}

fn is_target(name: &str) -> bool {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    makefile.lines().any(|line| line.starts_with(&format!("{name}:")))
}

fn cargo_fault(words: &[String], exists: impl Fn(&[String]) -> bool) -> Option<String> {
    const COMMANDS: [&str; 10] = ["build", "run", "test", "nextest", "bench", "clippy", "fmt", "doc", "new", "add"];
    let command = words.get(1).map(String::as_str).unwrap_or_default();
    if !COMMANDS.contains(&command) {
        return Some(format!("cargo {command} is not on the list"));
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    if command == "add" && !words.iter().any(|word| manifest.contains(&format!("name = \"{word}\""))) {
        return Some("it adds nothing that is here".to_owned());
    }
    words.windows(2).find_map(|pair| {
        let (flag, name) = (pair[0].as_str(), pair[1].as_str());
        let is_there = match flag {
            // Words for people, not names.
            _ if name.chars().all(|c| c.is_uppercase()) => true,
            "--example" => exists(&[format!("examples/{name}.rs")]),
            "--test" => exists(&[format!("tests/{name}.rs"), format!("tests/{name}/main.rs")]),
            "--bench" => exists(&[format!("benches/{name}.rs"), format!("benches/{name}/main.rs")]),
            _ => true,
        };
        (!is_there).then(|| format!("there is no {flag} {name}"))
    })
}
