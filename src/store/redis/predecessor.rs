//! The names that the predecessor's tools and workers look for, in its types and fields: a task's plan, decisions and
//! results, and the agents. They are a copy for others: nothing here is read back, except that a foreign worker lives.

use super::options::RedisOptions;
use crate::messages::{AgentRecord, ForeignBeat};
use crate::task::{
    AgentId, At, AttemptEnd, ErrorCode, Event, EventKind, Json, Payload, StepId, StepIndex, Task, TaskKey,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// How long a heartbeat's key stands, in seconds.
pub(super) const BEAT_SECONDS: u64 = 30;

/// Keys that have to be allowed where these names are written: one of each kind.
pub(super) const KINDS: [&str; 9] = [
    "subtasks:callboard.check",
    "subtask:callboard.check:",
    "route:callboard.check:",
    "results:callboard.check",
    "dispatch_log:callboard.check",
    "cap_index:callboard.check",
    "metrics:callboard.check",
    "heartbeat:callboard.check",
    "ag2:trace:callboard.check:",
];

/// What a commit says in the predecessor's names.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// What the task is called there, and its steps, by lines: so that they can be found when it is removed.
    pub names: String,
    /// How long the notes are kept.
    pub seconds: u64,
    pub notes: Vec<Note>,
}

/// One value to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// `set`, or `push` at a list's end.
    pub how: &'static str,
    pub key: String,
    pub value: String,
}

/// What a task is called there: dispatched work is kept as a task of its own, named by task and step.
fn called(key: &TaskKey, steps: &[&StepId]) -> Arc<str> {
    let id = key.id.as_str();
    let of_dispatched = match steps {
        [only] => id.strip_suffix(only.as_str()).and_then(|rest| rest.strip_suffix(':')),
        _ => None,
    };
    of_dispatched.filter(|rest| !rest.is_empty()).unwrap_or(id).into()
}

fn steps(task: &Task) -> Vec<&StepId> {
    task.plan.indices().map(|index| &task.plan.step(index).id).collect()
}

/// What a task's removal and its traces go by.
pub(super) fn called_of(task: &Task) -> Arc<str> {
    called(&task.key, &steps(task))
}

/// What a commit's events say there.
pub(super) fn noted(options: &RedisOptions, task: &Task, events: &[Event], payloads: &[(Arc<str>, Json)]) -> Noted {
    if !options.predecessor_keys {
        return Noted::default();
    }
    let ids = steps(task);
    let task_id = called(&task.key, &ids);
    let mut notes = Notes { task, task_id: &task_id, payloads, notes: Vec::new() };
    for event in events {
        notes.take(event);
    }
    let names = std::iter::once(&*task_id).chain(ids.iter().map(|id| id.as_str())).collect::<Vec<_>>().join("\n");
    Noted { names, seconds: options.predecessor_ttl.as_secs().max(1), notes: notes.notes }
}

struct Notes<'a> {
    task: &'a Task,
    task_id: &'a str,
    payloads: &'a [(Arc<str>, Json)],
    notes: Vec<Note>,
}

/// A result as the predecessor's master keeps it.
#[derive(Serialize)]
struct ResultPayload<'a> {
    task_id: &'a str,
    sub_id: &'a str,
    agent_id: &'a str,
    status: &'static str,
    output: &'a Json,
    ag2_trace: Option<()>,
    error: Option<serde_json::Value>,
    metrics: Option<()>,
}

impl Notes<'_> {
    fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Planned { plan } => {
                for index in plan.indices() {
                    self.planned(index);
                }
            }
            EventKind::StepPlaced { step, agent, reason, .. } => {
                let route = json!({"selected_agent": agent, "reason": reason, "considered": [], "scores": {}});
                let key = format!("route:{}:{}", self.task_id, self.step_id(*step));
                self.note("set", key, route.to_string());
                self.log(event.at, *step, agent, reason, None, None);
            }
            EventKind::StepSucceeded { step, attempt, agent, output } => {
                let reason = self.reason(*step, *attempt);
                self.result(*step, agent, "succeeded", output, None);
                self.log(event.at, *step, agent, &reason, Some("succeeded"), None);
            }
            EventKind::AttemptEnded { step, attempt, end } => self.failed(event.at, *step, *attempt, end),
            _ => {}
        }
    }

    fn planned(&mut self, index: StepIndex) {
        let spec = self.task.plan.step(index);
        let capability = spec.capability.as_str();
        let subtask = json!({
            "task_id": self.task_id, "sub_id": spec.id, "command": capability,
            "description": format!("{capability}: {}", self.task.summary), "target_capability": capability,
            "metadata": {},
        });
        let text = subtask.to_string();
        self.note("push", format!("subtasks:{}", self.task_id), text.clone());
        self.note("set", format!("subtask:{}:{}", self.task_id, spec.id), text);
    }

    /// A counted failure; what was no fault of the attempt is no result.
    fn failed(&mut self, at: At, step: StepIndex, attempt: crate::task::AttemptNo, end: &AttemptEnd) {
        let (status, code, message) = match end {
            AttemptEnd::Failed(failure) | AttemptEnd::Crashed(failure) => {
                ("retryable_failure", failure.code, failure.message.clone())
            }
            AttemptEnd::Fatal(failure) => ("fatal_failure", failure.code, failure.message.clone()),
            AttemptEnd::TimedOut => {
                ("retryable_failure", ErrorCode::Timeout, "the step took longer than it may".into())
            }
            AttemptEnd::Lost(_) | AttemptEnd::Superseded => return,
        };
        let Some(whose) = self.task.step(step).1.attempt(attempt) else { return };
        let (agent, reason) = (whose.agent.clone(), whose.reason.clone());
        let error = json!({"code": code, "message": message, "details": null});
        self.result(step, &agent, status, &Payload::Inline(Json::empty()), Some(error));
        self.log(at, step, &agent, &reason, Some(status), Some(code));
    }

    fn result(
        &mut self,
        step: StepIndex,
        agent: &AgentId,
        status: &'static str,
        output: &Payload,
        error: Option<serde_json::Value>,
    ) {
        let output = match output {
            Payload::Inline(json) => Some(json),
            Payload::Stored { name, .. } => self.payloads.iter().find(|(other, _)| other == name).map(|(_, json)| json),
        };
        // A large output is written with the event that names it.
        let nothing = Json::empty();
        let output = output.unwrap_or(&nothing);
        let sub_id = self.step_id(step).to_string();
        let (task_id, agent_id) = (self.task_id, agent.as_str());
        let result =
            ResultPayload { task_id, sub_id: &sub_id, agent_id, status, output, ag2_trace: None, error, metrics: None };
        // All of it has a form as JSON.
        if let Ok(text) = serde_json::to_string(&result) {
            self.note("push", format!("results:{}", self.task_id), text);
        }
    }

    fn log(
        &mut self,
        at: At,
        step: StepIndex,
        agent: &AgentId,
        reason: &str,
        status: Option<&str>,
        error_code: Option<ErrorCode>,
    ) {
        let mut entry = json!({
            "task_id": self.task_id, "sub_id": self.step_id(step), "agent_id": agent, "route_reason": reason,
            "created_at": rfc3339(at),
        });
        if let Some(status) = status {
            entry["status"] = status.into();
        }
        if let Some(code) = error_code {
            entry["error_code"] = json!(code);
        }
        self.note("push", format!("dispatch_log:{}", self.task_id), entry.to_string());
    }

    fn reason(&self, step: StepIndex, attempt: crate::task::AttemptNo) -> Arc<str> {
        self.task.step(step).1.attempt(attempt).map_or_else(|| "".into(), |attempt| attempt.reason.clone())
    }

    fn step_id(&self, step: StepIndex) -> &StepId {
        &self.task.plan.step(step).id
    }

    fn note(&mut self, how: &'static str, key: String, value: String) {
        self.notes.push(Note { how, key, value });
    }
}

fn rfc3339(at: At) -> String {
    // The last moment that has four digits of a year.
    let ms = at.0.min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

// === Agents ===

/// What the predecessor's names say of an agent.
pub(super) struct Listing {
    pub declaration: String,
    pub load: String,
    pub last_heartbeat: String,
    pub hello: String,
}

impl Listing {
    pub fn of(record: &AgentRecord) -> Self {
        let declaration = &record.declaration;
        let last_heartbeat = rfc3339(record.last_heartbeat);
        let metrics = json!({
            "load": record.load, "avg_latency_ms": null, "recent_failures": 0, "last_heartbeat": last_heartbeat,
        });
        let url = declaration.url.clone().unwrap_or_else(|| nowhere(&declaration.agent));
        let declared = json!({
            "agent_id": declaration.agent, "url": url, "capabilities": declaration.capabilities,
            "ag2_profile": declaration.profile, "description": declaration.description, "metrics": metrics,
        });
        Self {
            declaration: declared.to_string(),
            load: json!(record.load).to_string(),
            last_heartbeat: json!(last_heartbeat).to_string(),
            hello: json!({"event": "join", "agent_id": declaration.agent}).to_string(),
        }
    }
}

/// An agent that only its own process reaches has a URL in form, which leads nowhere.
fn nowhere(agent: &AgentId) -> Arc<str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._~".contains(c) { c } else { '_' };
    format!("http://callboard.invalid/{}", agent.as_str().chars().map(plain).collect::<String>()).into()
}

pub(super) fn goodbye(agent: &AgentId) -> String {
    json!({"event": "leave", "agent_id": agent}).to_string()
}

/// What an agent's own key says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Beat {
    load: f64,
    active_tasks: Vec<String>,
}

/// Reads an agent's own key; what cannot be read says no more than that it lives.
pub(super) fn read_beat(agent: AgentId, text: &str) -> ForeignBeat {
    let beat: Beat = serde_json::from_str(text).unwrap_or_default();
    let load = if beat.load.is_finite() { beat.load.clamp(0.0, 1.0) } else { 0.0 };
    let active = beat.active_tasks.iter().filter_map(|id| StepId::parse(id).ok()).collect();
    ForeignBeat { agent, load, active }
}

/// The same to be written.
pub(super) fn beat(agent: &AgentId, load: f64, active: &[StepId]) -> String {
    json!({"agent_id": agent, "load": load, "active_tasks": active}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{TaskId, Tenant};

    #[test]
    fn dispatched_work_goes_by_its_own_task() {
        let key = |id: &str| TaskKey { tenant: Tenant::default(), id: TaskId::trusted(id) };
        let (s1, s2) = (StepId::trusted("s1"), StepId::trusted("s2"));
        assert_eq!(&*called(&key("t-1:s1"), &[&s1]), "t-1");
        assert_eq!(&*called(&key("t-1"), &[&s1]), "t-1");
        assert_eq!(&*called(&key("t-1:s1"), &[&s1, &s2]), "t-1:s1");
        assert_eq!(&*called(&key(":s1"), &[&s1]), ":s1");
    }

    #[test]
    fn a_foreign_beat_is_read_as_far_as_it_makes_sense() {
        let agent = AgentId::trusted("ann");
        let text = beat(&agent, 0.5, &[StepId::trusted("t-P1")]);
        let read = read_beat(agent.clone(), &text);
        assert_eq!(read, ForeignBeat { agent: agent.clone(), load: 0.5, active: vec![StepId::trusted("t-P1")] });
        assert_eq!(read_beat(agent.clone(), "alive"), ForeignBeat { agent: agent.clone(), load: 0.0, active: vec![] });
        assert_eq!(read_beat(agent.clone(), r#"{"load":7}"#).load, 1.0);
    }

    #[test]
    fn moments_are_written_as_everywhere_on_the_wire() {
        assert_eq!(rfc3339(At(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(At(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
