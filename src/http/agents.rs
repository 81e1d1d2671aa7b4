//! `GET /agents`: who is alive, what each can do and how busy it is. Addresses are shown without what they hold of
//! secrets.

use super::auth::Caller;
use super::error::ApiError;
use super::refusals::{Guarded, Stored};
use super::time::rfc3339;
use super::{Api, resource};
use crate::messages::AgentRecord;
use crate::task::{AgentId, Capability, Incarnation};
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// The live agents.
#[derive(Debug, Serialize, ToSchema)]
struct Agents<'a> {
    agents: Vec<Agent<'a>>,
}

/// One agent, as it said of itself and as it does.
#[derive(Debug, Serialize, ToSchema)]
struct Agent<'a> {
    #[schema(value_type = AgentId)]
    agent_id: &'a str,
    #[schema(value_type = Incarnation)]
    incarnation: &'a str,
    #[schema(value_type = [Capability])]
    capabilities: &'a [Capability],
    /// What kind of specialist it is.
    ag2_profile: &'a str,
    /// What it is, for people.
    #[schema(required)]
    description: Option<&'a str>,
    /// Where it is reached; null when it lives in the master's process.
    #[schema(required)]
    url: Option<String>,
    /// How many steps at once.
    slots: u32,
    /// How many just now.
    active: u32,
    /// How busy it is, 0 to 1.
    #[schema(minimum = 0)]
    load: f64,
    #[schema(format = DateTime)]
    last_heartbeat: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/agents", "GET").route(web::get().to(list)));
}

/// Who is alive, what each can do and how busy it is
#[utoipa::path(get, path = "/agents", tag = "team", operation_id = "list_agents",
    responses((status = OK, description = "The live agents", body = Agents<'static>), Guarded, Stored))]
pub(super) async fn list(_caller: Caller, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let records = api.store.agents().await?;
    Ok(HttpResponse::Ok().json(Agents { agents: records.iter().map(agent).collect() }))
}

fn agent(record: &AgentRecord) -> Agent<'_> {
    let declaration = &record.declaration;
    Agent {
        agent_id: declaration.agent.as_str(),
        incarnation: declaration.incarnation.as_str(),
        capabilities: &declaration.capabilities,
        ag2_profile: &declaration.profile,
        description: declaration.description.as_deref(),
        url: declaration.url.as_deref().map(without_user),
        slots: declaration.slots,
        active: record.active,
        load: record.load,
        last_heartbeat: rfc3339(record.last_heartbeat),
    }
}

/// A URL without its user part, in which workers may carry their token.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_user() {
        assert_eq!(without_user("http://a:secret@host:5000/x?y=@"), "http://host:5000/x?y=@");
        assert_eq!(without_user("http://a:s@cret@host"), "http://host");
        assert_eq!(without_user("http://host/a@b"), "http://host/a@b");
        assert_eq!(without_user("host"), "host");
    }
}
