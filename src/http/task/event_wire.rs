//! One event of a task's log in the wire's words, as the `data:` of the event stream. Steps go by their names, outputs
//! are the text they were stored as.

use super::pipeline::resolve;
use super::whole::{PlannedStep, end_error, end_name, planned};
use crate::http::error::{ApiError, Envelope};
use crate::http::time::rfc3339;
use crate::store::Store;
use crate::task::{Event, EventKind, Failure, Json, Options, Plan, StepIndex, Task};
use serde::Serialize;

/// One event.
#[derive(Debug, Serialize)]
struct WireEvent<'a> {
    seq: u64,
    at: String,
    task_id: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    step: Option<StepNames<'a>>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

/// Which step it is about.
#[derive(Debug, Serialize)]
struct StepNames<'a> {
    sub_id: &'a str,
    stage: &'a str,
}

/// What the kinds have to say; each sets its own part.
#[derive(Debug, Default, Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a Options>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Vec<PlannedStep<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_absent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Envelope<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_step: Option<&'a str>,
}

/// An event's JSON, on one line.
pub(super) async fn event_json(store: &dyn Store, task: &Task, event: &Event) -> Result<String, ApiError> {
    let output = match &event.kind {
        EventKind::StepSucceeded { output, .. } => Some(resolve(store, &task.key, output).await?),
        _ => None,
    };
    let (step, detail) = describe(&event.kind, &task.plan);
    let wire = WireEvent {
        seq: event.seq,
        at: rfc3339(event.at),
        task_id: task.key.id.as_str(),
        kind: event.kind.name(),
        step: step.map(|index| names(&task.plan, index)),
        detail: Detail { output, ..detail },
    };
    serde_json::to_string(&wire).map_err(|error| ApiError::internal(format!("an event has no JSON: {error}")))
}

/// Whether nothing comes after it.
pub(super) fn is_last(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::TaskSucceeded { .. } | EventKind::TaskFailed { .. } | EventKind::TaskCancelled { .. }
    )
}

fn names(plan: &Plan, index: StepIndex) -> StepNames<'_> {
    let spec = plan.step(index);
    StepNames { sub_id: spec.id.as_str(), stage: spec.capability.as_str() }
}

/// Which step an event is about, and what it says.
fn describe<'a>(kind: &'a EventKind, plan: &'a Plan) -> (Option<StepIndex>, Detail<'a>) {
    let none = Detail::default();
    match kind {
        EventKind::Accepted { summary, options, deadline_at, .. } => {
            let deadline_at = Some(rfc3339(*deadline_at));
            (None, Detail { summary: Some(summary), options: Some(options), deadline_at, ..none })
        }
        EventKind::Planned { plan } => {
            let steps = plan.steps();
            (None, Detail { plan: Some(steps.iter().map(|spec| planned(spec, steps)).collect()), ..none })
        }
        EventKind::StepPlaced { step, attempt, agent, incarnation, reason, timeout_at } => {
            let (agent_id, incarnation) = (Some(agent.as_str()), Some(incarnation.as_str()));
            let (attempt, until) = (Some(attempt.0), Some(rfc3339(*timeout_at)));
            (Some(*step), Detail { attempt, agent_id, incarnation, reason: Some(reason), until, ..none })
        }
        EventKind::StepQueued { step, since, agent_absent, recheck_at } => {
            let (since, until) = (Some(rfc3339(*since)), Some(rfc3339(*recheck_at)));
            (Some(*step), Detail { since, agent_absent: Some(*agent_absent), until, ..none })
        }
        EventKind::StepBackedOff { step, until } => (Some(*step), Detail { until: Some(rfc3339(*until)), ..none }),
        EventKind::AttemptEnded { step, attempt, end } => {
            let (attempt, outcome) = (Some(attempt.0), Some(end_name(end)));
            (Some(*step), Detail { attempt, outcome, error: end_error(end), ..none })
        }
        EventKind::StepSucceeded { step, attempt, agent, .. } => {
            (Some(*step), Detail { attempt: Some(attempt.0), agent_id: Some(agent.as_str()), ..none })
        }
        EventKind::StepFailed { step, failure } => (Some(*step), failed(failure)),
        EventKind::StepSkipped { step, reason } => (Some(*step), Detail { reason: Some(reason), ..none }),
        EventKind::TaskSucceeded { final_step } => {
            let final_step = final_step.map(|index| plan.step(index).id.as_str());
            (None, Detail { final_step, ..none })
        }
        EventKind::TaskFailed { failure } => (None, failed(failure)),
        EventKind::TaskCancelled { reason } => (None, Detail { reason: Some(reason), ..none }),
    }
}

fn failed(failure: &Failure) -> Detail<'_> {
    Detail { error: Some(failure.into()), ..Detail::default() }
}
