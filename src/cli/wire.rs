//! The API's answers as this client reads them: only what it shows, and everything that may be missing is optional, so
//! that another version's server can still be read.

use serde::Deserialize;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// The error envelope, also inside tasks and steps.
#[derive(Debug, Clone, Deserialize)]
pub struct ErrorBody {
    /// What programs branch on.
    #[serde(default)]
    pub code: String,
    /// For people.
    pub message: String,
}

/// `PipelineResponse`: an answer, or how far it is.
#[derive(Debug, Deserialize)]
pub struct Pipeline {
    /// Which task.
    pub task_id: String,
    /// How it stands.
    pub status: String,
    /// Its answer.
    pub final_output: Option<Output>,
    /// Why it did not end well.
    pub error: Option<ErrorBody>,
}

impl Pipeline {
    /// Whether nothing more happens.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

/// Whether a server takes tasks, and somebody is there for each of their stages.
#[derive(Debug, Deserialize)]
pub struct Ready {
    /// `ready`, or `degraded`.
    pub status: String,
}

/// A step's output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Output {
    /// The words.
    pub text: String,
    /// Who made them.
    pub provider: String,
    /// What they rest on.
    pub citations: Vec<Citation>,
}

/// A source.
#[derive(Debug, Deserialize)]
pub struct Citation {
    /// The document.
    pub file: String,
    /// The line, from 1.
    #[serde(default)]
    pub line: u32,
    /// The titles above it.
    #[serde(default)]
    pub heading: Option<String>,
    /// Its beginning.
    #[serde(default)]
    pub text: String,
}

/// One event of a task.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskEvent {
    /// Which kind.
    pub kind: String,
    /// When.
    pub at: String,
    /// Which step.
    pub sub_id: Option<String>,
    /// What the steps are, where they were decided.
    pub plan: Option<Vec<Planned>>,
    /// Which attempt.
    pub attempt: Option<u32>,
    /// Who has it.
    pub agent_id: Option<String>,
    /// Nobody alive can do it.
    pub agent_absent: Option<bool>,
    /// Until when it pauses.
    pub until: Option<String>,
    /// How an attempt ended.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What went wrong.
    pub error: Option<ErrorBody>,
}

/// A step as planned.
#[derive(Debug, Deserialize)]
pub struct Planned {
    /// Its name.
    pub sub_id: String,
    /// What it is for.
    pub stage: String,
}

/// A whole task.
#[derive(Debug, Deserialize)]
pub struct Whole {
    /// Which.
    pub task_id: String,
    /// How it stands.
    pub status: String,
    /// What was asked.
    pub objective: String,
    /// When it was taken.
    pub accepted_at: String,
    /// When it fails as late.
    pub deadline_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it did not end well.
    pub error: Option<ErrorBody>,
    /// Its steps.
    #[serde(default)]
    pub steps: Vec<WholeStep>,
    /// Whose output is the answer.
    pub final_step: Option<String>,
}

/// A step of a whole task.
#[derive(Debug, Deserialize)]
pub struct WholeStep {
    /// Its name.
    pub sub_id: String,
    /// What it is for.
    pub stage: String,
    /// How it stands.
    pub status: String,
    /// Nobody alive can do it.
    #[serde(default)]
    pub agent_absent: bool,
    /// Why it was left out.
    pub reason: Option<String>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
    /// Every assignment.
    #[serde(default)]
    pub attempts: Vec<WholeAttempt>,
    /// What came out; foreign agents may put anything there.
    pub output: Option<Value>,
}

/// One assignment of a step.
#[derive(Debug, Deserialize)]
pub struct WholeAttempt {
    /// Its number.
    pub attempt: u32,
    /// To whom.
    pub agent_id: String,
    /// Why to that one.
    #[serde(default)]
    pub reason: String,
    /// When.
    pub placed_at: String,
    /// How it ended.
    pub outcome: String,
    /// When.
    pub ended_at: Option<String>,
    /// Why.
    pub error: Option<ErrorBody>,
}

/// One page of tasks.
#[derive(Debug, Deserialize)]
pub struct TaskPage {
    /// Newest first.
    pub tasks: Vec<Listed>,
    /// Where the next one begins.
    pub next_cursor: Option<String>,
}

/// A task in a list.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// Which.
    pub task_id: String,
    /// How it stands.
    pub status: String,
    /// The objective's beginning.
    #[serde(default)]
    pub summary: String,
    /// How urgent.
    #[serde(default)]
    pub priority: String,
    /// When it was taken.
    #[serde(default)]
    pub accepted_at: String,
}

/// Who works in a team, and what a task passes there.
#[derive(Debug, Deserialize)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its file.
    pub source: String,
    /// What a task passes.
    #[serde(default)]
    pub stages: Vec<TeamStage>,
    /// Who works there.
    #[serde(default)]
    pub agents: Vec<TeamAgent>,
    /// How reading it again went.
    pub last_reload: Option<Reload>,
}

/// One stage.
#[derive(Debug, Deserialize)]
pub struct TeamStage {
    /// What it takes.
    pub capability: String,
    /// Whether a task can do without it.
    #[serde(default)]
    pub optional: bool,
    /// What its step may cost.
    pub limits: StageLimits,
}

/// What one step may cost, as far as it is shown.
#[derive(Debug, Deserialize)]
pub struct StageLimits {
    /// Attempts that may fail.
    pub max_attempts: u32,
    /// Milliseconds for each.
    pub timeout_ms: u64,
}

/// One agent of a team.
#[derive(Debug, Deserialize)]
pub struct TeamAgent {
    /// Its name.
    pub agent_id: String,
    /// What it is made of.
    #[serde(default)]
    pub kind: String,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// How many steps at once.
    #[serde(default)]
    pub slots: u32,
    /// Who answers its model calls.
    pub provider: Option<String>,
}

/// How reading a team again went.
#[derive(Debug, Deserialize)]
pub struct Reload {
    /// What was wrong, if anything.
    pub fault: Option<String>,
}

/// Who is alive.
#[derive(Debug, Deserialize)]
pub struct Agents {
    /// By name.
    pub agents: Vec<Agent>,
}

/// One agent.
#[derive(Debug, Deserialize)]
pub struct Agent {
    /// Its name.
    pub agent_id: String,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it is.
    pub description: Option<String>,
    /// How many steps at once.
    #[serde(default)]
    pub slots: u32,
    /// How many it has.
    #[serde(default)]
    pub active: u32,
    /// When it was last heard of.
    #[serde(default)]
    pub last_heartbeat: String,
}

/// A node of the supervision tree.
#[derive(Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: String,
    /// How it stands.
    pub state: String,
    /// How often it started over.
    #[serde(default)]
    pub restarts: u32,
    /// Messages sent to it and not yet answered.
    #[serde(default)]
    pub in_flight: InFlight,
    /// What went wrong last.
    pub last_failure: Option<LastFailure>,
    /// What runs below it.
    #[serde(default)]
    pub children: Vec<Node>,
}

/// Messages in flight, per lane.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct InFlight {
    /// In the work lane.
    pub work: u32,
    /// In the control lane.
    pub control: u32,
}

/// What went wrong last.
#[derive(Debug, Deserialize)]
pub struct LastFailure {
    /// In words.
    pub text: String,
}

/// Milliseconds since 1970 of a time in an answer.
pub fn moment(text: &str) -> Option<u64> {
    let moment: SystemTime = humantime::parse_rfc3339(text).ok()?;
    u64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Milliseconds from one time in an answer to another.
pub fn between(from: &str, to: &str) -> Option<u64> {
    moment(to)?.checked_sub(moment(from)?)
}

/// A span in words that are short at every size.
pub fn span(ms: u64) -> String {
    match ms {
        0..=9_999 => format!("{ms} ms"),
        10_000..=119_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => humantime::format_duration(std::time::Duration::from_secs(ms / 1000)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!([7, 12_345, 3_600_000].map(span), ["7 ms", "12.3 s", "1h"]);
        assert_eq!(between("2024-01-01T00:00:00.000Z", "2024-01-01T00:00:01.250Z"), Some(1250));
        assert_eq!(between("2024-01-01T00:00:01.000Z", "2024-01-01T00:00:00.000Z"), None);
    }
}
