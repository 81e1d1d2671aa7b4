//! Where each agent is reached. Near agents enter as they start, far ones as the registry hears of them; whoever sends
//! work looks here and cannot tell one from the other.

use super::{ActorRef, Node};
use crate::messages::{Declaration, DropAttempt, Knock, Probe, Watch, Work};
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
    /// For finding out whether it is there; none for an agent of this process.
    pub far: Option<FarLines>,
}

/// How it is found out whether an agent of another process is there.
#[derive(Debug, Clone)]
pub struct FarLines {
    /// For asking it.
    pub probe: ActorRef<Probe>,
    /// For hearing when its process ends.
    pub watch: ActorRef<Watch>,
    /// For asking its machine.
    pub knock: ActorRef<Knock>,
}

/// Makes lines to agents in other processes.
pub trait Connect: Send + Sync + 'static {
    /// Lines to an agent that declared where it is reached, with what holds them up; none when nobody can be there.
    fn connect(&self, declaration: &Declaration, url: &str) -> Option<(Arc<AgentLines>, Node)>;
}

/// All agents that this process can reach.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    agents: Arc<RwLock<BTreeMap<AgentId, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    lines: Arc<AgentLines>,
    /// None for an agent of this process.
    far: Option<Far>,
}

#[derive(Debug)]
struct Far {
    url: Arc<str>,
    /// In which form work is written for it.
    reads_stages: bool,
    node: Node,
}

impl Directory {
    /// Makes an agent of this process reachable.
    pub fn enter(&self, agent: AgentId, lines: Arc<AgentLines>) {
        self.agents.write().insert(agent, Entry { lines, far: None });
    }

    /// Forgets an agent, unless it is reached otherwise by now.
    pub fn leave(&self, agent: &AgentId, lines: &Arc<AgentLines>) {
        let mut agents = self.agents.write();
        if agents.get(agent).is_some_and(|known| Arc::ptr_eq(&known.lines, lines)) {
            agents.remove(agent);
        }
    }

    /// How an agent is reached; none when it is not known here.
    pub fn find(&self, agent: &AgentId) -> Option<Arc<AgentLines>> {
        self.agents.read().get(agent).map(|entry| entry.lines.clone())
    }

    /// Makes lines to those declared agents that are reached elsewhere or otherwise than known, and takes down those to
    /// others. Gives what held the latter up, to be retired.
    pub(super) fn follow<'a>(
        &self,
        declared: impl Iterator<Item = &'a Declaration> + Clone,
        connect: &dyn Connect,
    ) -> Vec<Node> {
        let mut agents = self.agents.write();
        let mut gone = Vec::new();
        for declaration in declared.clone() {
            let Some(url) = &declaration.url else { continue };
            let known = agents.get(&declaration.agent);
            // An agent of this process is reached by itself, whatever it tells others.
            let is_it = |far: &Far| far.url == *url && far.reads_stages == declaration.reads_stages;
            if known.is_some_and(|known| known.far.as_ref().is_none_or(is_it)) {
                continue;
            }
            let Some((lines, node)) = connect.connect(declaration, url) else { continue };
            let far = Some(Far { url: url.clone(), reads_stages: declaration.reads_stages, node });
            let before = agents.insert(declaration.agent.clone(), Entry { lines, far });
            gone.extend(before.and_then(|entry| entry.far).map(|far| far.node));
        }
        let names: std::collections::BTreeSet<_> = declared.map(|declaration| &declaration.agent).collect();
        let lost: Vec<_> = agents
            .iter()
            .filter(|(agent, entry)| entry.far.is_some() && !names.contains(agent))
            .map(|(agent, _)| agent.clone())
            .collect();
        for agent in lost {
            gone.extend(agents.remove(&agent).and_then(|entry| entry.far).map(|far| far.node));
        }
        gone
    }
}
