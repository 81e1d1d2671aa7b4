//! The registry: who is alive. Takes registrations and heartbeats, renews the leases that heartbeats list, forgets who
//! fell silent, and tells the masters through the roster; it never decides about a task.

use super::patience::patiently;
use super::{ActorRef, Behaviour, Handle, Reply, Turn};
use crate::messages::{
    ActiveAttempt, Advance, AgentRecord, CallContext, CallStatus, Declaration, Deregister, DropAttempt, Due, Heartbeat,
    HeartbeatAnswer, Phase, Register, RegistryError,
};
use crate::store::{Store, StoreError};
use crate::task::{AgentId, At, Capability, Incarnation, Lease, Loss, TaskKey};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The live agents by name, as the masters see them.
pub type Roster = BTreeMap<AgentId, RosterEntry>;

/// One live agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
}

/// What a registry is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct RegistryParts {
    /// Where agents are recorded and leases renewed.
    pub store: Arc<dyn Store>,
    /// Where the roster is told.
    pub roster: Arc<watch::Sender<Arc<Roster>>>,
    /// Who is told of attempts that stall. Set once the node has started it.
    pub master: Arc<OnceLock<ActorRef<Advance>>>,
    /// Who confirms model calls. Set once the node has started it.
    pub gateway: Arc<OnceLock<ActorRef<CallStatus>>>,
    /// How long a heartbeat counts, in milliseconds.
    pub heartbeat_ttl_ms: u64,
    /// How long an attempt may show no progress outside a confirmed model call, in milliseconds.
    pub stall_timeout_ms: u64,
}

/// How long the gateway may take to confirm a call; no answer is no confirmation.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// Knows who is alive.
pub struct Registry {
    parts: RegistryParts,
    agents: BTreeMap<AgentId, Alive>,
}

struct Alive {
    declaration: Declaration,
    /// By this process's clock: it is silence that counts, not wall time.
    heard: Instant,
}

// === impl Registry ===

impl Registry {
    /// A new life. It knows nobody; agents whose heartbeat it does not know are told to register again.
    pub fn create(parts: RegistryParts) -> Self {
        Self { parts, agents: BTreeMap::new() }
    }

    fn tell_roster(&self) {
        let entry = |alive: &Alive| RosterEntry {
            incarnation: alive.declaration.incarnation.clone(),
            capabilities: alive.declaration.capabilities.clone(),
            slots: alive.declaration.slots,
        };
        let roster: Roster = self.agents.iter().map(|(agent, alive)| (agent.clone(), entry(alive))).collect();
        self.parts.roster.send_if_modified(|told| {
            let is_news = **told != roster;
            if is_news {
                *told = Arc::new(roster);
            }
            is_news
        });
    }

    fn forget_silent(&mut self) {
        let ttl = Duration::from_millis(self.parts.heartbeat_ttl_ms);
        self.agents.retain(|agent, alive| {
            let is_alive = alive.heard.elapsed() < ttl;
            if !is_alive {
                tracing::warn!(agent = %agent, ttl_ms = self.parts.heartbeat_ttl_ms, "an agent fell silent");
            }
            is_alive
        });
        self.tell_roster();
    }

    /// Attempts that show no progress: those in a model call are asked after, the others end.
    fn look_into_stalls(&self, active: &[ActiveAttempt], turn: &mut Turn<'_, Self>) {
        for attempt in active.iter().filter(|attempt| attempt.progress_age_ms > self.parts.stall_timeout_ms) {
            let (attempt, parts) = (attempt.clone(), self.parts.clone());
            turn.spawn(async move { judge_stall(&parts, &attempt).await }, |_, (), _| {});
        }
    }
}

impl Behaviour for Registry {
    const KIND: &'static str = "registry";

    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        // A crash must not empty the roster that the masters see: it holds until heartbeats would have come.
        let ttl = Duration::from_millis(self.parts.heartbeat_ttl_ms);
        turn.later(ttl, move |_, turn| {
            turn.every(ttl / 6, |registry, _| registry.forget_silent());
        });
    }
}

impl Handle<Register> for Registry {
    fn handle(&mut self, message: Register, _: CallContext, reply: Reply<Register>, turn: &mut Turn<'_, Self>) {
        let Register(declaration) = message;
        let earlier = self.agents.get(&declaration.agent).map(|alive| alive.declaration.incarnation.clone());
        let earlier = earlier.filter(|earlier| *earlier != declaration.incarnation);
        tracing::info!(agent = %declaration.agent, slots = declaration.slots, "an agent joined");
        let parts = self.parts.clone();
        let record = record(&declaration, parts.store.now(), 0.0, 0);
        let agent = declaration.agent.clone();
        let recorded = async move {
            if let Some(earlier) = earlier {
                patiently(parts.store.expire_leases_of(&agent, &earlier)).await?;
            }
            patiently(parts.store.put_agent(record, parts.heartbeat_ttl_ms)).await
        };
        turn.spawn(recorded, move |registry, recorded, _| {
            if recorded.is_ok() {
                let agent = declaration.agent.clone();
                registry.agents.insert(agent, Alive { declaration, heard: Instant::now() });
                registry.tell_roster();
            }
            reply.send(recorded.map_err(unavailable));
        });
    }
}

impl Handle<Deregister> for Registry {
    fn handle(&mut self, message: Deregister, _: CallContext, reply: Reply<Deregister>, turn: &mut Turn<'_, Self>) {
        let Deregister(agent) = message;
        if self.agents.remove(&agent).is_some() {
            tracing::info!(agent = %agent, "an agent left");
            self.tell_roster();
        }
        let store = self.parts.store.clone();
        let removed = async move { patiently(store.remove_agent(&agent)).await };
        turn.spawn(removed, |_, removed, _| reply.send(removed.map_err(unavailable)));
    }
}

impl Handle<Heartbeat> for Registry {
    fn handle(&mut self, beat: Heartbeat, _: CallContext, reply: Reply<Heartbeat>, turn: &mut Turn<'_, Self>) {
        let known = self.agents.get_mut(&beat.agent).filter(|alive| alive.declaration.incarnation == beat.incarnation);
        let is_known = known.is_some();
        let active = u32::try_from(beat.active.len()).unwrap_or(u32::MAX);
        let record = known.map(|alive| {
            alive.heard = Instant::now();
            record(&alive.declaration, self.parts.store.now(), beat.load, active)
        });
        self.look_into_stalls(&beat.active, turn);
        let parts = self.parts.clone();
        let renewed = async move {
            // The leases first, and whatever becomes of the rest: what lives must not be ended because a record of it
            // could not be written, nor because its agent has signed off and finishes what it has.
            let gone = patiently(parts.store.renew(leases(&beat), parts.heartbeat_ttl_ms)).await;
            if let Some(record) = record
                && let Err(error) = patiently(parts.store.put_agent(record, parts.heartbeat_ttl_ms)).await
            {
                tracing::warn!(agent = %beat.agent, %error, "an agent's record could not be written");
            }
            gone
        };
        turn.spawn(renewed, move |_, renewed, _| {
            let drop = |gone: Vec<_>| gone.into_iter().map(dropped).collect();
            let answer = renewed.map(|gone| HeartbeatAnswer { drop: drop(gone), known: is_known });
            reply.send(answer.map_err(unavailable));
        });
    }
}

// === Pure parts ===

fn record(declaration: &Declaration, now: At, load: f64, active: u32) -> AgentRecord {
    AgentRecord { declaration: declaration.clone(), last_heartbeat: now, load, active }
}

fn leases(beat: &Heartbeat) -> Vec<(TaskKey, Lease)> {
    let lease = |active: &ActiveAttempt| Lease {
        step: active.step.clone(),
        attempt: active.attempt,
        agent: beat.agent.clone(),
        incarnation: beat.incarnation.clone(),
    };
    beat.active.iter().map(|active| (active.key.clone(), lease(active))).collect()
}

fn dropped((key, lease): (TaskKey, Lease)) -> DropAttempt {
    DropAttempt { key, step: lease.step, attempt: lease.attempt }
}

fn unavailable(error: StoreError) -> RegistryError {
    RegistryError::StoreUnavailable(error.to_string().into())
}

/// Ends an attempt that stalls, unless the gateway knows the model call that it waits for.
async fn judge_stall(parts: &RegistryParts, attempt: &ActiveAttempt) {
    if let (Phase::Model, Some(call), Some(gateway)) = (attempt.phase, &attempt.call, parts.gateway.get()) {
        let status = gateway.ask(CallStatus(call.clone()), CallContext::default(), CONFIRM_TIMEOUT).await;
        if matches!(status, Ok(Some(_))) {
            return;
        }
    }
    tracing::warn!(task = %attempt.key.id, step = %attempt.step, age_ms = attempt.progress_age_ms, "an attempt stalls");
    let due = Due::Lost(attempt.step.clone(), attempt.attempt, Loss::Stalled);
    if let Some(master) = parts.master.get() {
        // Not taken now, it will be with the next heartbeat.
        let _ = master.tell(Advance { key: attempt.key.clone(), due }, CallContext::default());
    }
}
