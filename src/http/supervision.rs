//! `GET /supervision`: the tree of actors and running steps as it is now. Where callers may be strangers to each other,
//! names of running steps and words of failures, which may come from anybody's task, are left out.

use super::auth::{ApiKeys, Caller};
use super::error::ApiError;
use super::refusals::Guarded;
use super::{Site, resource};
use crate::actors::NodeView;
use actix_web::{HttpResponse, web};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/supervision", "GET").route(web::get().to(tree)));
}

/// The tree of actors and running steps as it is now
///
/// Where keys of several tenants exist, names of running steps and words of failures are left out.
#[utoipa::path(get, path = "/supervision", tag = "team", operation_id = "read_supervision",
    responses((status = OK, description = "The root, and what runs below it", body = NodeView), Guarded))]
pub(super) async fn tree(_caller: Caller, site: web::Data<Site>) -> Result<HttpResponse, ApiError> {
    let mut view = site.tree.snapshot();
    if site.options.keys.as_ref().is_some_and(ApiKeys::has_several_tenants) {
        redact(&mut view);
    }
    Ok(HttpResponse::Ok().json(view))
}

/// Takes out what may tell one tenant about another's tasks.
fn redact(view: &mut NodeView) {
    if view.kind == "task" {
        view.name = "(a task)".to_owned();
    }
    if let Some(failure) = &mut view.last_failure {
        failure.text = "(see the server's log)".into();
    }
    view.children.iter_mut().for_each(redact);
}
