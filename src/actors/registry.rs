//! The registry: who is alive. Takes registrations and heartbeats, renews the leases that heartbeats list, learns from the
//! store what other masters heard, forgets who fell silent, and tells the masters through the roster; it never decides
//! about a task.

mod foreign;
mod joining;
mod silence;
mod watching;

use super::directory::{Connect, Directory};
use super::patience::{patiently, within};
use super::vigil::Vigil;
use super::{ActorRef, Behaviour, Handle, Reply, Turn};
use crate::messages::{
    ActiveAttempt, Advance, AgentRecord, CallContext, CallError, CallStatus, Declaration, DropAttempt, Due, DueNow,
    Heartbeat, HeartbeatAnswer, Phase, RegistryError,
};
use crate::store::{Store, StoreError};
use crate::task::{AgentId, At, Capability, Incarnation, Lease, Loss, TaskKey, listed_lease_ms};
use foreign::Strangers;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use watching::Watches;

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
    /// Where agents are reached; those of other processes enter and leave it here.
    pub directory: Directory,
    /// Makes lines to agents of other processes.
    pub connect: Arc<dyn Connect>,
    /// Who is told of attempts that stall. Set once the node has started it.
    pub master: Arc<OnceLock<ActorRef<Advance>>>,
    /// Who is told that leases have ended before their time. Set once the node has started it.
    pub dispatcher: Arc<OnceLock<ActorRef<DueNow>>>,
    /// Who confirms model calls. Set once the node has started it.
    pub gateway: Arc<OnceLock<ActorRef<CallStatus>>>,
    /// How long a heartbeat counts, in milliseconds.
    pub heartbeat_ttl_ms: u64,
    /// How long an attempt may show no progress outside a confirmed model call, in milliseconds.
    pub stall_timeout_ms: u64,
}

/// How long the gateway may take to confirm a call; no answer is no confirmation.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the store is asked what other masters heard, unless it tells of other agents before.
const LEARN_EVERY: Duration = Duration::from_secs(1);
/// Whom this registry heard itself so lately may be missing in what the store says: the record may be on its way.
const FRESH: Duration = Duration::from_secs(3);

/// Knows who is alive.
pub struct Registry {
    parts: RegistryParts,
    agents: BTreeMap<AgentId, Alive>,
    strangers: Strangers,
    watches: Watches,
    vigil: Vigil,
    /// Until the store was read once, the roster holds that the life before this one told: a crash must not empty it.
    has_learned: bool,
}

struct Alive {
    declaration: Declaration,
    /// The lives of this name that this one came after.
    replaced: Vec<Incarnation>,
    /// When it was last heard, by whichever master; by this process's clock, since it is silence that counts.
    heard: Instant,
    /// When this registry heard it itself.
    heard_here: Option<Instant>,
    /// Since when nobody listens where it is reached: it gets no work until it is heard again.
    unreachable_since: Option<Instant>,
}

// === impl Registry ===

impl Registry {
    /// A new life. It knows nobody until it has read the store; agents that are not there are told to register again.
    pub fn create(parts: RegistryParts) -> Self {
        let strangers = Strangers::new(parts.heartbeat_ttl_ms);
        let vigil = Vigil::new(parts.heartbeat_ttl_ms);
        Self { parts, agents: BTreeMap::new(), strangers, watches: Watches::default(), vigil, has_learned: false }
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.parts.heartbeat_ttl_ms)
    }

    fn tell_roster(&mut self, turn: &mut Turn<'_, Self>) {
        if !self.has_learned {
            return;
        }
        let declared = self.agents.values().map(|alive| &alive.declaration);
        for node in self.parts.directory.follow(declared, &*self.parts.connect) {
            turn.spawn(async move { node.retired().await }, |_, (), _| {});
        }
        self.watch_the_far(turn);
        let entry = |alive: &Alive| RosterEntry {
            incarnation: alive.declaration.incarnation.clone(),
            capabilities: alive.declaration.capabilities.clone(),
            slots: alive.declaration.slots,
        };
        let is_reached = |agent: &AgentId, alive: &Alive| {
            alive.unreachable_since.is_none() && self.parts.directory.find(agent).is_some()
        };
        let reached = self.agents.iter().filter(|(agent, alive)| is_reached(agent, alive));
        let roster: Roster = reached.map(|(agent, alive)| (agent.clone(), entry(alive))).collect();
        self.parts.roster.send_if_modified(|told| {
            let is_news = **told != roster;
            if is_news {
                *told = Arc::new(roster);
            }
            is_news
        });
    }

    fn heard(&mut self, declaration: Declaration, replaced: Vec<Incarnation>) {
        let now = Instant::now();
        let alive = Alive { declaration, replaced, heard: now, heard_here: Some(now), unreachable_since: None };
        self.agents.insert(alive.declaration.agent.clone(), alive);
    }

    // === Learning from other masters ===

    fn keep_learning(&mut self, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        // Listened to before reading: what comes in between is read again.
        let mut changed = store.agents_changed();
        let read = async move { patiently(store.agents()).await };
        turn.spawn(read, |registry, records, turn| {
            match records {
                Ok(records) => registry.learn(records, turn),
                // Nobody is forgotten meanwhile: what other masters hear cannot be known.
                Err(error) => tracing::debug!(%error, "the agents could not be read from the store"),
            }
            registry.tell_roster(turn);
            let until_next = async move {
                let is_closed = matches!(within(LEARN_EVERY, changed.changed()).await, Some(Err(_)));
                if is_closed {
                    tokio::time::sleep(LEARN_EVERY).await;
                }
            };
            turn.spawn(until_next, |registry, (), turn| registry.keep_learning(turn));
        });
    }

    fn learn(&mut self, records: Vec<AgentRecord>, turn: &mut Turn<'_, Self>) {
        self.has_learned = true;
        let now = self.parts.store.now();
        let counts_silence = self.vigil.begin(now);
        if counts_silence {
            // Whoever fell silent is no more, and must not be recorded again as one that the store has lost.
            self.forget_silent();
        }
        if records.is_empty() && self.agents.values().any(|alive| alive.heard_here.is_some()) {
            return self.record_again(turn);
        }
        let names: std::collections::BTreeSet<_> =
            records.iter().map(|record| record.declaration.agent.clone()).collect();
        for record in records {
            self.learn_of(record, now);
        }
        let is_fresh = |alive: &Alive| alive.heard_here.is_some_and(|heard| heard.elapsed() < FRESH);
        self.agents.retain(|agent, alive| names.contains(agent) || is_fresh(alive) || !counts_silence);
    }

    fn learn_of(&mut self, record: AgentRecord, now: At) {
        let age = Duration::from_millis(now.since(record.last_heartbeat));
        let heard = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let known = self.agents.get_mut(&record.declaration.agent);
        match known {
            Some(alive) if alive.declaration.incarnation == record.declaration.incarnation => {
                alive.unreachable_since = alive.unreachable_since.filter(|since| *since > heard);
                alive.replaced = joining::both(&record.replaced, &alive.replaced);
                if heard > alive.heard {
                    alive.heard = heard;
                    alive.declaration = record.declaration;
                }
            }
            // Word of an earlier life, which came later than that of this one.
            Some(alive) if alive.has_replaced(&record.declaration.incarnation) => {}
            Some(alive) if alive.heard > heard && !record.replaced.contains(&alive.declaration.incarnation) => {}
            _ => {
                tracing::info!(agent = %record.declaration.agent, "an agent that joined elsewhere is known");
                let AgentRecord { declaration, replaced, .. } = record;
                let alive = Alive { declaration, replaced, heard, heard_here: None, unreachable_since: None };
                self.agents.insert(alive.declaration.agent.clone(), alive);
            }
        }
    }

    /// The store has lost all its agents: those that were heard here are recorded again, as of when they were heard.
    fn record_again(&mut self, turn: &mut Turn<'_, Self>) {
        let reached = self.agents.values().filter(|alive| alive.unreachable_since.is_none());
        for (alive, heard) in reached.filter_map(|alive| Some((alive, alive.heard_here?))) {
            let age_ms = u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX);
            if age_ms >= self.parts.heartbeat_ttl_ms {
                continue;
            }
            let last_heartbeat = At(self.parts.store.now().0.saturating_sub(age_ms));
            let record = alive.record(last_heartbeat, 0.0, 0);
            let (store, ttl_ms) = (self.parts.store.clone(), self.parts.heartbeat_ttl_ms - age_ms);
            turn.spawn(async move { patiently(store.put_agent(record, ttl_ms)).await }, |_, put, _| {
                if let Err(error) = put {
                    tracing::debug!(%error, "an agent could not be recorded again");
                }
            });
        }
    }

    /// Writes down for the other masters that an agent was heard.
    fn keep_record(&self, known: AgentRecord, beat: &Heartbeat, turn: &mut Turn<'_, Self>) {
        let active = u32::try_from(beat.active.len()).unwrap_or(u32::MAX);
        let record = AgentRecord { last_heartbeat: self.parts.store.now(), load: beat.load, active, ..known };
        let (store, ttl_ms) = (self.parts.store.clone(), self.parts.heartbeat_ttl_ms);
        turn.spawn(async move { patiently(store.put_agent(record, ttl_ms)).await }, |_, put, _| {
            if let Err(error) = put {
                tracing::warn!(%error, "an agent's record could not be written");
            }
        });
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
        self.keep_learning(turn);
        self.keep_looking_at_strangers(turn);
        self.keep_listening(turn);
        // A store that cannot be read must not keep out those who join.
        turn.later(self.ttl(), |registry, turn| {
            registry.has_learned = true;
            registry.tell_roster(turn);
        });
    }
}

impl Handle<Heartbeat> for Registry {
    fn handle(&mut self, beat: Heartbeat, _: CallContext, reply: Reply<Heartbeat>, turn: &mut Turn<'_, Self>) {
        let now = self.parts.store.now();
        let alive = self.agents.get_mut(&beat.agent);
        let is_replaced = alive.as_ref().is_some_and(|alive| alive.has_replaced(&beat.incarnation));
        let known = alive.filter(|alive| alive.declaration.incarnation == beat.incarnation);
        let known = known.map(|alive| {
            alive.heard = Instant::now();
            alive.heard_here = Some(alive.heard);
            alive.unreachable_since = None;
            alive.record(now, beat.load, 0)
        });
        self.look_into_stalls(&beat.active, turn);
        let parts = self.parts.clone();
        let asked = beat.clone();
        let renewed = async move {
            // The leases first, and whatever becomes of the rest: what lives must not be ended because a record of it
            // could not be written, nor because its agent has signed off and finishes what it has.
            let lease_ms = listed_lease_ms(parts.heartbeat_ttl_ms);
            let gone = patiently(parts.store.renew(leases(&asked), lease_ms)).await;
            let known = match known {
                Some(known) => Some(known),
                None if is_replaced => None,
                // It may have joined at another master a moment ago.
                None => recorded(&*parts.store, &asked.agent, &asked.incarnation).await,
            };
            (gone, known)
        };
        let was_known = self.agents.contains_key(&beat.agent);
        turn.spawn(renewed, move |registry, (gone, record), turn| {
            let known = record.is_some();
            // One that has signed off meanwhile stays away.
            let stays = !was_known || registry.agents.contains_key(&beat.agent);
            if let Some(record) = record.filter(|_| stays) {
                if !was_known {
                    registry.heard(record.declaration.clone(), record.replaced.clone());
                }
                registry.keep_record(record, &beat, turn);
            }
            registry.tell_roster(turn);
            let drop = |gone: Vec<_>| gone.into_iter().map(dropped).collect();
            reply.send(gone.map(|gone| HeartbeatAnswer { drop: drop(gone), known }).map_err(unavailable));
        });
    }
}

// === Pure parts ===

impl Alive {
    fn record(&self, now: At, load: f64, active: u32) -> AgentRecord {
        let (declaration, replaced) = (self.declaration.clone(), self.replaced.clone());
        AgentRecord { declaration, last_heartbeat: now, load, active, replaced }
    }
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

/// What the store has of this life of an agent.
async fn recorded(store: &dyn Store, agent: &AgentId, incarnation: &Incarnation) -> Option<AgentRecord> {
    let records = patiently(store.agents()).await.ok()?;
    let is_its = |known: &Declaration| known.agent == *agent && known.incarnation == *incarnation;
    records.into_iter().find(|record| is_its(&record.declaration))
}

/// Ends an attempt that stalls, unless it waits for a model call that the gateway knows, or that nobody can be asked
/// after: that one goes on until its step's time-out.
async fn judge_stall(parts: &RegistryParts, attempt: &ActiveAttempt) {
    if let (Phase::Model, Some(call)) = (attempt.phase, &attempt.call) {
        let Some(gateway) = parts.gateway.get() else { return };
        match gateway.ask(CallStatus(call.clone()), CallContext::default(), CONFIRM_TIMEOUT).await {
            // It does not know the question, so its silence says nothing.
            Ok(Some(_)) | Err(CallError::Rejected) => return,
            Ok(None) | Err(_) => {}
        }
    }
    tracing::warn!(task = %attempt.key.id, step = %attempt.step, age_ms = attempt.progress_age_ms, "an attempt stalls");
    let due = Due::Lost(attempt.step.clone(), attempt.attempt, Loss::Stalled);
    if let Some(master) = parts.master.get() {
        // Not taken now, it will be with the next heartbeat.
        let _ = master.tell(Advance { key: attempt.key.clone(), due }, CallContext::default());
    }
}

#[cfg(test)]
mod tests;
