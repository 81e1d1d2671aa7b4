//! The agents that are alive, and when an agent for each capability was last recorded. Kept in memory by every store that
//! lives in one process.

use crate::messages::AgentRecord;
use crate::task::{AgentId, At, Capability};
use std::collections::BTreeMap;

/// Live agents and capabilities seen.
#[derive(Debug, Default)]
pub(super) struct Roster {
    agents: BTreeMap<AgentId, (AgentRecord, At)>,
    seen: BTreeMap<Capability, At>,
}

impl Roster {
    /// Keeps a record until then.
    pub fn put(&mut self, record: AgentRecord, now: At, until: At) {
        for capability in &record.declaration.capabilities {
            self.saw(capability.clone(), now);
        }
        self.agents.insert(record.declaration.agent.clone(), (record, until));
    }

    /// Takes a record over from an earlier process, which has seen its capabilities itself.
    pub fn restore(&mut self, record: AgentRecord, until: At) {
        self.agents.insert(record.declaration.agent.clone(), (record, until));
    }

    /// Remembers when a capability was recorded.
    pub fn saw(&mut self, capability: Capability, at: At) {
        let seen = self.seen.entry(capability).or_insert(at);
        *seen = at.max(*seen);
    }

    /// Forgets an agent.
    pub fn remove(&mut self, agent: &AgentId) {
        self.agents.remove(agent);
    }

    /// The agents whose records still count, by name; the others are forgotten.
    pub fn live(&mut self, now: At) -> Vec<AgentRecord> {
        self.agents.retain(|_, (_, until)| *until > now);
        self.agents.values().map(|(record, _)| record.clone()).collect()
    }

    /// Whether an agent is reached over the network.
    pub fn remote(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_some_and(|(record, _)| record.declaration.url.is_some())
    }

    /// When an agent for each capability was last recorded.
    pub fn seen(&self) -> Vec<(Capability, At)> {
        self.seen.iter().map(|(capability, at)| (capability.clone(), *at)).collect()
    }
}
