//! `GET /task/{id}`: the whole task in the wire's words. Internal forms (step indices, milliseconds, tagged enums) end
//! here: people and programs see names, RFC 3339 times and flat objects.

use super::pipeline::{Links, is_final, resolve, task_error};
use crate::http::error::{ApiError, Envelope};
use crate::http::time::rfc3339;
use crate::messages::Usage;
use crate::store::Store;
use crate::task::{
    AgentId, Attempt, AttemptEnd, Capability, Incarnation, Json, Limits, Options, Request, Scope, Status, Step, StepId,
    StepIndex, StepSpec, StepState, Task, TaskId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Everything about a task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub(super) struct WholeTask<'a> {
    #[schema(value_type = TaskId)]
    task_id: &'a str,
    status: Status,
    /// The number of its last event.
    version: u64,
    /// What is to be done, in the client's words.
    objective: Arc<str>,
    /// What the client wants the agents to know.
    #[schema(value_type = Object)]
    context: Json,
    #[schema(value_type = Options)]
    options: &'a Options,
    /// What its spending is charged to.
    #[schema(value_type = [Scope])]
    budget_scopes: &'a [Scope],
    #[schema(format = DateTime)]
    accepted_at: String,
    /// When it fails as late.
    #[schema(format = DateTime)]
    deadline_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// Why it did not end well.
    #[schema(required)]
    error: Option<Envelope<'a>>,
    /// What is to be done, step by step.
    plan: Vec<PlannedStep<'a>>,
    /// How each step stands, in the plan's order.
    steps: Vec<WholeStep<'a>>,
    /// The step whose output is the answer.
    #[schema(required, value_type = Option<StepId>)]
    final_step: Option<&'a str>,
    /// Over all steps; null when no provider counted.
    #[schema(required)]
    usage: Option<Usage>,
    links: Links,
}

/// A step as planned.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlannedStep<'a> {
    #[schema(value_type = StepId)]
    sub_id: &'a str,
    #[schema(value_type = Capability)]
    stage: &'a str,
    /// The steps whose end it waits for.
    #[schema(value_type = [StepId])]
    needs: Vec<&'a str>,
    /// Whether the task can do without it.
    optional: bool,
    limits: Limits,
}

/// A step as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
struct WholeStep<'a> {
    #[schema(value_type = StepId)]
    sub_id: &'a str,
    #[schema(value_type = Capability)]
    stage: &'a str,
    status: StepStatus,
    #[serde(flatten)]
    #[schema(inline)]
    detail: Detail<'a>,
    /// Attempts that failed or took too long.
    failures: u32,
    /// Attempts that panicked.
    crashes: u32,
    /// Attempts that ended for no fault of their own.
    losses: u32,
    /// Every attempt ever assigned, oldest first.
    attempts: Vec<WholeAttempt<'a>>,
    /// What came out; null before and without success.
    #[schema(required, value_type = Json)]
    output: Option<Json>,
    /// What its model calls used; null when the provider did not count.
    #[schema(required)]
    usage: Option<Usage>,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StepStatus {
    /// It waits for the steps it needs.
    Pending,
    /// It waits for a slot or an agent.
    Queued,
    /// It pauses before another attempt.
    BackingOff,
    Running,
    Succeeded,
    Failed,
    /// It was optional, and left out.
    Skipped,
    /// Its task ended first.
    Cancelled,
}

/// What only some states have.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Detail<'a> {
    /// Who has it, or whose result counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<AgentId>)]
    agent_id: Option<&'a str>,
    /// Since when it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    since: Option<String>,
    /// While it is queued: no agent for it is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent_absent: Option<bool>,
    /// When the present state ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    ended_at: Option<String>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'a str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<Envelope<'a>>,
}

/// One assignment of a step to an agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct WholeAttempt<'a> {
    /// Its number in the step, from 1.
    #[schema(minimum = 1)]
    attempt: u32,
    #[schema(value_type = AgentId)]
    agent_id: &'a str,
    #[schema(value_type = Incarnation)]
    incarnation: &'a str,
    /// Why to that agent.
    reason: &'a str,
    #[schema(format = DateTime)]
    placed_at: String,
    outcome: Outcome,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    #[schema(required)]
    error: Option<Envelope<'a>>,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Running,
    Succeeded,
    /// Its task ended first.
    Cancelled,
    /// It failed, and another attempt may succeed.
    RetryableFailure,
    /// It failed, and no other would succeed.
    FatalFailure,
    /// It ran longer than its step may.
    Timeout,
    /// It panicked.
    Crashed,
    /// It ended for no fault of its own.
    Lost,
    /// Another attempt's success came first.
    Superseded,
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
        status: task.status(),
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
        status: step_status(&step.state),
        detail: detail(step),
        failures: step.failures,
        crashes: step.crashes,
        losses: step.losses,
        attempts: step.attempts.iter().enumerate().map(|(at, attempt)| whole_attempt(step, at, attempt)).collect(),
        usage: output.as_ref().and_then(usage),
        output,
    })
}

fn step_status(state: &StepState) -> StepStatus {
    match state {
        StepState::Pending => StepStatus::Pending,
        StepState::Queued { .. } => StepStatus::Queued,
        StepState::BackingOff { .. } => StepStatus::BackingOff,
        StepState::Running { .. } => StepStatus::Running,
        StepState::Succeeded { .. } => StepStatus::Succeeded,
        StepState::Failed { .. } => StepStatus::Failed,
        StepState::Skipped { .. } => StepStatus::Skipped,
        StepState::Cancelled { .. } => StepStatus::Cancelled,
    }
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
        (Some((at, end)), _) => (end_outcome(end), Some(*at)),
        (None, StepState::Succeeded { at, attempt: counted, .. }) if counted.0 == number => {
            (Outcome::Succeeded, Some(*at))
        }
        (None, StepState::Cancelled { at }) => (Outcome::Cancelled, Some(*at)),
        (None, _) => (Outcome::Running, None),
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
pub(super) fn end_outcome(end: &AttemptEnd) -> Outcome {
    match end {
        AttemptEnd::Failed(_) => Outcome::RetryableFailure,
        AttemptEnd::Fatal(_) => Outcome::FatalFailure,
        AttemptEnd::TimedOut => Outcome::Timeout,
        AttemptEnd::Crashed(_) => Outcome::Crashed,
        AttemptEnd::Lost(_) => Outcome::Lost,
        AttemptEnd::Superseded => Outcome::Superseded,
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
