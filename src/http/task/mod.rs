//! One task: taking it, reading it whole, as a result or as a stream of events, and cancelling it. Each writes through
//! the master and reads from the store.

mod event_wire;
mod events;
mod objective;
mod pipeline;
mod submit;
mod wait;
mod whole;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::request::{task_key, wished_wait};
use super::resource;
use crate::messages::{CallContext, Cancel};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/task", "POST").route(web::post().to(submit::submit)))
        .service(resource("/task/{id}", "GET, DELETE").route(web::get().to(read)).route(web::delete().to(cancel)))
        .service(resource("/task/{id}/result", "GET").route(web::get().to(result)))
        .service(resource("/task/{id}/events", "GET").route(web::get().to(events::events)));
}

/// `GET /task/{id}`: all there is to know of it.
async fn read(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let task = wait::load(&api, &key).await?;
    Ok(HttpResponse::Ok().json(whole::whole_task(&*api.store, &task).await?))
}

/// `GET /task/{id}/result`: the predecessor's answer, once there is one, or once the time to wait for it is over.
async fn result(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let longest = wished_wait(&request, api.options.max_wait)?.unwrap_or_default();
    let task = wait::wait(&api, &key, longest).await?;
    let status = if task.end.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(HttpResponse::build(status).json(pipeline::pipeline_response(&*api.store, &task).await?))
}

/// `DELETE /task/{id}`: ends it. A second time finds it cancelled and says the same.
async fn cancel(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let key = task_key(&request, &caller).await?;
    let context = CallContext { task: Some(key.clone()), ..CallContext::default() };
    let message = Cancel { key, reason: "cancelled by its client".into() };
    let task = api.cancel.ask(message, context, api.options.answer_within).await??;
    Ok(HttpResponse::Ok().json(pipeline::pipeline_response(&*api.store, &task).await?))
}
