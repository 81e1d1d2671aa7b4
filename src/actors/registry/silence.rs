//! Agents that fall silent. What one has goes elsewhere, and it gets nothing more, before the time is over for which its last
//! heartbeat counts, by whichever master that was heard; when it is over the agent is forgotten.

use super::Registry;
use super::watching::Life;
use crate::actors::Turn;
use crate::actors::patience::patiently;
use crate::messages::AgentRecord;
use crate::task::{At, listed_lease_ms};
use std::time::Duration;

/// How often it is looked, in a heartbeat's time to live.
pub(super) const LOOKS: u32 = 16;

impl Registry {
    /// Looks for agents that were not heard for as long as their leases run, for as long as this life lasts.
    pub(super) fn keep_listening(&self, turn: &mut Turn<'_, Self>) {
        turn.every(self.ttl() / LOOKS, |registry, turn| {
            let is_silent = registry.agents.values().any(|alive| {
                let is_given_up = alive.declaration.foreign || alive.unreachable_since.is_some();
                !is_given_up && alive.heard.elapsed() >= registry.most_silent()
            });
            if is_silent && registry.vigil.counts_silence(registry.parts.store.now()) {
                let store = registry.parts.store.clone();
                turn.spawn(async move { patiently(store.agents()).await }, |registry, records, turn| match records {
                    Ok(records) => registry.give_up_silent(records, turn),
                    Err(error) => tracing::debug!(%error, "whether an agent is silent could not be read"),
                });
            }
        });
    }

    fn most_silent(&self) -> Duration {
        Duration::from_millis(listed_lease_ms(self.parts.heartbeat_ttl_ms))
    }

    /// Of whom the store knows no later sign of life either, the leases end now.
    fn give_up_silent(&mut self, records: Vec<AgentRecord>, turn: &mut Turn<'_, Self>) {
        let now = self.parts.store.now();
        for record in records {
            let silent = |heard: At| Duration::from_millis(now.since(heard));
            let is_silent = !record.declaration.foreign && silent(record.last_heartbeat) >= self.most_silent();
            let life: Life = (record.declaration.agent.clone(), record.declaration.incarnation.clone());
            // It may have been heard here since, with the record of it on its way.
            let known = self.agents.get(&life.0).filter(|alive| alive.declaration.incarnation == life.1);
            if is_silent && known.is_some_and(|alive| alive.heard.elapsed() >= self.most_silent()) {
                self.process_gone(life, "an agent fell silent", turn);
            } else {
                self.learn_of(record, now);
            }
        }
    }

    pub(super) fn forget_silent(&mut self) {
        let ttl = self.ttl();
        self.agents.retain(|agent, alive| {
            let is_alive = alive.heard.elapsed() < ttl;
            if !is_alive {
                tracing::warn!(agent = %agent, ttl_ms = ttl.as_millis(), "an agent was not heard any more: it is forgotten");
            }
            is_alive
        });
    }
}
