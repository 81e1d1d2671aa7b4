//! What we depend on keeps the rules of `deny.toml`: permissive licences, banned crates. The same rules as `cargo deny`
//! reads, for machines without that tool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The crates of the whole graph: name, and licence expression.
fn packages() -> Vec<(String, String)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (text(&package["name"]), text(&package["license"]))).collect()
}

fn rules() -> config::Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    config::Config::builder().add_source(config::File::from(file)).build().unwrap()
}

/// Whether an SPDX expression can be met with allowed licences only: `OR` needs one side, `AND` both.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let tokens = expression.replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<_> = tokens.split_whitespace().collect();
    let mut rest = &tokens[..];
    let met = any(&mut rest, allowed);
    met && rest.is_empty()
}

fn any(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, allowed);
    while tokens.first() == Some(&"OR") {
        *tokens = &tokens[1..];
        met |= all(tokens, allowed);
    }
    met
}

fn all(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, allowed);
    while tokens.first() == Some(&"AND") {
        *tokens = &tokens[1..];
        met &= one(tokens, allowed);
    }
    met
}

fn one(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return false };
    *tokens = rest;
    if *first == "(" {
        let met = any(tokens, allowed);
        assert_eq!(tokens.first(), Some(&")"), "an expression that does not close");
        *tokens = &tokens[1..];
        return met;
    }
    if tokens.first() == Some(&"WITH") {
        let licence = format!("{first} WITH {}", tokens[1]);
        *tokens = &tokens[2..];
        return allowed.contains(&licence);
    }
    allowed.contains(*first)
}

#[test]
fn every_licence_is_permissive() {
    let allowed: BTreeSet<String> = rules().get::<Vec<String>>("licenses.allow").unwrap().into_iter().collect();
    let packages = packages();
    assert!(packages.len() > 100, "the graph was not read");
    let refused: Vec<_> = packages.iter().filter(|(_, licence)| !is_allowed(licence, &allowed)).collect();
    assert!(refused.is_empty(), "not permissive, or without a licence: {refused:?}");
}

#[test]
fn nothing_banned_is_in_the_graph() {
    let rules: serde_json::Value = rules().get("bans").unwrap();
    let banned: BTreeSet<_> =
        rules["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap().to_owned()).collect();
    assert!(banned.contains("rustls") && banned.contains("ring") && banned.contains("aws-lc-rs"));
    let found: Vec<_> = packages().into_iter().filter(|(name, _)| banned.contains(name)).collect();
    assert!(found.is_empty(), "banned: {found:?}");
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    assert!(is_allowed("GPL-3.0 OR MIT", &allowed));
    assert!(is_allowed("GPL-3.0/MIT", &allowed));
    assert!(is_allowed("(GPL-3.0 OR MIT) AND Apache-2.0 WITH LLVM-exception", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0", &allowed));
    assert!(!is_allowed("MIT AND (GPL-3.0 OR LGPL-3.0)", &allowed));
    assert!(!is_allowed("", &allowed));
}
