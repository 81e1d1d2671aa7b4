//! The edges between Callboard's processes, and to workers in any language: one file per edge, which holds its path, its
//! wire form, the route that receives it and the call that sends it. The forms are those of the predecessor; what was
//! added to them is optional.
//!
//! | file | what crosses |
//! |---|---|
//! | `register` | agents join, live and leave: `POST /register`, `DELETE /register/{id}`, `POST /heartbeat` |
//! | `work` | a step to an agent, and its taking back: `POST /work`, `DELETE /work/{task}/{step}` |
//! | `work_wire` | the form of a step's work |
//! | `watch` | that a process is there: `GET /watch` |
//! | `result` | what came out: `POST /result` |
//! | `outcome` | the form of what came out |
//! | `generate` | a model call: `POST`, `GET` and `DELETE /generate` |
//! | `dispatch` | work without a task's plan: `POST /dispatch` |
//! | `client` | the way out: connections, token, what no answer means |
//! | `networks` | where those who register may send us |
//! | `keys` | the wire's names of tasks and steps, and ours |

mod client;
mod dispatch;
mod generate;
mod keys;
mod networks;
mod outcome;
mod register;
mod result;
mod watch;
mod work;
mod work_wire;

pub use client::{ColleagueUrl, HttpClient, InvalidUrl};
pub use dispatch::DispatchPort;
pub use generate::{GatewayPort, GenerateEdge};
pub use keys::Keys;
pub use networks::{InvalidNetworks, Networks, NotAllowed};
pub use register::{RegisterEdge, RegisterPort};
pub use result::{ResultEdge, ResultPort};
pub use work::{HostedAgent, WorkEdge, WorkPort};

pub(super) use dispatch::configure as configure_dispatch;
pub(super) use generate::configure as configure_generate;
pub(super) use register::configure as configure_register;
pub(super) use result::configure as configure_result;
pub(super) use watch::configure as configure_watch;
pub(super) use work::configure as configure_work;

use super::Site;
use super::error::ApiError;
use super::request::{body, check_depth, check_length, escaped};
use crate::messages::{CallContext, CallError};
use crate::task::{AgentId, AttemptNo, Scope, StepId, TaskKey};
use actix_web::HttpRequest;
use actix_web::web;
use client::{Answered, Call};
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The headers that ride along. They are Callboard's own: a foreign side neither sends nor reads them.
mod headers {
    use super::HeaderName;

    pub(super) const TASK: HeaderName = HeaderName::from_static("callboard-task");
    pub(super) const STEP: HeaderName = HeaderName::from_static("callboard-step");
    pub(super) const ATTEMPT: HeaderName = HeaderName::from_static("callboard-attempt");
    pub(super) const DEADLINE_MS: HeaderName = HeaderName::from_static("callboard-deadline-ms");
    pub(super) const PRIORITY: HeaderName = HeaderName::from_static("callboard-priority");
    pub(super) const BUDGET: HeaderName = HeaderName::from_static("callboard-budget");
    pub(super) const CALL_ID: HeaderName = HeaderName::from_static("callboard-call-id");
    pub(super) const AGENT: HeaderName = HeaderName::from_static("callboard-agent");
    pub(super) const INCARNATION: HeaderName = HeaderName::from_static("callboard-incarnation");
}

/// How much larger than a client's body one between processes may be: work carries a task's context and all its outputs,
/// and a foreign worker sends them back inside its own.
const INTERNAL_BODIES: usize = 16;

/// How long an addressee in this process may take to say whether it takes a message.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// `{"status": "accepted"}`.
#[derive(Debug, Serialize, Deserialize)]
struct Accepted {
    status: String,
}

impl Accepted {
    fn new() -> Self {
        Self { status: "accepted".to_owned() }
    }
}

/// The envelope, as other processes write it. The predecessor's services, which know it only in part, say nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
    details: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Refusal {
    fn of(answered: &Answered) -> Self {
        answered.json().unwrap_or_default()
    }

    fn detail(&self, name: &str) -> Option<&str> {
        self.details.as_ref()?.get(name)?.as_str()
    }
}

/// What an answer that says nothing about the message itself means, whatever the edge.
fn failed(answered: &Answered) -> CallError {
    // Ours say in their envelope what became of it, as a near addressee would.
    match Refusal::of(answered).code.as_str() {
        "crashed" => return CallError::Crashed,
        "timeout" => return CallError::Timeout,
        "worker_unavailable" => return CallError::Unavailable,
        _ => {}
    }
    match answered.status {
        // Nothing of this name is there, or nobody whom our token convinces.
        401 | 403 | 404 | 405 => {
            tracing::warn!(status = answered.status, "a colleague refuses this process: check the token and the URL");
            CallError::Unavailable
        }
        408 | 504 => CallError::Timeout,
        429 | 503 => CallError::Overloaded,
        500..=599 => CallError::Crashed,
        _ => CallError::Rejected,
    }
}

/// Reads the body of a call between processes.
async fn internal_body(site: &Site, request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, ApiError> {
    let limit = site.options.max_body_bytes.saturating_mul(INTERNAL_BODIES);
    check_length(request.headers(), limit)?;
    let body = body(payload, limit, site.options.body_timeout).await?;
    // What is built around a client's JSON on its way adds a few levels.
    check_depth(&body, site.options.max_json_depth + 8)?;
    Ok(body)
}

/// An agent's name as the wire gives it.
fn agent_id(text: &str) -> Result<AgentId, ApiError> {
    AgentId::parse(text).map_err(|error| ApiError::invalid("agent_id", error.to_string()))
}

/// What rides along with a message, out of its headers. The task is named by its id alone: the wire carries no tenant.
fn context(request: &HttpRequest) -> CallContext {
    let text = |name: HeaderName| request.headers().get(name.as_str()).and_then(|value| value.to_str().ok());
    let task = text(headers::TASK).and_then(|id| crate::task::TaskId::parse(&unescaped(id)).ok());
    let scopes = text(headers::BUDGET).into_iter().flat_map(|scopes| scopes.split(','));
    let deadline_ms = text(headers::DEADLINE_MS).and_then(|ms| ms.trim().parse().ok());
    CallContext {
        task: task.map(|id| TaskKey { tenant: crate::task::Tenant::default(), id }),
        step: text(headers::STEP).and_then(|step| StepId::parse(&unescaped(step)).ok()),
        attempt: attempt(request),
        deadline: deadline_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms))),
        priority: text(headers::PRIORITY).and_then(|name| priority(name.trim())).unwrap_or_default(),
        budget_scopes: scopes.filter_map(|scope| Scope::parse(&unescaped(scope)).ok()).collect(),
        trace: request.headers().get("traceparent").and_then(|value| value.to_str().ok()).map(Into::into),
    }
}

fn attempt(request: &HttpRequest) -> Option<AttemptNo> {
    let text = request.headers().get(headers::ATTEMPT.as_str())?.to_str().ok()?;
    text.trim().parse().ok().filter(|no| *no > 0).map(AttemptNo)
}

fn priority(name: &str) -> Option<crate::task::Priority> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// Puts what rides along into a call's headers.
fn with_context(call: Call, context: &CallContext) -> Call {
    let mut call = call;
    if let Some(task) = &context.task {
        call = call.header(headers::TASK, task.id.as_str());
    }
    if let Some(step) = &context.step {
        call = call.header(headers::STEP, step.as_str());
    }
    if let Some(attempt) = context.attempt {
        call = call.header(headers::ATTEMPT, &attempt.0.to_string());
    }
    if !context.budget_scopes.is_empty() {
        let scopes: Vec<_> = context.budget_scopes.iter().map(|scope| escaped(scope.as_str())).collect();
        call = call.header(headers::BUDGET, &scopes.join(","));
    }
    call.header(headers::PRIORITY, priority_name(context.priority))
}

fn priority_name(priority: crate::task::Priority) -> &'static str {
    match priority {
        crate::task::Priority::Low => "low",
        crate::task::Priority::Normal => "normal",
        crate::task::Priority::High => "high",
    }
}

/// The text of a header whose value may be escaped as in a URL.
fn unescaped(text: &str) -> String {
    String::from_utf8(client::percent_decoded(text)).unwrap_or_else(|_| text.to_owned())
}
