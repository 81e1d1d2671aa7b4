//! One event of a task's log in the wire's words, as the `data:` of the event stream. Steps go by their names, outputs
//! are the text they were stored as.

use super::pipeline::resolve;
use super::whole::{Outcome, PlannedStep, end_error, end_outcome, planned};
use crate::http::error::{ApiError, Envelope};
use crate::http::time::rfc3339;
use crate::store::Store;
use crate::task::{
    AgentId, Capability, Event, EventKind, Failure, Incarnation, Json, Options, Plan, StepId, StepIndex, Task, TaskId,
};
use serde::Serialize;
use utoipa::ToSchema;

/// One event: the `data:` of the event stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskEvent)]
pub(in crate::http) struct WireEvent<'a> {
    /// Its number in the task, from 1, without gaps.
    #[schema(minimum = 1)]
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    #[schema(value_type = TaskId)]
    task_id: &'a str,
    kind: Kind,
    /// Which step it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<StepId>)]
    sub_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Capability>)]
    stage: Option<&'a str>,
    #[serde(flatten)]
    #[schema(inline)]
    detail: Detail<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventKind)]
enum Kind {
    Accepted,
    Planned,
    /// A step was assigned to an agent.
    StepPlaced,
    /// A step waits for a slot, or for an agent to exist.
    StepQueued,
    /// A step pauses before another attempt.
    StepBackedOff,
    /// An attempt ended without success.
    AttemptEnded,
    StepSucceeded,
    StepFailed,
    /// An optional step was left out.
    StepSkipped,
    TaskSucceeded,
    TaskFailed,
    TaskCancelled,
}

/// What the kinds have to say; each sets its own part.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Detail<'a> {
    /// The objective's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    summary: Option<&'a str>,
    /// The client's choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Options>)]
    options: Option<&'a Options>,
    /// When the task fails as late.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    deadline_at: Option<String>,
    /// The steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plan: Option<Vec<PlannedStep<'a>>>,
    /// The number of the attempt in its step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<AgentId>)]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Incarnation>)]
    incarnation: Option<&'a str>,
    /// No agent for the step is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent_absent: Option<bool>,
    /// Since when the step is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    since: Option<String>,
    /// When the step's new state ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    until: Option<String>,
    /// How the attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<Outcome>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'a str>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<Envelope<'a>>,
    /// What came out of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Json>)]
    output: Option<Json>,
    /// The step whose output is the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<StepId>)]
    final_step: Option<&'a str>,
}

/// An event's JSON, on one line.
pub(super) async fn event_json(store: &dyn Store, task: &Task, event: &Event) -> Result<String, ApiError> {
    let output = match &event.kind {
        EventKind::StepSucceeded { output, .. } => Some(resolve(store, &task.key, output).await?),
        _ => None,
    };
    let (step, detail) = describe(&event.kind, &task.plan);
    let step = step.map(|index| task.plan.step(index));
    let wire = WireEvent {
        seq: event.seq,
        at: rfc3339(event.at),
        task_id: task.key.id.as_str(),
        kind: kind(&event.kind),
        sub_id: step.map(|spec| spec.id.as_str()),
        stage: step.map(|spec| spec.capability.as_str()),
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

fn kind(kind: &EventKind) -> Kind {
    match kind {
        EventKind::Accepted { .. } => Kind::Accepted,
        EventKind::Planned { .. } => Kind::Planned,
        EventKind::StepPlaced { .. } => Kind::StepPlaced,
        EventKind::StepQueued { .. } => Kind::StepQueued,
        EventKind::StepBackedOff { .. } => Kind::StepBackedOff,
        EventKind::AttemptEnded { .. } => Kind::AttemptEnded,
        EventKind::StepSucceeded { .. } => Kind::StepSucceeded,
        EventKind::StepFailed { .. } => Kind::StepFailed,
        EventKind::StepSkipped { .. } => Kind::StepSkipped,
        EventKind::TaskSucceeded { .. } => Kind::TaskSucceeded,
        EventKind::TaskFailed { .. } => Kind::TaskFailed,
        EventKind::TaskCancelled { .. } => Kind::TaskCancelled,
    }
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
            let (attempt, outcome) = (Some(attempt.0), Some(end_outcome(end)));
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
