//! `GET /team`: who works here and which stages a new task passes, as the team's file was last read, and how the last
//! reload went.

use super::auth::Caller;
use super::error::ApiError;
use super::refusals::Guarded;
use super::time::rfc3339;
use super::{Api, resource};
use crate::task::{AgentId, At, Capability, Limits};
use actix_web::{HttpResponse, web};
use serde::{Serialize, Serializer};
use std::sync::Arc;
use utoipa::ToSchema;

/// The team as shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Team)]
pub struct TeamView {
    /// Its name, for people.
    pub name: Arc<str>,
    /// What it is for.
    #[schema(required)]
    pub description: Option<Arc<str>>,
    /// Its file, or that it is the default one.
    pub source: Arc<str>,
    /// When it was read.
    #[serde(serialize_with = "moment")]
    #[schema(value_type = String, format = DateTime)]
    pub loaded_at: At,
    /// What a new task passes, in order.
    pub stages: Vec<TeamStage>,
    /// Who works here. Whether each is alive, `GET /agents` says.
    pub agents: Vec<TeamAgent>,
    /// The last time that it was read again; null when it never was.
    #[schema(required)]
    pub last_reload: Option<Reload>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TeamStage {
    /// What it takes.
    pub capability: Capability,
    /// Whether a task can do without it.
    pub optional: bool,
    /// What its step may cost.
    pub limits: Limits,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TeamAgent {
    /// Its name.
    pub agent_id: AgentId,
    /// What it is made of: `prompt`, `retriever`, or a name of the program's own.
    pub kind: Arc<str>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// What kind of specialist it is.
    pub ag2_profile: Arc<str>,
    /// What it is, for people.
    pub description: Arc<str>,
    /// How many steps at once.
    pub slots: u32,
    /// Who answers its model calls; null when the gateway's own provider does.
    #[schema(required)]
    pub provider: Option<Arc<str>>,
}

/// How reading it again went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reload {
    /// When.
    #[serde(serialize_with = "moment")]
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
    /// What was wrong; null when nothing was, and then it counts.
    #[schema(required)]
    pub fault: Option<String>,
}

impl Default for TeamView {
    fn default() -> Self {
        Self {
            name: "team".into(),
            description: None,
            source: "".into(),
            loaded_at: At(0),
            stages: Vec::new(),
            agents: Vec::new(),
            last_reload: None,
        }
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/team", "GET").route(web::get().to(team)));
}

/// Who works here, and which stages a new task passes
#[utoipa::path(get, path = "/team", tag = "team", operation_id = "read_team",
    responses((status = OK, description = "The team as its file was last read", body = TeamView), Guarded))]
pub(super) async fn team(_caller: Caller, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let view = api.team.borrow().clone();
    Ok(HttpResponse::Ok().json(&*view))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn moment<S: Serializer>(at: &At, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}
