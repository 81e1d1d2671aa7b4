//! Where each agent is reached. Filled as agents start; whoever sends work looks here and cannot tell a near agent from
//! a far one.

use super::ActorRef;
use crate::messages::{Drain, DropAttempt, Work};
use crate::task::AgentId;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How one agent is reached.
#[derive(Debug, Clone)]
pub struct AgentLines {
    /// For work.
    pub work: ActorRef<Work>,
    /// For taking it back.
    pub drop_attempt: ActorRef<DropAttempt>,
    /// For its last instructions.
    pub drain: ActorRef<Drain>,
}

/// All agents that this process can reach.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    agents: Arc<RwLock<BTreeMap<AgentId, Arc<AgentLines>>>>,
}

impl Directory {
    /// Makes an agent reachable.
    pub fn enter(&self, agent: AgentId, lines: Arc<AgentLines>) {
        self.agents.write().insert(agent, lines);
    }

    /// Forgets an agent, unless it is reached otherwise by now.
    pub fn leave(&self, agent: &AgentId, lines: &Arc<AgentLines>) {
        let mut agents = self.agents.write();
        if agents.get(agent).is_some_and(|known| Arc::ptr_eq(known, lines)) {
            agents.remove(agent);
        }
    }

    /// How an agent is reached; none when it is not known here.
    pub fn find(&self, agent: &AgentId) -> Option<Arc<AgentLines>> {
        self.agents.read().get(agent).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<(AgentId, Arc<AgentLines>)> {
        self.agents.read().iter().map(|(agent, lines)| (agent.clone(), lines.clone())).collect()
    }
}
