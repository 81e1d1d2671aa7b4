//! `POST /dispatch`: one step of the caller's own, outside of any task's plan, for the best agent that can take it now. It
//! is kept as a task of one step, so that it is as durable as any other; the answer says who has it, and why.

use super::keys::dispatched_id;
use super::register::WireDeclaration;
use super::work_wire::{Entries, WorkIn};
use super::{ANSWER_WITHIN, internal_body};
use crate::actors::ActorRef;
use crate::http::auth::Colleague;
use crate::http::error::ApiError;
use crate::http::request::{concerns, header};
use crate::http::{Site, resource};
use crate::messages::{CallContext, Dispatch, Dispatched};
use crate::store::Store;
use crate::task::{AgentId, Json, Options, Request, StepId, Submission, TaskKey, Tenant};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What takes dispatched work in a process with a master.
pub struct DispatchPort {
    /// Who routes it.
    pub master: ActorRef<Dispatch>,
    /// For what the agents said of themselves.
    pub store: Arc<dyn Store>,
}

/// `RouteDecision`.
#[derive(Serialize)]
struct WireDecision<'a> {
    selected_agent: &'a str,
    reason: &'a str,
    considered: Vec<WireDeclaration>,
    scores: BTreeMap<&'a str, f64>,
}

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/dispatch", "POST").route(web::post().to(dispatch)));
}

async fn dispatch(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<DispatchPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let message = message(&WorkIn::parse(&body)?)?;
    concerns(&request, &message.submission.key.id);
    let (capability, priority) = (message.capability.clone(), message.submission.options.priority);
    let context = CallContext {
        task: Some(message.submission.key.clone()),
        priority,
        trace: header(&request, "traceparent").map(Into::into),
        ..CallContext::default()
    };
    let Dispatched { agent, reason, scores } = port.master.ask(message, context, ANSWER_WITHIN).await??;
    let declared = port.store.agents().await?.into_iter().map(|record| record.declaration);
    let considered = declared.filter(|declared| declared.capabilities.contains(&capability));
    let considered = considered.map(|mut declared| {
        // A worker may carry its token there.
        declared.url = declared.url.as_deref().map(|url| crate::http::agents::without_user(url).into());
        WireDeclaration::of(&declared)
    });
    let scores = scores.iter().map(|(agent, score): &(AgentId, f64)| (agent.as_str(), *score)).collect();
    Ok(HttpResponse::Ok().json(WireDecision {
        selected_agent: agent.as_str(),
        reason: &reason,
        considered: considered.collect(),
        scores,
    }))
}

fn message(wire: &WorkIn<'_>) -> Result<Dispatch, ApiError> {
    let step = StepId::parse(&wire.sub_id).map_err(|error| ApiError::invalid("sub_id", error.to_string()))?;
    let id = dispatched_id(&wire.task_id, &step);
    let id = id.map_err(|error| ApiError::invalid("task_id", format!("{error} (together with sub_id)")))?;
    let given = Given { data: &wire.data, context: &wire.context };
    let context = Json::of(&given).map_err(|error| ApiError::invalid("data", error.to_string()))?;
    let submission = Submission {
        key: TaskKey { tenant: Tenant::default(), id },
        id_given: true,
        idempotency_key: None,
        request: Request { objective: wire.objective().into(), context },
        options: Options { priority: wire.priority, ..Options::default() },
    };
    Ok(Dispatch { submission, step, capability: wire.capability()? })
}

/// What the caller gave, to be passed on as it is: the context of a dispatched task.
struct Given<'a> {
    data: &'a Entries<'a>,
    context: &'a Entries<'a>,
}

impl Serialize for Given<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("data", self.data)?;
        map.serialize_entry("context", self.context)?;
        map.end()
    }
}
