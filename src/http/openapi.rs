//! `GET /openapi.json`: the description of this API for programs, made from the types and routes themselves. What it says
//! of a type stands at the type, and of a route at its handler; here it is put together.

use super::error::{ApiError, Envelope};
use super::fixed::{Fixed, Known};
use super::refusals::Open;
use super::task::event_wire::WireEvent;
use super::{Api, agents, docs, health, metrics, resource, supervision, task, tasks, team};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

/// What every reader should know before the routes.
const ABOUT: &str = "\
Callboard runs a team of LLM agents as one durable, supervised program. Hand in a task, wait for its answer or follow its \
log, and see who works on it.

Whatever is not a success is answered with one envelope, `ErrorResponse`: a `code` that programs branch on, a `message` \
that says what happened and what to do next, and `details`. 429 and 503 carry `Retry-After`; the same request may then be \
sent again, and with a `task_id` or an `Idempotency-Key` it is never carried out twice.

A path that is not listed is answered with 404, and a method that its path does not have with 405 and `Allow`. A head that \
is not HTTP, too large, or too slow to arrive is answered with 400, 431 or 408, without a body.

Moments are RFC 3339 in UTC. A key opens the tasks of its tenant and no others.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Callboard", description = ABOUT),
    tags(
        (name = "tasks", description = "Handing tasks in, reading them, following them, cancelling them"),
        (name = "team", description = "Who works here, and how they do"),
        (name = "operation", description = "For operators and their tools"),
    ),
    paths(
        task::submit::submit, task::read, task::cancel, task::result, task::events::events, tasks::list, agents::list,
        team::team, supervision::tree, health::health, health::ready, metrics::scrape, description, docs::page,
    ),
    components(schemas(Envelope<'static>, WireEvent<'static>)),
)]
struct Description;

/// The description of an API that asks for keys, or of one that is open to all.
pub(super) fn describe(has_keys: bool) -> utoipa::openapi::OpenApi {
    let mut api = Description::openapi();
    let keys = [
        ("bearer", HttpAuthScheme::Bearer, "The key as a token"),
        ("basic", HttpAuthScheme::Basic, "The key as the password; any user"),
    ];
    let components = api.components.get_or_insert_default();
    for (name, scheme, words) in keys {
        let scheme = Http::builder().scheme(scheme).description(Some(words)).build();
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    let mut either = ["bearer", "basic"].map(|name| SecurityRequirement::new(name, [""; 0])).to_vec();
    if !has_keys {
        either.insert(0, SecurityRequirement::default());
    }
    api.security = Some(either);
    api
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/openapi.json", "GET").route(web::get().to(description)));
}

/// This API for programs
#[utoipa::path(get, path = "/openapi.json", tag = "operation", operation_id = "read_openapi", security(()),
    params(Known),
    responses((status = OK, description = "This document", body = Object),
        (status = NOT_MODIFIED, description = "The client has it already"), Open))]
pub(super) async fn description(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let has_keys = api.site.options.keys.is_some();
    let document = api.document.get_or_init(|| match describe(has_keys).to_json() {
        Ok(text) => Ok(Fixed::new(text, "application/json")),
        Err(error) => Err(error.to_string().into()),
    });
    let document = document.as_ref().map_err(|error| ApiError::internal(format!("the API has no JSON: {error}")))?;
    Ok(document.answer(&request, |_| {}))
}
