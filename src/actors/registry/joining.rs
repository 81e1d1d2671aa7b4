//! Who joins and who leaves. A name is its newest life's: an earlier one that is still about neither takes it back while
//! the newer lives, nor takes the newer away when it says farewell.

use super::{Alive, Registry, recorded, unavailable};
use crate::actors::patience::patiently;
use crate::actors::{Handle, Reply, Turn};
use crate::messages::{AgentRecord, CallContext, Declaration, Deregister, Register, RegistryError};
use crate::task::{AgentId, Incarnation};

/// How many earlier lives of a name are remembered; those before them had their time to end.
const REMEMBERED: usize = 16;

impl Alive {
    /// This life came after that one under the same name.
    pub(super) fn has_replaced(&self, life: &Incarnation) -> bool {
        self.declaration.incarnation != *life && self.replaced.contains(life)
    }
}

impl Registry {
    /// The lives that this one comes after: what the living one came after, and that one.
    fn replaced_by(&self, declaration: &Declaration) -> Vec<Incarnation> {
        let Some(known) = self.agents.get(&declaration.agent) else { return Vec::new() };
        let mut replaced = both(&known.replaced, std::slice::from_ref(&known.declaration.incarnation));
        replaced.retain(|life| *life != declaration.incarnation);
        replaced
    }

    fn refuses(&self, declaration: &Declaration) -> Option<RegistryError> {
        let known = self.agents.get(&declaration.agent)?;
        known.has_replaced(&declaration.incarnation).then(|| replaced(&declaration.agent))
    }
}

impl Handle<Register> for Registry {
    fn handle(&mut self, message: Register, _: CallContext, reply: Reply<Register>, turn: &mut Turn<'_, Self>) {
        let Register(declaration) = message;
        if let Some(refusal) = self.refuses(&declaration) {
            tracing::warn!(agent = %declaration.agent, "an earlier life of an agent was refused: a newer one has its name");
            reply.send(Err(refusal));
            return;
        }
        let earlier = self.agents.get(&declaration.agent).map(|alive| alive.declaration.incarnation.clone());
        let earlier = earlier.filter(|earlier| *earlier != declaration.incarnation);
        tracing::info!(agent = %declaration.agent, slots = declaration.slots, "an agent joined");
        let parts = self.parts.clone();
        let replaced = self.replaced_by(&declaration);
        let last_heartbeat = parts.store.now();
        let record = AgentRecord { declaration: declaration.clone(), last_heartbeat, load: 0.0, active: 0, replaced };
        let agent = declaration.agent.clone();
        let recorded = async move {
            if let Some(earlier) = earlier {
                patiently(parts.store.expire_leases_of(&agent, &earlier)).await?;
            }
            patiently(parts.store.put_agent(record, parts.heartbeat_ttl_ms)).await
        };
        turn.spawn(recorded, move |registry, recorded, turn| {
            if recorded.is_ok() {
                let replaced = registry.replaced_by(&declaration);
                registry.heard(declaration, replaced);
                registry.tell_roster(turn);
            }
            reply.send(recorded.map_err(unavailable));
        });
    }
}

impl Handle<Deregister> for Registry {
    fn handle(&mut self, message: Deregister, _: CallContext, reply: Reply<Deregister>, turn: &mut Turn<'_, Self>) {
        let Deregister { agent, incarnation } = message;
        let is_meant = |life: &Incarnation| incarnation.as_ref().is_none_or(|meant| meant == life);
        if self.agents.get(&agent).is_some_and(|alive| is_meant(&alive.declaration.incarnation)) {
            self.agents.remove(&agent);
            tracing::info!(%agent, "an agent left");
            self.tell_roster(turn);
        }
        let store = self.parts.store.clone();
        let removed = async move {
            // A newer life may have joined at another master a moment ago.
            let is_recorded = match &incarnation {
                Some(incarnation) => recorded(&*store, &agent, incarnation).await.is_some(),
                None => true,
            };
            if is_recorded { patiently(store.remove_agent(&agent)).await } else { Ok(()) }
        };
        turn.spawn(removed, |_, removed, _| reply.send(removed.map_err(unavailable)));
    }
}

/// The lives of both lists, as far as they are remembered: the last of the second are the newest.
pub(super) fn both(older: &[Incarnation], newer: &[Incarnation]) -> Vec<Incarnation> {
    let mut all: Vec<_> = older.iter().filter(|life| !newer.contains(life)).chain(newer).cloned().collect();
    all.drain(..all.len().saturating_sub(REMEMBERED));
    all
}

fn replaced(agent: &AgentId) -> RegistryError {
    let why = format!(
        "another process joined later under the name {agent} and has it now: give each worker a name of its own, and \
         end this one if it was to be replaced"
    );
    RegistryError::Replaced(why.into())
}
