//! The wire's `PipelineResponse`, which is also how a task stands so far: the stages that ended with an
//! ExecutionStatus, and the final output. Outputs pass through as the text they were stored as.

use crate::http::error::{ApiError, Envelope};
use crate::http::request::task_path;
use crate::store::Store;
use crate::task::{
    AttemptEnd, ErrorCode, Failure, Json, Payload, Step, StepIndex, StepSpec, StepState, Task, TaskId, TaskKey,
    TaskOutcome,
};
use serde::Serialize;

/// What every answer about a task begins with.
#[derive(Debug, Serialize)]
pub(super) struct PipelineResponse<'a> {
    task_id: &'a str,
    status: &'static str,
    stages: Vec<StageResult<'a>>,
    final_output: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Envelope<'a>>,
    links: Links,
}

/// The wire's `PipelineStageResult`.
#[derive(Debug, Serialize)]
struct StageResult<'a> {
    stage: &'a str,
    agent_id: &'a str,
    sub_id: &'a str,
    status: &'static str,
    output: Json,
    error: Option<Envelope<'a>>,
}

/// Where to read on.
#[derive(Debug, Serialize)]
pub(super) struct Links {
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
        status: task.status().name(),
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
            (step.attempt(*attempt), "succeeded", resolve(store, key, output).await?, None)
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
fn failed_status(step: &Step, failure: &Failure) -> &'static str {
    let last = step.attempts.last().and_then(|attempt| attempt.ended.as_ref());
    match last {
        Some((_, AttemptEnd::Fatal(_) | AttemptEnd::Crashed(_))) => "fatal_failure",
        Some(_) => "retryable_failure",
        None if failure.code == ErrorCode::RoutingError => "retryable_failure",
        None => "fatal_failure",
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
