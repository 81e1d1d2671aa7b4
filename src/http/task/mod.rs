//! One task: taking it, reading it whole, as a result or as a stream of events, and cancelling it. Each writes through
//! the master and reads from the store.

pub(super) mod event_wire;
pub(super) mod events;
mod objective;
mod pipeline;
pub(super) mod submit;
mod wait;
mod whole;

use super::Api;
use super::auth::Caller;
use super::error::{ApiError, Envelope};
use super::refusals::{Bounded, Guarded, Invalid, OfTask, Stored};
use super::request::{PreferredWait, Wait, task_key, wished_wait};
use super::resource;
use crate::messages::{CallContext, Cancel};
use crate::task::TaskId;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use pipeline::PipelineResponse;
use utoipa::IntoParams;
use whole::WholeTask;

/// The task that a path names, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "`task_key` reads it")]
struct Named {
    /// The task's `task_id`.
    #[param(inline)]
    id: TaskId,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/task", "POST").route(web::post().to(submit::submit)))
        .service(resource("/task/{id}", "GET, DELETE").route(web::get().to(read)).route(web::delete().to(cancel)))
        .service(resource("/task/{id}/result", "GET").route(web::get().to(result)))
        .service(resource("/task/{id}/events", "GET").route(web::get().to(events::events)));
}

/// The whole task: its plan, and every step with its attempts and output
#[utoipa::path(get, path = "/task/{id}", tag = "tasks", operation_id = "read_task", params(Named),
    responses((status = OK, description = "All there is to know of it", body = WholeTask<'static>), Guarded, OfTask, Stored))]
pub(super) async fn read(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let task = wait::load(&api, &key).await?;
    Ok(HttpResponse::Ok().json(whole::whole_task(&*api.store, &task).await?))
}

/// The answer, once there is one, or the state so far once the time to wait for it is over
#[utoipa::path(get, path = "/task/{id}/result", tag = "tasks", operation_id = "read_result",
    params(Named, Wait, PreferredWait),
    responses((status = OK, description = "The task has ended", body = PipelineResponse<'static>),
        (status = ACCEPTED, description = "It has not ended yet", body = PipelineResponse<'static>),
        Guarded, OfTask, Invalid, Stored))]
pub(super) async fn result(
    caller: Caller,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let longest = wished_wait(&request, api.options.max_wait)?.unwrap_or_default();
    let task = wait::wait(&api, &key, longest).await?;
    let status = if task.end.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(HttpResponse::build(status).json(pipeline::pipeline_response(&*api.store, &task).await?))
}

/// Cancels the task, for good
///
/// A second time finds it cancelled and says the same.
#[utoipa::path(delete, path = "/task/{id}", tag = "tasks", operation_id = "cancel_task", params(Named),
    responses((status = OK, description = "It is cancelled", body = PipelineResponse<'static>),
        (status = CONFLICT, description = "It had already succeeded or failed", body = Envelope<'static>),
        Guarded, OfTask, Bounded, Stored))]
pub(super) async fn cancel(
    caller: Caller,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let context = CallContext { task: Some(key.clone()), ..CallContext::default() };
    let message = Cancel { key, reason: "cancelled by its client".into() };
    let task = api.cancel.ask(message, context, api.options.answer_within).await??;
    Ok(HttpResponse::Ok().json(pipeline::pipeline_response(&*api.store, &task).await?))
}
