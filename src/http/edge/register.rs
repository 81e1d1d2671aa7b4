//! The edge of joining and staying: `POST /register`, `DELETE /register/{agent}` and `POST /heartbeat`, by which agents in
//! other processes, of ours or in any language, tell a master that they are there.

use super::client::{Call, HttpClient, InvalidUrl, Peers};
use super::keys::{Keys, wire_task};
use super::networks::{Networks, NotAllowed};
use super::{ANSWER_WITHIN, Accepted, Refusal, agent_id, failed, headers, internal_body, unescaped};
use crate::actors::ActorRef;
use crate::http::auth::Colleague;
use crate::http::error::ApiError;
use crate::http::request::{escaped, header, json};
use crate::http::{Site, resource};
use crate::messages::{
    ActiveAttempt, CallContext, CallError, Declaration, Deregister, DropAttempt, Edge, ForeignBeat, Heartbeat,
    HeartbeatAnswer, Phase, Register, RegistryError,
};
use crate::task::{AttemptNo, CallId, Capability, Incarnation, InvalidId, StepId, TaskId, TaskKey, Tenant};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slots of a worker that says nothing of them.
const SLOTS: u32 = 4;
/// The most slots that one agent may have.
const MAX_SLOTS: u32 = 100_000;
/// The most capabilities that one agent may have.
const MAX_CAPABILITIES: usize = 256;
/// The least characters of a profile, as the predecessor has it.
const MIN_PROFILE: usize = 3;

// === The wire ===

/// `CapabilityDeclaration`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDeclaration {
    pub agent_id: String,
    pub url: String,
    pub capabilities: Vec<String>,
    pub ag2_profile: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub metrics: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_stages: bool,
}

impl WireDeclaration {
    /// What an agent said of itself, as others may see it.
    pub fn of(declaration: &Declaration) -> Self {
        Self {
            agent_id: declaration.agent.to_string(),
            url: declaration.url.as_deref().unwrap_or_default().to_owned(),
            capabilities: declaration.capabilities.iter().map(ToString::to_string).collect(),
            ag2_profile: declaration.profile.to_string(),
            description: declaration.description.as_deref().map(str::to_owned),
            metrics: None,
            slots: Some(declaration.slots),
            incarnation: (!declaration.foreign).then(|| declaration.incarnation.to_string()),
            reads_stages: declaration.reads_stages,
        }
    }

    fn declaration(&self) -> Result<Declaration, ApiError> {
        let invalid = |field: &'static str| move |error: InvalidId| ApiError::invalid(field, error.to_string());
        let agent = agent_id(&self.agent_id)?;
        let capabilities = self.capabilities.iter().map(|name| Capability::parse(name));
        let capabilities: Vec<_> = capabilities.collect::<Result<_, _>>().map_err(invalid("capabilities"))?;
        if capabilities.is_empty() || capabilities.len() > MAX_CAPABILITIES {
            let message = format!("capabilities must have 1 to {MAX_CAPABILITIES} entries");
            return Err(ApiError::invalid("capabilities", message));
        }
        let profile = self.ag2_profile.trim();
        if profile.chars().count() < MIN_PROFILE {
            let message = format!("ag2_profile must have at least {MIN_PROFILE} characters");
            return Err(ApiError::invalid("ag2_profile", message));
        }
        let slots = self.slots.unwrap_or(SLOTS);
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(ApiError::invalid("slots", format!("slots must be from 1 to {MAX_SLOTS}")));
        }
        Peers::parse(&self.url).map_err(|_| ApiError::invalid("url", "url must be an http or https URL"))?;
        let named = self.incarnation.as_deref().map(Incarnation::parse).transpose();
        let named = named.map_err(invalid("incarnation"))?;
        Ok(Declaration {
            agent,
            foreign: named.is_none(),
            reads_stages: self.reads_stages,
            // A worker that names no life of its own registers when it starts: each registration is another.
            incarnation: named.unwrap_or_else(|| Incarnation::trusted(uuid::Uuid::now_v7().to_string())),
            capabilities,
            slots,
            profile: profile.into(),
            description: self.description.as_deref().map(Into::into),
            url: Some(self.url.trim().into()),
        })
    }
}

/// A heartbeat: the predecessor's value, and what Callboard adds to it.
#[derive(Debug, Serialize, Deserialize)]
struct WireBeat {
    agent_id: String,
    #[serde(default)]
    load: f64,
    #[serde(default)]
    active_tasks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<WireStep>,
}

/// One running attempt.
#[derive(Debug, Serialize, Deserialize)]
struct WireStep {
    task_id: String,
    sub_id: String,
    attempt: u32,
    #[serde(default = "thinking")]
    phase: Phase,
    #[serde(default)]
    progress_age_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
}

fn thinking() -> Phase {
    Phase::Thinking
}

#[derive(Debug, Serialize, Deserialize)]
struct WireBeatAnswer {
    #[serde(default)]
    drop: Vec<WireDrop>,
    #[serde(default = "known")]
    known: bool,
}

/// A master that says nothing of it knows whoever beats.
fn known() -> bool {
    true
}

#[derive(Debug, Serialize, Deserialize)]
struct WireDrop {
    task_id: String,
    sub_id: String,
    attempt: u32,
}

// === Sending ===

/// The way of an agent's words to the registry of a master elsewhere.
pub struct RegisterEdge {
    client: HttpClient,
    peers: Arc<Peers>,
    /// The master knows no heartbeats, and that has been said.
    is_deaf: Arc<AtomicBool>,
}

impl RegisterEdge {
    /// The way to the master at this URL, or at the first of several where somebody listens.
    ///
    /// # Errors
    /// [`InvalidUrl`] when no master can be there.
    pub fn new(client: HttpClient, master: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { client, peers: Arc::new(Peers::parse(master)?), is_deaf: Arc::default() })
    }

    fn told(&self, call: Result<Call, CallError>) -> BoxFuture<'static, Result<Result<(), RegistryError>, CallError>> {
        let (client, peers) = (self.client.clone(), self.peers.clone());
        Box::pin(async move {
            let answered = client.send(&peers, call?).await?;
            if answered.is_success() {
                return Ok(Ok(()));
            }
            let message: Arc<str> = Refusal::of(&answered).message.into();
            match answered.status {
                401 | 403 | 422 => Ok(Err(RegistryError::Refused(message))),
                409 => Ok(Err(RegistryError::Replaced(message))),
                503 => Ok(Err(RegistryError::StoreUnavailable(message))),
                _ => Err(failed(&answered)),
            }
        })
    }
}

impl Edge<Register> for RegisterEdge {
    fn call(
        &self,
        message: Register,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Result<(), RegistryError>, CallError>> {
        self.told(Call::new(Method::POST, "register", &context).json(&WireDeclaration::of(&message.0)))
    }
}

impl Edge<Deregister> for RegisterEdge {
    fn call(
        &self,
        message: Deregister,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Result<(), RegistryError>, CallError>> {
        let Deregister { agent, incarnation } = message;
        let call = Call::new(Method::DELETE, format!("register/{}", escaped(agent.as_str())), &context);
        let told = self.told(Ok(match &incarnation {
            Some(incarnation) => call.header(headers::INCARNATION, incarnation.as_str()),
            None => call,
        }));
        Box::pin(async move {
            match told.await {
                // A foreign master cannot be told; it will find out.
                Err(CallError::Unavailable) => Ok(Ok(())),
                other => other,
            }
        })
    }
}

impl Edge<Heartbeat> for RegisterEdge {
    fn call(
        &self,
        beat: Heartbeat,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Result<HeartbeatAnswer, RegistryError>, CallError>> {
        let call = Call::new(Method::POST, "heartbeat", &context).json(&wire_beat(&beat));
        let (client, peers, is_deaf) = (self.client.clone(), self.peers.clone(), self.is_deaf.clone());
        Box::pin(async move {
            let answered = client.send(&peers, call?).await?;
            match answered.status {
                200..=299 => {
                    let answer: WireBeatAnswer = answered.json().ok_or(CallError::Rejected)?;
                    let drop = answer.drop.iter().filter_map(|dropped| dropped.attempt()).collect();
                    Ok(Ok(HeartbeatAnswer { drop, known: answer.known }))
                }
                // The predecessor's master: it hears nothing, and so forgets nobody.
                404 | 405 => {
                    if !is_deaf.swap(true, Ordering::Relaxed) {
                        tracing::warn!("the master takes no heartbeats: it is the predecessor's, or the URL is wrong");
                    }
                    Ok(Ok(HeartbeatAnswer { drop: Vec::new(), known: true }))
                }
                503 => Ok(Err(RegistryError::StoreUnavailable(Refusal::of(&answered).message.into()))),
                _ => Err(failed(&answered)),
            }
        })
    }
}

fn wire_beat(beat: &Heartbeat) -> WireBeat {
    let step = |active: &ActiveAttempt| WireStep {
        task_id: wire_task(&active.key, &active.step).to_owned(),
        sub_id: active.step.to_string(),
        attempt: active.attempt.0,
        phase: active.phase,
        progress_age_ms: active.progress_age_ms,
        call_id: active.call.as_ref().map(ToString::to_string),
    };
    WireBeat {
        agent_id: beat.agent.to_string(),
        load: beat.load,
        active_tasks: beat.active.iter().map(|active| active.step.to_string()).collect(),
        incarnation: Some(beat.incarnation.to_string()),
        steps: beat.active.iter().map(step).collect(),
    }
}

impl WireDrop {
    /// The attempt as its agent knows it: the wire carries no tenant.
    fn attempt(&self) -> Option<DropAttempt> {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::parse(&self.task_id).ok()? };
        Some(DropAttempt { key, step: StepId::parse(&self.sub_id).ok()?, attempt: AttemptNo(self.attempt) })
    }

    fn of(dropped: &DropAttempt) -> Self {
        Self {
            task_id: wire_task(&dropped.key, &dropped.step).to_owned(),
            sub_id: dropped.step.to_string(),
            attempt: dropped.attempt.0,
        }
    }
}

// === Receiving ===

/// What hears of agents in a process with a master.
pub struct RegisterPort {
    /// Who takes those who join.
    pub register: ActorRef<Register>,
    /// Who lets them go.
    pub deregister: ActorRef<Deregister>,
    /// Who hears that they live.
    pub heartbeat: ActorRef<Heartbeat>,
    /// Who hears it of foreign ones.
    pub foreign_beat: ActorRef<ForeignBeat>,
    /// Where they may be.
    pub networks: Networks,
    /// Whose tasks they work on.
    pub keys: Keys,
}

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/register", "POST").route(web::post().to(join)))
        .service(resource("/register/{agent}", "DELETE").route(web::delete().to(leave)))
        .service(resource("/heartbeat", "POST").route(web::post().to(beat)));
}

async fn join(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<RegisterPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let declaration = json::<WireDeclaration>(&body)?.declaration()?;
    let url = declaration.url.as_deref().unwrap_or_default();
    port.networks.check_url(url).await.map_err(|why: NotAllowed| ApiError::invalid("url", format!("url: {why}")))?;
    port.register.ask(Register(declaration), CallContext::default(), ANSWER_WITHIN).await??;
    Ok(HttpResponse::Accepted().json(Accepted::new()))
}

async fn leave(
    _colleague: Colleague,
    port: web::Data<RegisterPort>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let agent = agent_id(&path)?;
    let named = header(&request, headers::INCARNATION.as_str()).map(|text| Incarnation::parse(&unescaped(text)));
    let named = named.transpose().map_err(|error| ApiError::invalid("Callboard-Incarnation", error.to_string()))?;
    let message = Deregister { agent, incarnation: named };
    port.deregister.ask(message, CallContext::default(), ANSWER_WITHIN).await??;
    Ok(HttpResponse::Accepted().json(Accepted::new()))
}

async fn beat(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<RegisterPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let wire: WireBeat = json(&body)?;
    let agent = agent_id(&wire.agent_id)?;
    if !(0.0..=1.0).contains(&wire.load) {
        return Err(ApiError::invalid("load", "load must be from 0 to 1"));
    }
    let answer = match &wire.incarnation {
        Some(incarnation) => {
            let incarnation = Incarnation::parse(incarnation);
            let incarnation = incarnation.map_err(|error| ApiError::invalid("incarnation", error.to_string()))?;
            let (active, unknown) = attempts(&port.keys, &wire.steps).await?;
            let message = Heartbeat { agent, incarnation, load: wire.load, active };
            let answer = port.heartbeat.ask(message, CallContext::default(), ANSWER_WITHIN).await??;
            (answer, unknown)
        }
        None => {
            let active = wire.active_tasks.iter().filter_map(|step| StepId::parse(step).ok()).collect();
            let message = ForeignBeat { agent, load: wire.load, active };
            (port.foreign_beat.ask(message, CallContext::default(), ANSWER_WITHIN).await??, Vec::new())
        }
    };
    let (HeartbeatAnswer { drop, known }, unknown) = answer;
    let drop = drop.iter().map(WireDrop::of).chain(unknown).collect();
    Ok(HttpResponse::Ok().json(WireBeatAnswer { drop, known }))
}

/// The attempts that a heartbeat lists, and those of them that are of no task that there is.
async fn attempts(keys: &Keys, steps: &[WireStep]) -> Result<(Vec<ActiveAttempt>, Vec<WireDrop>), ApiError> {
    let (mut active, mut unknown) = (Vec::with_capacity(steps.len()), Vec::new());
    for wire in steps {
        let step = StepId::parse(&wire.sub_id).map_err(|error| ApiError::invalid("steps", error.to_string()))?;
        match keys.find(&wire.task_id, &step).await? {
            Some(key) => active.push(ActiveAttempt {
                key,
                step,
                attempt: AttemptNo(wire.attempt),
                phase: wire.phase,
                progress_age_ms: wire.progress_age_ms,
                call: wire.call_id.as_deref().and_then(|call| CallId::parse(call).ok()),
            }),
            None => unknown.push(WireDrop {
                task_id: wire.task_id.clone(),
                sub_id: wire.sub_id.clone(),
                attempt: wire.attempt,
            }),
        }
    }
    Ok((active, unknown))
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::StoreUnavailable(why) => crate::store::StoreError::Unavailable(why).into(),
            RegistryError::Refused(why) => Self::invalid("agent_id", why),
            RegistryError::Replaced(why) => Self::conflict(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    fn declared(change: impl FnOnce(&mut serde_json::Value)) -> Result<Declaration, ApiError> {
        let mut value = serde_json::json!({"agent_id": " worker-a ", "url": "http://worker-a:5000",
            "capabilities": ["analyze"], "ag2_profile": "analyst"});
        change(&mut value);
        json::<WireDeclaration>(value.to_string().as_bytes())?.declaration()
    }

    #[test]
    fn the_predecessors_declaration_is_a_foreign_agents() {
        let declaration = declared(|_| {}).unwrap();
        assert_eq!((declaration.agent.as_str(), declaration.slots, declaration.foreign), ("worker-a", SLOTS, true));
        let ours = declared(|value| value["incarnation"] = "i1".into()).unwrap();
        assert!(!ours.foreign && ours.incarnation.as_str() == "i1");
        assert_eq!(serde_json::to_value(WireDeclaration::of(&ours)).unwrap()["incarnation"], "i1");
    }

    #[test]
    fn a_declaration_out_of_bounds_is_refused() {
        let changes: [fn(&mut serde_json::Value); 9] = [
            |value| value["agent_id"] = "ab".into(),
            |value| value["url"] = "ftp://x".into(),
            |value| value["url"] = "".into(),
            |value| value["capabilities"] = serde_json::json!([]),
            |value| value["capabilities"] = serde_json::json!([" "]),
            |value| value["ag2_profile"] = " ab ".into(),
            |value| value["slots"] = 0.into(),
            |value| value["slots"] = serde_json::json!(-1),
            |value| drop(value.as_object_mut().unwrap().remove("url")),
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            assert_eq!(declared(change).unwrap_err().status_code().as_u16(), 422, "{nth}");
        }
    }

    #[test]
    fn a_master_that_says_nothing_of_it_knows_the_agent() {
        let answer: WireBeatAnswer = serde_json::from_str("{}").unwrap();
        assert!(answer.known && answer.drop.is_empty());
    }
}
