//! `POST /task`: hands a submission to the master and answers once it is committed, or, when asked to wait, once the
//! task has ended.

use super::objective::{self, TaskObjective};
use super::pipeline::{PipelineResponse, pipeline_response};
use super::wait::wait;
use crate::http::Api;
use crate::http::TeamStage;
use crate::http::auth::Caller;
use crate::http::error::{ApiError, Envelope, draining};
use crate::http::refusals::{Bounded, Guarded, Invalid, Stored};
use crate::http::request::{
    PreferredWait, Wait, body, check_depth, check_length, concerns, header, task_path, wished_wait,
};
use crate::messages::{CallContext, Submit};
use crate::task::{AgentId, Capability, Submission, Task};
use actix_web::http::{StatusCode, header as names};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// Hands in a task
///
/// It is answered once the task is committed: from then on it is not lost. With a wait it is answered once the task has
/// ended, or with its state so far when the wait is over. The body's content type is not asked: nothing but JSON is
/// understood.
#[utoipa::path(post, path = "/task", tag = "tasks", operation_id = "submit_task",
    params(Wait, PreferredWait, Named),
    request_body(content = TaskObjective, description = "At most 2 MiB and 100 levels of nesting, unless set otherwise"),
    responses(
        (status = OK, description = "It has ended within the wait that was asked for", body = PipelineResponse<'static>,
            headers(("Location" = String, description = "Where the whole task is"))),
        (status = ACCEPTED, description = "It is accepted, with its state so far", body = PipelineResponse<'static>,
            headers(("Location" = String, description = "Where the whole task is"))),
        (status = BAD_REQUEST, description = "The body is not JSON, or broke off", body = Envelope<'static>),
        (status = NOT_FOUND, description = "It ended and was removed while the client waited", body = Envelope<'static>),
        (status = REQUEST_TIMEOUT, description = "The body did not arrive in time", body = Envelope<'static>),
        (status = CONFLICT, description = "Another task has this name, or this name another body", body = Envelope<'static>),
        (status = PAYLOAD_TOO_LARGE, description = "The body is too large", body = Envelope<'static>),
        Guarded, Invalid, Bounded, Stored))]
pub(in crate::http) async fn submit(
    caller: Caller,
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    check_length(request.headers(), api.site.options.max_body_bytes)?;
    let idempotency_key = idempotency_key(&request)?;
    let wished = wished_wait(&request, api.options.max_wait)?;
    let body = body(payload, api.site.options.max_body_bytes, api.site.options.body_timeout).await?;
    check_depth(&body, api.site.options.max_json_depth)?;
    let submission = objective::parse(&body, &caller.tenant, idempotency_key)?;
    concerns(&request, &submission.key.id);
    if api.site.readiness.is_draining() {
        return Err(draining());
    }
    if api.options.is_routing {
        return subtasks(&api, &submission).await;
    }
    let task = commit(&api, &request, submission).await?;
    concerns(&request, &task.key.id);
    let longest = wished.unwrap_or(api.options.task_wait).min(api.options.max_wait);
    // What was committed is what there is, and need not be read again.
    let task = if longest.is_zero() { task } else { wait(&api, &task.key, longest).await? };
    // The predecessor's clients know no other success than 202; who asks for a wait knows ours.
    let is_done_as_asked = task.end.is_some() && wished.is_some_and(|wait| wait > Duration::ZERO);
    let status = if is_done_as_asked { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = pipeline_response(&*api.store, &task).await?;
    Ok(HttpResponse::build(status).insert_header((names::LOCATION, task_path(&task.key.id))).json(answer))
}

/// The headers that say what a submission is, for their description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the handler reads them by name")]
struct Named {
    /// The client's own name for this submission: the same with the same body answers with the same task.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    idempotency_key: Option<String>,
    /// The W3C trace that the request is part of.
    #[param(nullable = false)]
    traceparent: Option<String>,
}

/// The client's own name for the submission.
fn idempotency_key(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    let key = header(request, "idempotency-key");
    if key.is_none() && request.headers().contains_key("idempotency-key") {
        return Err(ApiError::invalid("Idempotency-Key", "Idempotency-Key must be visible ASCII"));
    }
    Ok(key)
}

/// What a routing master answers: the steps that there are to dispatch, of which it runs none.
#[derive(Serialize)]
struct Subtasks<'a> {
    task_id: &'a str,
    subtasks: Vec<SubTask<'a>>,
}

/// The wire's `SubTask`.
#[derive(Serialize)]
struct SubTask<'a> {
    task_id: &'a str,
    sub_id: String,
    command: &'a Capability,
    description: &'a str,
    target_capability: &'a Capability,
    metadata: Hint<'a>,
}

#[derive(Serialize)]
struct Hint<'a> {
    /// A live agent that could take it; null when there is none.
    agent_hint: Option<&'a AgentId>,
}

async fn subtasks(api: &Api, submission: &Submission) -> Result<HttpResponse, ApiError> {
    let agents = api.store.agents().await?;
    let team = api.team.borrow().clone();
    let task_id = submission.key.id.as_str();
    let able = |capability: &Capability| {
        let able = agents.iter().find(|record| record.declaration.capabilities.contains(capability));
        able.map(|record| &record.declaration.agent)
    };
    // A stage that can be left out is one while an agent for it lives, as in a pipeline.
    let stages = team.stages.iter().filter(|stage| !stage.optional || able(&stage.capability).is_some());
    let subtask = |(stage, number): (&'_ TeamStage, u32)| (format!("{task_id}-S{number}"), stage.capability.clone());
    let named: Vec<_> = stages.zip(1..).map(subtask).collect();
    let subtasks = named.iter().map(|(sub_id, capability)| SubTask {
        task_id,
        sub_id: sub_id.clone(),
        command: capability,
        description: &submission.request.objective,
        target_capability: capability,
        metadata: Hint { agent_hint: able(capability) },
    });
    Ok(HttpResponse::Accepted().json(Subtasks { task_id, subtasks: subtasks.collect() }))
}

/// Hands the submission to the master; what comes back is committed.
async fn commit(api: &Api, request: &HttpRequest, submission: Submission) -> Result<Arc<Task>, ApiError> {
    let context = CallContext {
        task: Some(submission.key.clone()),
        priority: submission.options.priority,
        trace: header(request, "traceparent").filter(|text| is_traceparent(text)).map(Into::into),
        ..CallContext::default()
    };
    let submitted = api.submit.ask(Submit(submission), context, api.options.answer_within).await??;
    Ok(submitted.task)
}

/// Whether a text is a W3C trace context of the version that everybody speaks.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_context_is_passed_on() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01"));
        assert!(!is_traceparent("00-4bf9-00f067aa0ba902b7-01"));
        assert!(!is_traceparent(""));
    }
}
