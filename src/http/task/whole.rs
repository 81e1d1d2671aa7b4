//! `GET /task/{id}`: the whole task in the wire's words. Internal forms (step indices, milliseconds, tagged enums) end
//! here: people and programs see names, RFC 3339 times and flat objects.

use super::pipeline::{Links, is_final, resolve, task_error};
use crate::http::error::{ApiError, Envelope};
use crate::http::time::rfc3339;
use crate::messages::Usage;
use crate::store::Store;
use crate::task::{
    Attempt, AttemptEnd, Json, Limits, Options, Request, Scope, Step, StepIndex, StepSpec, StepState, Task,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything about a task.
#[derive(Debug, Serialize)]
pub(super) struct WholeTask<'a> {
    task_id: &'a str,
    status: &'static str,
    /// The number of its last event.
    version: u64,
    objective: Arc<str>,
    context: Json,
    options: &'a Options,
    budget_scopes: &'a [Scope],
    accepted_at: String,
    deadline_at: String,
    updated_at: String,
    ended_at: Option<String>,
    error: Option<Envelope<'a>>,
    plan: Vec<PlannedStep<'a>>,
    steps: Vec<WholeStep<'a>>,
    /// The step whose output is the answer.
    final_step: Option<&'a str>,
    /// Over all steps; none when no provider counted.
    usage: Option<Usage>,
    links: Links,
}

/// A step as planned.
#[derive(Debug, Serialize)]
pub(super) struct PlannedStep<'a> {
    sub_id: &'a str,
    stage: &'a str,
    needs: Vec<&'a str>,
    optional: bool,
    limits: Limits,
}

/// A step as it stands.
#[derive(Debug, Serialize)]
struct WholeStep<'a> {
    sub_id: &'a str,
    stage: &'a str,
    status: &'static str,
    #[serde(flatten)]
    detail: Detail<'a>,
    failures: u32,
    crashes: u32,
    losses: u32,
    attempts: Vec<WholeAttempt<'a>>,
    output: Option<Json>,
    usage: Option<Usage>,
}

/// What only some states have.
#[derive(Debug, Default, Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_absent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Envelope<'a>>,
}

/// One assignment of a step.
#[derive(Debug, Serialize)]
struct WholeAttempt<'a> {
    attempt: u32,
    agent_id: &'a str,
    incarnation: &'a str,
    reason: &'a str,
    placed_at: String,
    /// `running`, `succeeded`, `superseded`, or how else it ended.
    outcome: &'static str,
    ended_at: Option<String>,
    error: Option<Envelope<'a>>,
}

/// Reads what of the task is kept beside it, and puts all of it together.
pub(super) async fn whole_task<'a>(store: &dyn Store, task: &'a Task) -> Result<WholeTask<'a>, ApiError> {
    let request = resolve(store, &task.key, &task.request).await?;
    let request: Request = request
        .parse()
        .map_err(|error| ApiError::internal(format!("the request of task {} cannot be read: {error}", task.key)))?;
    let mut steps = Vec::new();
    for index in task.plan.indices() {
        steps.push(whole_step(store, task, index).await?);
    }
    let mut indices = task.plan.indices();
    Ok(WholeTask {
        task_id: task.key.id.as_str(),
        status: task.status().name(),
        version: task.version,
        objective: request.objective,
        context: request.context,
        options: &task.options,
        budget_scopes: &task.budget_scopes,
        accepted_at: rfc3339(task.accepted_at),
        deadline_at: rfc3339(task.deadline_at),
        updated_at: rfc3339(task.updated_at),
        ended_at: task.end.as_ref().map(|end| rfc3339(end.at)),
        error: task_error(task),
        plan: task.plan.steps().iter().map(|spec| planned(spec, task.plan.steps())).collect(),
        final_step: indices.find(|&index| is_final(task, index)).map(|index| task.plan.step(index).id.as_str()),
        usage: steps.iter().filter_map(|step| step.usage).reduce(sum),
        steps,
        links: Links::of(&task.key.id),
    })
}

/// A step as planned, in a plan of these steps.
pub(super) fn planned<'a>(spec: &'a StepSpec, steps: &'a [StepSpec]) -> PlannedStep<'a> {
    PlannedStep {
        sub_id: spec.id.as_str(),
        stage: spec.capability.as_str(),
        needs: spec.needs.iter().filter_map(|need| steps.get(need.position())).map(|need| need.id.as_str()).collect(),
        optional: spec.optional,
        limits: spec.limits,
    }
}

async fn whole_step<'a>(store: &dyn Store, task: &'a Task, index: StepIndex) -> Result<WholeStep<'a>, ApiError> {
    let (spec, step) = task.step(index);
    let output = match &step.state {
        StepState::Succeeded { output, .. } => Some(resolve(store, &task.key, output).await?),
        _ => None,
    };
    Ok(WholeStep {
        sub_id: spec.id.as_str(),
        stage: spec.capability.as_str(),
        status: step.state.name(),
        detail: detail(step),
        failures: step.failures,
        crashes: step.crashes,
        losses: step.losses,
        attempts: step.attempts.iter().enumerate().map(|(at, attempt)| whole_attempt(step, at, attempt)).collect(),
        usage: output.as_ref().and_then(usage),
        output,
    })
}

fn detail(step: &Step) -> Detail<'_> {
    let agent_id = step.current().map(|(_, attempt)| attempt.agent.as_str());
    let detail = Detail { agent_id, ..Detail::default() };
    match &step.state {
        StepState::Pending => detail,
        StepState::Queued { since, agent_absent, recheck_at } => Detail {
            since: Some(rfc3339(*since)),
            agent_absent: Some(*agent_absent),
            until: Some(rfc3339(*recheck_at)),
            ..detail
        },
        StepState::BackingOff { until } => Detail { until: Some(rfc3339(*until)), ..detail },
        StepState::Running { timeout_at } => Detail { until: Some(rfc3339(*timeout_at)), ..detail },
        StepState::Succeeded { at, attempt, .. } => {
            let agent_id = step.attempt(*attempt).map(|attempt| attempt.agent.as_str());
            Detail { agent_id, ended_at: Some(rfc3339(*at)), ..detail }
        }
        StepState::Failed { at, failure } => {
            Detail { ended_at: Some(rfc3339(*at)), error: Some(failure.into()), ..detail }
        }
        StepState::Skipped { at, reason } => Detail { ended_at: Some(rfc3339(*at)), reason: Some(reason), ..detail },
        StepState::Cancelled { at } => Detail { ended_at: Some(rfc3339(*at)), ..detail },
    }
}

fn whole_attempt<'a>(step: &'a Step, position: usize, attempt: &'a Attempt) -> WholeAttempt<'a> {
    let number = position as u32 + 1;
    let (outcome, ended_at) = match (&attempt.ended, &step.state) {
        (Some((at, end)), _) => (end_name(end), Some(*at)),
        (None, StepState::Succeeded { at, attempt: counted, .. }) if counted.0 == number => ("succeeded", Some(*at)),
        (None, StepState::Cancelled { at }) => ("cancelled", Some(*at)),
        (None, _) => ("running", None),
    };
    WholeAttempt {
        attempt: number,
        agent_id: attempt.agent.as_str(),
        incarnation: attempt.incarnation.as_str(),
        reason: &attempt.reason,
        placed_at: rfc3339(attempt.placed_at),
        outcome,
        ended_at: ended_at.map(rfc3339),
        error: attempt.ended.as_ref().and_then(|(_, end)| end_error(end)),
    }
}

/// How an attempt ended, in one word.
pub(super) fn end_name(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Failed(_) => "retryable_failure",
        AttemptEnd::Fatal(_) => "fatal_failure",
        AttemptEnd::TimedOut => "timeout",
        AttemptEnd::Crashed(_) => "crashed",
        AttemptEnd::Lost(_) => "lost",
        AttemptEnd::Superseded => "superseded",
    }
}

/// Why it ended so, where there is more to say.
pub(super) fn end_error(end: &AttemptEnd) -> Option<Envelope<'_>> {
    match end {
        AttemptEnd::Failed(failure) | AttemptEnd::Fatal(failure) | AttemptEnd::Crashed(failure) => Some(failure.into()),
        AttemptEnd::Lost(loss) => Some(Envelope::new(crate::task::ErrorCode::WorkerUnavailable, loss.name())),
        AttemptEnd::TimedOut | AttemptEnd::Superseded => None,
    }
}

/// The part of an output that says what its model call used; a foreign worker's may say anything there.
#[derive(Deserialize)]
struct Counted {
    metadata: CountedMetadata,
}

#[derive(Deserialize)]
struct CountedMetadata {
    usage: Usage,
}

fn usage(output: &Json) -> Option<Usage> {
    output.parse::<Counted>().ok().map(|output| output.metadata.usage)
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_where_it_is_said() {
        let usage_of = |text: &str| usage(&Json::from_text(text.into()).unwrap());
        let said = r#"{"text":"x","metadata":{"usage":{"input_tokens":3,"output_tokens":4},"more":[]}}"#;
        assert_eq!(usage_of(said), Some(Usage { input_tokens: 3, output_tokens: 4 }));
        for silent in [r#"{"metadata":null}"#, r#"{"metadata":{"usage":null}}"#, r#"{"metadata":7}"#, "[]"] {
            assert_eq!(usage_of(silent), None);
        }
    }
}
