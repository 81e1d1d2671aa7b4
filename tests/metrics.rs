//! The metrics are those of the table in docs/operations.md, with their types and labels, and no others: dashboards and
//! alarms are written against that page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::Server;

/// Each metric's type and labels.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// What the page says.
fn documented() -> Metrics {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `callboard_"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert!(!cells[4].is_empty(), "no meaning: {row}");
        (quoted(cells[1]).remove(0), (cells[2].to_owned(), quoted(cells[3]).into_iter().collect()))
    })
    .collect()
}

/// What a scrape says. A counter's samples have `_total` behind the family's name, a histogram's `_bucket` and others.
fn scraped(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            family = (name.to_owned(), kind.to_owned());
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let (of, kind) = &family;
        let name = if kind == "histogram" { of.as_str() } else { name };
        assert!(name.starts_with(of), "{line} stands below {of}");
        let labels = rest.strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
        // Values are names of ours and paths: none holds a comma or a quote.
        let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
        let entry = metrics.entry(name.to_owned()).or_insert_with(|| (kind.clone(), BTreeSet::new()));
        entry.1.extend(names.filter(|name| name != "le"));
    }
    metrics
}

#[tokio::test]
async fn the_metrics_are_those_of_the_page() {
    let server = Server::start(&["--store", "memory:", "--provider", "mock"]);
    let (status, _) = server.post("/task?wait=60", &json!({"objective": "why?"})).await;
    assert_eq!(status, 200);
    let answer = server.client.get(format!("{}/metrics", server.url)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(scraped(&text), documented());
}
