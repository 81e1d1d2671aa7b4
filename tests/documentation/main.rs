//! Every command that the documentation shows does what it says: each page's commands are run in their order, in an empty
//! folder, and what no test can run is at least there. Settings are described with their defaults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod elsewhere;
mod json;
mod page;
mod shell;
#[path = "../support/mod.rs"]
mod support;

use elsewhere::{fault, is_elsewhere};
use page::{Page, names, root, words};
use std::fs;
use support::callboard;

/// Runs a page, and compares the JSON that it shows below its commands.
fn works(name: &str) {
    let page = Page::read(name);
    let printed = shell::run(&page);
    for (at, pair) in page.blocks.windows(2).enumerate() {
        if (pair[0].language.as_str(), pair[1].language.as_str()) != ("sh", "json") {
            continue;
        }
        let shown =
            serde_json::from_str(&pair[1].text).unwrap_or_else(|error| panic!("{name}: {error}: {}", pair[1].text));
        let there = &printed.blocks()[at];
        let there = json::last(there).unwrap_or_else(|| panic!("{name}: no JSON in {there}"));
        let difference = json::difference(&shown, &there, "");
        assert!(difference.is_none(), "{name}: {difference:?}\n{}\n{there}", pair[0].text);
    }
}

macro_rules! pages {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { works($name); })*

        #[test]
        fn no_page_is_forgotten() {
            let mut run = [$($name),*];
            run.sort_unstable();
            assert_eq!(run.as_slice(), names());
        }
    };
}

pages! {
    the_readme_works: "README.md",
    contributing_works: "CONTRIBUTING.md",
    the_architecture_works: "ARCHITECTURE.md",
    answers_work: "docs/answers.md",
    agents_in_any_language_work: "docs/any-language.md",
    the_api_works: "docs/api.md",
    concepts_work: "docs/concepts.md",
    the_configuration_works: "docs/configuration.md",
    distributed_works: "docs/distributed.md",
    documents_work: "docs/documents.md",
    models_work: "docs/models.md",
    operations_work: "docs/operations.md",
    parity_works: "docs/parity.md",
    performance_works: "docs/performance.md",
    the_quick_start_works: "docs/quick-start.md",
    reliability_works: "docs/reliability.md",
    semantics_work: "docs/semantics.md",
    teams_work: "docs/teams.md",
    testing_works: "docs/testing.md",
    troubleshooting_works: "docs/troubleshooting.md",
}

#[test]
fn what_is_run_elsewhere_is_there() {
    let mut shown = 0;
    for name in names() {
        for command in Page::read(&name).commands().iter().filter(|command| is_elsewhere(command)) {
            assert_eq!(fault(command), None, "{name}: {command}");
            shown += 1;
        }
    }
    assert!(shown >= 15, "{shown}");
}

#[test]
fn every_command_shown_can_be_typed() {
    let mut shown = 0;
    for name in names() {
        for line in Page::read(&name).commands() {
            let words = words(&line);
            let Some(at) = words.iter().position(|word| word == "callboard") else { continue };
            if words[..at].iter().any(|word| !word.contains('=')) {
                continue;
            }
            let Some(command) = words.get(at + 1).filter(|word| !word.starts_with('-')) else { continue };
            let mut typed = vec![command.as_str()];
            if command == "team" {
                typed.extend(words.get(at + 2).map(String::as_str));
            }
            let output = callboard(&[&typed[..], &["--help"]].concat()).output().unwrap();
            assert!(output.status.success(), "{name}: {line}");
            let help = String::from_utf8_lossy(&output.stdout);
            for flag in words[at + 1 + typed.len()..].iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(help.contains(flag), "{name}: {line}: no {flag}");
            }
            shown += 1;
        }
    }
    assert!(shown >= 40, "{shown}");
}

#[test]
fn every_setting_is_described_with_its_default() {
    let page = root().join("docs/configuration.md");
    let rows: Vec<String> = fs::read_to_string(page).unwrap().lines().map(str::to_owned).collect();
    for setting in callboard::settings::SETTINGS {
        let begin = format!("| `{}` |", setting.name);
        let row = rows.iter().find(|row| row.starts_with(&begin)).unwrap_or_else(|| panic!("no row {begin}"));
        let default = setting.default.filter(|default| !default.is_empty());
        assert!(default.is_none_or(|default| row.contains(&format!("| `{default}` |"))), "{row}: {default:?}");
    }
}
