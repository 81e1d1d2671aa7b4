//! Agents in any language: a worker in plain Python and one with AG2's agents work under our master, and our worker works
//! under a master that knows only the predecessor's part of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ag2;
mod foreign;
mod program;
mod python;
#[path = "../support/mod.rs"]
mod support;
mod token;

use program::{Program, python};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::Server;

/// A company whose `evaluate` is done elsewhere, in a folder of its own.
struct Company {
    folder: tempfile::TempDir,
    server: Server,
}

/// Its stages, and an agent for the others of them. A mock thinks for them.
const TEAM: &str = r#"
[[stages]]
capability = "analyze"
[[stages]]
capability = "retrieve"
[[stages]]
capability = "evaluate"
elsewhere = true
[[stages]]
capability = "finalize"
[[agents]]
id = "agent-here"
capabilities = ["analyze", "retrieve", "finalize"]
"#;
/// A heartbeat counts for three seconds here, the least, and the workers send ten in that time.
const SETTINGS: &str = "store = \"memory:\"\nprovider = \"mock\"\nheartbeat_ttl = \"3s\"\nteam = \"team.toml\"\n";

impl Company {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let team = folder.path().join("team.toml");
        fs::write(&team, TEAM).unwrap();
        let config = folder.path().join("callboard.toml");
        let written = SETTINGS.replace("team.toml", team.to_str().unwrap()) + settings;
        fs::write(&config, written).unwrap();
        let server = Server::start(&["--config", config.to_str().unwrap()]);
        Self { folder, server }
    }

    /// The file that ends what a held worker holds.
    fn release(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    /// Starts a worker of this name for `evaluate`, and waits until it has joined.
    fn worker(&self, script: &str, agent: &str, environment: &[(&str, &str)]) -> Program {
        let worker = Program::start(self.command(script, agent, environment));
        worker.said(|line| line.ends_with("joined"));
        worker
    }

    fn command(&self, script: &str, agent: &str, environment: &[(&str, &str)]) -> std::process::Command {
        let release = self.release();
        let ours = [("AGENT_ID", agent), ("MASTER_URL", &self.server.url), ("HEARTBEAT_SECONDS", "0.2")];
        let mut command = python(script, &ours);
        command.env("RELEASE", release).envs(environment.iter().copied());
        command
    }

    /// The step of `evaluate` of a task, once it is as wanted.
    async fn evaluation(&self, task: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let is_so = |status: u16, task: &Value| status == 200 && is_wanted(step(task, "evaluate"));
        step(&self.server.until(&format!("/task/{task}"), is_so).await, "evaluate").clone()
    }
}

/// One step of a task.
fn step<'a>(task: &'a Value, stage: &str) -> &'a Value {
    task["steps"].as_array().unwrap().iter().find(|step| step["stage"] == stage).unwrap()
}

/// Lets go of what held workers hold.
fn release(file: &Path) {
    fs::write(file, "").unwrap();
}
