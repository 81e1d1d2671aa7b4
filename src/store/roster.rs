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
    /// Keeps a record until then. Answers whether it is of an agent that was not there, or not as it declares itself.
    pub fn put(&mut self, record: AgentRecord, now: At, until: At) -> bool {
        for capability in &record.declaration.capabilities {
            self.saw(capability.clone(), now);
        }
        let known = self.agents.get(&record.declaration.agent).filter(|(_, until)| *until > now);
        let is_news = known.is_none_or(|(known, _)| known.declaration != record.declaration);
        self.agents.insert(record.declaration.agent.clone(), (record, until));
        is_news
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

    /// Forgets an agent. Answers whether it was there.
    pub fn remove(&mut self, agent: &AgentId) -> bool {
        self.agents.remove(agent).is_some()
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
