//! The wire's `PipelineResponse`, which is also how a task stands so far: the stages that ended with an
//! ExecutionStatus, and the final output. Outputs pass through as the text they were stored as.

use crate::http::error::{ApiError, Envelope};
use crate::http::request::task_path;
use crate::store::Store;
use crate::task::{
    AttemptEnd, Capability, ErrorCode, Failure, Json, Payload, Status, Step, StepId, StepIndex, StepSpec, StepState,
    Task, TaskId, TaskKey, TaskOutcome,
};
use serde::Serialize;
use utoipa::ToSchema;

/// How a task stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PipelineResponse)]
pub(super) struct PipelineResponse<'a> {
    #[schema(value_type = TaskId)]
    task_id: &'a str,
    status: Status,
    /// The stages that succeeded or failed so far, in the plan's order.
    stages: Vec<StageResult<'a>>,
    /// The answer: the last succeeded stage's output, once the task has succeeded; null until then.
    #[schema(required, value_type = Json)]
    final_output: Option<Json>,
    /// Why it did not end well; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<Envelope<'a>>,
    links: Links,
}

/// A stage that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PipelineStageResult)]
struct StageResult<'a> {
    #[schema(value_type = Capability)]
    stage: &'a str,
    /// Who had it last; empty when nobody ever did.
    agent_id: &'a str,
    #[schema(value_type = StepId)]
    sub_id: &'a str,
    status: ExecutionStatus,
    /// What came out; an empty object when it failed.
    output: Json,
    #[schema(required)]
    error: Option<Envelope<'a>>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ExecutionStatus {
    Succeeded,
    /// It might have succeeded at another time.
    RetryableFailure,
    FatalFailure,
}

/// Where to read on, as paths on this server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Links {
    /// The whole task.
    #[serde(rename = "self")]
    itself: String,
    result: String,
    events: String,
}

impl Links {
    /// Those of a task.
    pub(super) fn of(id: &TaskId) -> Self {
        let itself = task_path(id);
        Self { result: format!("{itself}/result"), events: format!("{itself}/events"), itself }
    }
}

/// How a task stands.
pub(super) async fn pipeline_response<'a>(store: &dyn Store, task: &'a Task) -> Result<PipelineResponse<'a>, ApiError> {
    let mut stages = Vec::new();
    let mut final_output = None;
    for index in task.plan.indices() {
        let (spec, step) = task.step(index);
        if let Some(stage) = stage_result(store, &task.key, spec, step).await? {
            if is_final(task, index) {
                final_output = Some(stage.output.clone());
            }
            stages.push(stage);
        }
    }
    Ok(PipelineResponse {
        task_id: task.key.id.as_str(),
        status: task.status(),
        stages,
        final_output,
        error: task_error(task),
        links: Links::of(&task.key.id),
    })
}

async fn stage_result<'a>(
    store: &dyn Store,
    key: &TaskKey,
    spec: &'a StepSpec,
    step: &'a Step,
) -> Result<Option<StageResult<'a>>, ApiError> {
    let (agent, status, output, error) = match &step.state {
        StepState::Succeeded { attempt, output, .. } => {
            (step.attempt(*attempt), ExecutionStatus::Succeeded, resolve(store, key, output).await?, None)
        }
        StepState::Failed { failure, .. } => {
            let status = failed_status(step, failure);
            (step.attempts.last(), status, empty_object(), Some(Envelope::from(failure)))
        }
        _ => return Ok(None),
    };
    Ok(Some(StageResult {
        stage: spec.capability.as_str(),
        // Text on the wire, also where no agent ever had it.
        agent_id: agent.map_or("", |attempt| attempt.agent.as_str()),
        sub_id: spec.id.as_str(),
        status,
        output,
        error,
    }))
}

/// Whether a step that failed for good might have succeeded at another time.
fn failed_status(step: &Step, failure: &Failure) -> ExecutionStatus {
    let last = step.attempts.last().and_then(|attempt| attempt.ended.as_ref());
    match last {
        Some((_, AttemptEnd::Fatal(_) | AttemptEnd::Crashed(_))) => ExecutionStatus::FatalFailure,
        Some(_) => ExecutionStatus::RetryableFailure,
        None if failure.code == ErrorCode::RoutingError => ExecutionStatus::RetryableFailure,
        None => ExecutionStatus::FatalFailure,
    }
}

/// Whether the task's answer is this step's output.
pub(super) fn is_final(task: &Task, index: StepIndex) -> bool {
    matches!(&task.end, Some(end) if end.outcome == TaskOutcome::Succeeded(Some(index)))
}

/// Why a task did not end well.
pub(super) fn task_error(task: &Task) -> Option<Envelope<'_>> {
    match &task.end.as_ref()?.outcome {
        TaskOutcome::Succeeded(_) => None,
        TaskOutcome::Failed(failure) => Some(Envelope::from(failure)),
        TaskOutcome::Cancelled(reason) => Some(Envelope::new(ErrorCode::Cancelled, reason)),
    }
}

/// A payload's text, wherever it is kept.
pub(super) async fn resolve(store: &dyn Store, key: &TaskKey, payload: &Payload) -> Result<Json, ApiError> {
    match payload {
        Payload::Inline(json) => Ok(json.clone()),
        Payload::Stored { name, .. } => store
            .payload(key, name)
            .await?
            .ok_or_else(|| ApiError::internal(format!("the payload {name} of task {key} is missing"))),
    }
}

fn empty_object() -> Json {
    Json::of(&serde_json::Map::new()).unwrap_or_else(|_| Json::null())
}
