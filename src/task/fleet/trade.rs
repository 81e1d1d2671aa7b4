//! What is known of one capability: its agents by their place, so that one can be drawn without looking at all. Each
//! change costs the same however many there are.

use super::super::id::{AgentId, At};
use super::member::Place;
use super::record::Pace;
use foldhash::HashMap;
use std::collections::BTreeSet;

/// How many of those that are due to be tried are counted: it is done with every commit, and there will be more commits.
const MOST_COUNTED: usize = 64;

/// What is known of one capability.
#[derive(Debug, Clone, Default)]
pub(super) struct Trade {
    pub(super) last_live: Option<At>,
    pub(super) waiting: [u32; 3],
    /// How long its steps take, over all agents.
    pub(super) pace: Pace,
    /// Those with a free slot that do not rest.
    pub(super) ready: Lots,
    /// Those that rest and can be tried, by when.
    pub(super) resting: BTreeSet<(At, AgentId)>,
    /// Free slots of those that do not rest.
    free: u64,
    /// All agents.
    living: usize,
    /// Those that rest, whether or not they can be tried.
    at_rest: usize,
}

impl Trade {
    pub(super) fn is_live(&self) -> bool {
        self.living > 0
    }

    /// Whether nobody else is there than who rests.
    pub(super) fn all_rest(&self) -> bool {
        self.living == self.at_rest
    }

    pub(super) fn free_slots(&self, now: At) -> u32 {
        let tries = if self.all_rest() { self.resting.len() } else { self.due(now).take(MOST_COUNTED).count() };
        u32::try_from(self.free.saturating_add(tries as u64)).unwrap_or(u32::MAX)
    }

    /// Those whose rest is over, the longest first.
    pub(super) fn due(&self, now: At) -> impl Iterator<Item = &AgentId> {
        self.resting.iter().take_while(move |(until, _)| *until <= now).map(|(_, agent)| agent)
    }

    // === Places ===

    pub(super) fn enter(&mut self, agent: &AgentId, place: Place) {
        self.living += 1;
        self.put(agent, place);
    }

    pub(super) fn exit(&mut self, agent: &AgentId, place: Place) {
        self.living = self.living.saturating_sub(1);
        self.take(agent, place);
    }

    pub(super) fn shift(&mut self, agent: &AgentId, before: Place, after: Place) {
        match (before, after) {
            // Most steps begin and end without their agent becoming full or free.
            (Place::Works { free: was @ 1.. }, Place::Works { free: is @ 1.. }) => {
                self.free = self.free.saturating_sub(was.into()).saturating_add(is.into());
            }
            _ => {
                self.take(agent, before);
                self.put(agent, after);
            }
        }
    }

    fn put(&mut self, agent: &AgentId, place: Place) {
        match place {
            Place::Works { free: 0 } => {}
            Place::Works { free } => {
                self.free = self.free.saturating_add(free.into());
                self.ready.insert(agent.clone());
            }
            Place::Rests { until } => {
                self.at_rest += 1;
                self.resting.insert((until, agent.clone()));
            }
            Place::Tried => self.at_rest += 1,
        }
    }

    fn take(&mut self, agent: &AgentId, place: Place) {
        match place {
            Place::Works { free: 0 } => {}
            Place::Works { free } => {
                self.free = self.free.saturating_sub(free.into());
                self.ready.remove(agent);
            }
            Place::Rests { until } => {
                self.at_rest = self.at_rest.saturating_sub(1);
                self.resting.remove(&(until, agent.clone()));
            }
            Place::Tried => self.at_rest = self.at_rest.saturating_sub(1),
        }
    }
}

/// Agents, each with a number below their count, so that one can be drawn: the last takes the number of one that leaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Lots {
    agents: Vec<AgentId>,
    numbers: HashMap<AgentId, usize>,
}

impl Lots {
    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&AgentId> {
        self.agents.get(number)
    }

    fn insert(&mut self, agent: AgentId) {
        self.numbers.insert(agent.clone(), self.agents.len());
        self.agents.push(agent);
    }

    fn remove(&mut self, agent: &AgentId) {
        let Some(number) = self.numbers.remove(agent) else { return };
        self.agents.swap_remove(number);
        if let Some(moved) = self.agents.get(number) {
            self.numbers.insert(moved.clone(), number);
        }
    }
}
