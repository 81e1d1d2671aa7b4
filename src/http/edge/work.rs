//! The edge of a step's work: `POST /work` to the agent that it was assigned to, and `DELETE /work/{task}/{step}` to take
//! it back. The answer says whether it runs; what comes out is a message of its own, unless the sender waits for it.

use super::client::{Call, HttpClient, InvalidUrl, Peers};
use super::keys::{Keys, wire_task};
use super::networks::Networks;
use super::outcome::{self, WireStatus};
use super::work_wire::{Assignment, Reader, ReplyMode, WorkIn, WorkOut};
use super::{ANSWER_WITHIN, Accepted, Refusal, attempt, context, failed, headers, internal_body, with_context};
use crate::actors::ActorRef;
use crate::http::auth::Colleague;
use crate::http::error::{ApiError, Envelope};
use crate::http::request::{Params, escaped, header};
use crate::http::{Site, resource};
use crate::messages::{CallContext, CallError, DropAttempt, Edge, Perform, Probe, StepResult, Work, WorkReply};
use crate::task::{AgentId, AttemptNo, Capability, ErrorCode, Incarnation, Json, StepId, TaskId, TaskKey, Tenant};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

// === Sending ===

/// The way to one agent in another process.
pub struct WorkEdge {
    client: HttpClient,
    peers: Arc<Peers>,
    keys: Keys,
    agent: AgentId,
    reader: Reader,
    is_allowed: bool,
}

impl WorkEdge {
    /// The way to an agent at this URL, and whether it reads the stages. One that is outside of the networks is never
    /// gone to.
    ///
    /// # Errors
    /// [`InvalidUrl`] when nobody can be there.
    pub fn new(
        client: HttpClient,
        url: &str,
        (agent, reads_stages): (AgentId, bool),
        networks: &Networks,
        keys: Keys,
    ) -> Result<Self, InvalidUrl> {
        let peers = Peers::parse(url)?;
        let is_allowed = peers.literal_hosts().all(|address| networks.check(address).is_ok());
        let reader = if reads_stages { Reader::Stages } else { Reader::Foreign };
        Ok(Self { client, peers: Arc::new(peers), keys, agent, reader, is_allowed })
    }

    /// How it is gone there, and whether it may be.
    pub(super) fn way(&self) -> (HttpClient, Arc<Peers>, bool) {
        (self.client.clone(), self.peers.clone(), self.is_allowed)
    }
}

impl Edge<Work> for WorkEdge {
    fn call(&self, work: Work, context: CallContext) -> BoxFuture<'static, Result<WorkReply, CallError>> {
        let (client, peers, is_allowed) = self.way();
        self.keys.note(&work.key);
        let call = Call::new(Method::POST, "work", &context).json(&WorkOut::of(&work, context.priority, self.reader));
        let call = call.map(|call| {
            // The task and the step that ride along are the work's own, as the wire names them.
            let (step, attempt) = (Some(work.step.clone()), Some(work.attempt));
            let context = CallContext { task: None, step, attempt, ..context };
            let call = with_context(call, &context)
                .header(headers::TASK, wire_task(&work.key, &work.step))
                .header(headers::AGENT, self.agent.as_str())
                .header(headers::DEADLINE_MS, &work.deadline_ms.to_string());
            match &work.incarnation {
                Some(incarnation) => call.header(headers::INCARNATION, incarnation.as_str()),
                None => call,
            }
        });
        Box::pin(async move {
            if !is_allowed {
                return Err(CallError::Unavailable);
            }
            let answered = client.send(&peers, call?).await?;
            if answered.is_success() {
                return Ok(WorkReply::Accepted);
            }
            match Refusal::of(&answered).detail(REASON) {
                Some(DRAINING) => Ok(WorkReply::Draining),
                Some(RESTARTED) => Ok(WorkReply::Restarted),
                Some(SLOTS) => Ok(WorkReply::Overloaded),
                _ => Err(failed(&answered)),
            }
        })
    }
}

impl Edge<DropAttempt> for WorkEdge {
    fn call(&self, dropped: DropAttempt, context: CallContext) -> BoxFuture<'static, Result<(), CallError>> {
        let (client, peers, is_allowed) = self.way();
        let task = escaped(wire_task(&dropped.key, &dropped.step));
        let path = format!("work/{task}/{}?attempt={}", escaped(dropped.step.as_str()), dropped.attempt);
        let call = Call::new(Method::DELETE, path, &context).header(headers::AGENT, self.agent.as_str());
        Box::pin(async move {
            if !is_allowed {
                return Err(CallError::Unavailable);
            }
            let answered = client.send(&peers, call).await?;
            // A foreign worker cannot be told; its result will be dropped.
            if answered.is_success() || matches!(answered.status, 404 | 405) { Ok(()) } else { Err(failed(&answered)) }
        })
    }
}

impl Edge<Probe> for WorkEdge {
    fn call(&self, _: Probe, context: CallContext) -> BoxFuture<'static, Result<(), CallError>> {
        let (client, peers, is_allowed) = self.way();
        let call = Call::new(Method::GET, "health", &context);
        Box::pin(async move {
            if !is_allowed {
                return Err(CallError::Unavailable);
            }
            let answered = client.send(&peers, call).await?;
            if answered.is_success() { Ok(()) } else { Err(failed(&answered)) }
        })
    }
}

/// The detail of an error that says why work was not taken.
const REASON: &str = "reason";
const DRAINING: &str = "draining";
const RESTARTED: &str = "restarted";
const SLOTS: &str = "slots";

// === Receiving ===

/// An agent of this process, as work for it arrives over HTTP.
#[derive(Debug, Clone)]
pub struct HostedAgent {
    /// Its name.
    pub agent: AgentId,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// For work whose result goes to the master.
    pub work: ActorRef<Work>,
    /// For work whose result the sender waits for.
    pub perform: ActorRef<Perform>,
    /// For taking it back.
    pub drop_attempt: ActorRef<DropAttempt>,
}

/// What receives work in a process with agents.
pub struct WorkPort {
    /// Its agents, as they are now.
    pub agents: watch::Receiver<Arc<[HostedAgent]>>,
    /// How long a step may take when its sender does not say.
    pub step_timeout: Duration,
}

impl WorkPort {
    /// The agent that a request means: the one that it names, or else the only one with the capability.
    fn agent(&self, named: Option<&str>, capability: &Capability) -> Result<HostedAgent, ApiError> {
        let agents = self.agents.borrow();
        if let Some(named) = named {
            let named = super::unescaped(named);
            let found = agents.iter().find(|hosted| hosted.agent.as_str() == named).cloned();
            return found.ok_or_else(|| ApiError::not_found(format!("agent {named} is not in this process")));
        }
        let mut able = agents.iter().filter(|hosted| hosted.capabilities.contains(capability));
        match (able.next(), able.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => {
                let message =
                    format!("no agent of this process can {capability}: check the command, or Callboard-Agent");
                Err(ApiError::invalid("command", message))
            }
            _ => {
                let message = format!("several agents of this process can {capability}: name one in Callboard-Agent");
                Err(ApiError::invalid("Callboard-Agent", message))
            }
        }
    }
}

/// A worker's answer to synchronous work.
#[derive(Serialize)]
struct Performed<'a> {
    status: WireStatus,
    agent_id: &'a str,
    task_id: &'a str,
    sub_id: &'a str,
    output: Json,
    error: Option<Envelope<'a>>,
}

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/work", "POST").route(web::post().to(take)))
        .service(resource("/work/{task}/{step}", "DELETE").route(web::delete().to(take_back)));
}

async fn take(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<WorkPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let wire = WorkIn::parse(&body)?;
    let hosted = port.agent(header(&request, headers::AGENT.as_str()), &wire.capability()?)?;
    let rides_along = context(&request);
    let work = wire.work(assignment(&port, &request, &hosted))?;
    let context = CallContext {
        task: Some(work.key.clone()),
        step: Some(work.step.clone()),
        attempt: Some(work.attempt),
        deadline: None,
        priority: wire.priority,
        ..rides_along
    };
    match wire.reply_mode {
        ReplyMode::Async => {
            let reply = hosted.work.ask(work, context, ANSWER_WITHIN).await;
            refused(reply.map_err(not_taken)?)?;
            Ok(HttpResponse::Ok().json(Accepted::new()))
        }
        ReplyMode::Sync => {
            let longest = Duration::from_millis(work.deadline_ms);
            let performed = hosted.perform.ask(Perform(work), context, longest).await.map_err(not_taken)?;
            match performed {
                Ok(result) => Ok(performed_answer(&result)),
                Err(refusal) => Err(refused(refusal).err().unwrap_or_else(|| ApiError::internal("work was not taken"))),
            }
        }
    }
}

fn assignment(port: &WorkPort, request: &HttpRequest, hosted: &HostedAgent) -> Assignment {
    let text = |name: reqwest::header::HeaderName| header(request, name.as_str());
    let default_ms = u64::try_from(port.step_timeout.as_millis()).unwrap_or(u64::MAX);
    let incarnation = text(headers::INCARNATION).and_then(|text| Incarnation::parse(&super::unescaped(text)).ok());
    Assignment {
        // A foreign master knows no attempts: to it each work is the first.
        attempt: attempt(request).unwrap_or(AttemptNo(1)),
        agent: hosted.agent.clone(),
        incarnation,
        deadline_ms: text(headers::DEADLINE_MS).and_then(|text| text.parse().ok()).unwrap_or(default_ms),
    }
}

fn performed_answer(result: &StepResult) -> HttpResponse {
    let (status, output, error) = outcome::written(&result.outcome);
    HttpResponse::Ok().json(Performed {
        status,
        agent_id: result.agent.as_str(),
        task_id: wire_task(&result.key, &result.step),
        sub_id: result.step.as_str(),
        output,
        error: error.as_ref().map(outcome::ErrorOut::envelope),
    })
}

/// What an agent's word means to the sender.
fn refused(reply: WorkReply) -> Result<(), ApiError> {
    match reply {
        WorkReply::Accepted => Ok(()),
        WorkReply::Overloaded => {
            let message = "all slots of this agent are taken: send it to another, or again in a moment";
            Err(ApiError::overloaded(message, 1).with_detail(REASON, SLOTS))
        }
        WorkReply::Draining => {
            let message = "this agent takes nothing new: send it to another";
            Err(ApiError::unavailable(ErrorCode::Overloaded, message).with_detail(REASON, DRAINING))
        }
        WorkReply::Restarted => {
            let message = "this agent has started anew since the work was assigned: assign it again";
            Err(ApiError::conflict(message).with_detail(REASON, RESTARTED))
        }
    }
}

/// What it means that an agent did not say whether it takes work.
fn not_taken(error: CallError) -> ApiError {
    match error {
        CallError::Overloaded => ApiError::overloaded("this agent has too much to do: send it again in a moment", 1),
        CallError::Timeout => ApiError::unavailable(ErrorCode::Timeout, "the agent did not answer in time"),
        CallError::Crashed | CallError::Rejected => {
            ApiError::unavailable(ErrorCode::Crashed, "the agent crashed at this and was restarted")
        }
        CallError::Unavailable => {
            ApiError::unavailable(ErrorCode::WorkerUnavailable, "this agent is ending: send it to another")
        }
    }
}

async fn take_back(
    _colleague: Colleague,
    port: web::Data<WorkPort>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (task, step) = path.into_inner();
    let text = Params::only(&request, &["attempt"])?;
    let number = text.get("attempt").map(|text| text.parse().ok().filter(|no| *no > 0));
    let Some(attempt) = number.unwrap_or(Some(1)) else {
        return Err(ApiError::invalid("attempt", "attempt must be a whole number of at least 1"));
    };
    let id = TaskId::parse(&task).map_err(|error| ApiError::invalid("task_id", error.to_string()))?;
    let step = StepId::parse(&step).map_err(|error| ApiError::invalid("sub_id", error.to_string()))?;
    let key = TaskKey { tenant: Tenant::default(), id };
    let named = header(&request, headers::AGENT.as_str()).map(super::unescaped);
    let agents = port.agents.borrow().clone();
    for hosted in agents.iter().filter(|hosted| named.as_ref().is_none_or(|named| hosted.agent.as_str() == named)) {
        let message = DropAttempt { key: key.clone(), step: step.clone(), attempt: AttemptNo(attempt) };
        // Best effort: the heartbeat's answer says it again.
        let _ = hosted.drop_attempt.ask(message, CallContext::default(), ANSWER_WITHIN).await;
    }
    Ok(HttpResponse::Ok().json(Accepted::new()))
}
