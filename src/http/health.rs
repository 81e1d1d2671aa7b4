//! `GET /health` and `GET /ready`, open to all, and the handle by which a process says that it is on its way out. Only a
//! lost store or a drain makes it unready: without agents it still takes tasks, and says `degraded`.

use super::error::{ApiError, draining};
use super::refusals::{Open, Stored};
use super::{Api, Site, resource};
use crate::store::StoreError;
use crate::task::Capability;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use utoipa::ToSchema;

/// How long the store may take to answer.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// Whether this process takes tasks. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    draining: Arc<watch::Sender<bool>>,
}

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    #[schema(inline)]
    status: Alive,
}

/// That it takes tasks.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    #[schema(inline)]
    status: Readily,
    /// What tasks need and no live agent can do.
    missing_capabilities: Vec<Capability>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Alive {
    Ok,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Readily {
    /// Every capability that a task needs has a live agent.
    Ready,
    /// One has none; tasks are taken, and wait for it.
    Degraded,
}

// === impl Readiness ===

impl Default for Readiness {
    fn default() -> Self {
        Self { draining: Arc::new(watch::Sender::new(false)) }
    }
}

impl Readiness {
    /// From now on: not ready, no new tasks, and whoever waits for a task is answered with its state so far.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the process is on its way out.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Hears when it is.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}

// === Routes ===

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/health", "GET").route(web::get().to(health)))
        .service(resource("/ready", "GET").route(web::get().to(ready)));
}

/// Whether the process lives
#[utoipa::path(get, path = "/health", tag = "operation", operation_id = "read_health", security(()),
    responses((status = OK, description = "It lives", body = Health)))]
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: Alive::Ok })
}

/// Whether it takes tasks
///
/// Only a lost store or a drain makes it unready: without agents it still takes tasks, and says `degraded`.
#[utoipa::path(get, path = "/ready", tag = "operation", operation_id = "read_readiness", security(()),
    responses((status = OK, description = "It takes tasks", body = Ready), Open, Stored))]
pub(super) async fn ready(site: web::Data<Site>, api: Option<web::Data<Api>>) -> Result<HttpResponse, ApiError> {
    if site.readiness.is_draining() {
        return Err(draining());
    }
    let missing = match api {
        Some(api) => missing(&api).await?,
        None => Vec::new(),
    };
    let status = if missing.is_empty() { Readily::Ready } else { Readily::Degraded };
    Ok(HttpResponse::Ok().json(Ready { status, missing_capabilities: missing }))
}

/// What a master's tasks need and no live agent can do.
async fn missing(api: &Api) -> Result<Vec<Capability>, ApiError> {
    let asked = async {
        api.store.check().await?;
        api.store.agents().await
    };
    let asked = tokio::time::timeout(CHECK_WITHIN, asked).await;
    let agents = asked.unwrap_or_else(|_| Err(StoreError::Unavailable("it did not answer in time".into())))?;
    let is_live = |wanted: &&Capability| agents.iter().any(|agent| agent.declaration.capabilities.contains(wanted));
    let team = api.team.borrow().clone();
    let needed = team.stages.iter().filter(|stage| !stage.optional).map(|stage| &stage.capability);
    Ok(needed.filter(|wanted| !is_live(wanted)).cloned().collect())
}
