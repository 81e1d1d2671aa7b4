//! `callboard tree`: the supervision tree as it is now, one line a node: its state, how often it was restarted, what is
//! in flight, and what failed last.

use super::args::ListArgs;
use super::clean::{clean_json, clean_line};
use super::client::Client;
use super::environment::Environment;
use super::exit::Outcome;
use super::host::client_command;
use super::output::print;
use super::wire::Node;

/// Runs it.
pub fn tree(args: &ListArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    client_command(async {
        let root = client.get::<Node>(&["supervision"]).await?;
        print(&if args.server.json { clean_json(&root.text) } else { rows(&root.read) })
    })
}

fn rows(root: &Node) -> String {
    let mut lines = vec![node(root)];
    branch(root, "", &mut lines);
    lines.join("\n")
}

/// The children of a node, each with its own below it. Only as deep as JSON that could be read.
fn branch(parent: &Node, indent: &str, lines: &mut Vec<String>) {
    for (at, child) in parent.children.iter().enumerate() {
        let is_last = at + 1 == parent.children.len();
        let (twig, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{indent}{twig}{}", node(child)));
        branch(child, &format!("{indent}{below}"), lines);
    }
}

fn node(node: &Node) -> String {
    let mut line = format!("{} ({})  {}", clean_line(&node.name), clean_line(&node.kind), clean_line(&node.state));
    if node.restarts > 0 {
        line.push_str(&format!(", {} restarts", node.restarts));
    }
    let in_flight = node.in_flight.work.saturating_add(node.in_flight.control);
    if in_flight > 0 {
        line.push_str(&format!(", {in_flight} in flight"));
    }
    if let Some(failure) = &node.last_failure {
        line.push_str(&format!(", last failure: {}", clean_line(&failure.text)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_shows_who_hangs_where() {
        let root = serde_json::from_str(
            r#"{"name": "root", "kind": "group", "state": "running", "last_failure": null, "children": [
                {"name": "agents", "kind": "group", "state": "running", "children": [
                    {"name": "agent-a", "kind": "actor", "state": "backing_off", "restarts": 2,
                     "in_flight": {"work": 1, "control": 2}, "last_failure": {"text": "it\n\u001bbroke", "at_ms": 1}}]},
                {"name": "master", "kind": "actor", "state": "running"}]}"#,
        );
        insta::assert_snapshot!(rows(&root.unwrap()), @r"
        root (group)  running
        ├─ agents (group)  running
        │  └─ agent-a (actor)  backing_off, 2 restarts, 3 in flight, last failure: it �broke
        └─ master (actor)  running
        ");
    }
}
