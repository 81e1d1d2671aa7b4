//! Which leases take a slot in a master's estimate, each at most once whatever becomes of its commit. How busy an agent
//! counts as follows from this table alone, so that it survives the agent's leaving and coming back.

use crate::task::{AgentId, Effects, Fleet, Incarnation, Lease, TaskKey};
use foldhash::{HashMap, HashMapExt as _, HashSet};

/// A lease with its task.
pub(super) type Held = (TaskKey, Lease);

/// All leases that this master knows of.
pub(super) struct Slots {
    held: HashMap<Held, Hold>,
    /// Those of which nobody will tell the end.
    untold: usize,
    recounts: u64,
    /// While the store is being asked which leases stand: those that ended meanwhile.
    ended: Option<HashSet<Held>>,
}

/// What is known of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Its commit is on its way.
    Booked,
    /// It is in the store.
    Stands(Standing),
    /// It is in the store, and a commit that ends it is on its way: its slot is free for what is decided meanwhile.
    Ending(Standing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// How many recounts had begun before it was known.
    since: u64,
    /// Whether this master placed it and hears how it ends.
    is_told: bool,
}

impl Hold {
    fn is_untold(self) -> bool {
        matches!(self, Self::Stands(standing) | Self::Ending(standing) if !standing.is_told)
    }

    fn takes_slot(self) -> bool {
        !matches!(self, Self::Ending(_))
    }
}

impl Slots {
    pub fn new() -> Self {
        Self { held: HashMap::new(), untold: 0, recounts: 0, ended: None }
    }

    /// Whether leases are known of which nobody will tell the end.
    pub fn has_untold(&self) -> bool {
        self.untold > 0
    }

    /// Changes what is known of a lease, and the fleet with it.
    fn set(&mut self, fleet: &mut Fleet, held: &Held, hold: Option<Hold>) {
        let before = match hold {
            Some(hold) => self.held.insert(held.clone(), hold),
            None => self.held.remove(held),
        };
        self.untold += usize::from(hold.is_some_and(Hold::is_untold));
        self.untold -= usize::from(before.is_some_and(Hold::is_untold));
        match (before.is_some_and(Hold::takes_slot), hold.is_some_and(Hold::takes_slot)) {
            (false, true) => {
                fleet.take_slot(&held.1);
            }
            (true, false) => {
                fleet.give_slot(&held.1);
            }
            _ => {}
        }
    }

    // === A commit's way ===

    /// A commit is on its way that has these effects.
    pub fn book(&mut self, fleet: &mut Fleet, key: &TaskKey, effects: &Effects) {
        for lease in &effects.release {
            let held = (key.clone(), lease.clone());
            if let Some(Hold::Stands(standing)) = self.held.get(&held).copied() {
                self.set(fleet, &held, Some(Hold::Ending(standing)));
            }
        }
        for lease in &effects.lease {
            let held = (key.clone(), lease.clone());
            if !self.held.contains_key(&held) {
                self.set(fleet, &held, Some(Hold::Booked));
            }
        }
    }

    /// That commit was not written.
    pub fn unbook(&mut self, fleet: &mut Fleet, key: &TaskKey, effects: &Effects) {
        for lease in &effects.lease {
            let held = (key.clone(), lease.clone());
            if self.held.get(&held) == Some(&Hold::Booked) {
                self.set(fleet, &held, None);
            }
        }
        for lease in &effects.release {
            let held = (key.clone(), lease.clone());
            if let Some(Hold::Ending(standing)) = self.held.get(&held).copied() {
                self.set(fleet, &held, Some(Hold::Stands(standing)));
            }
        }
    }

    /// That commit was written.
    pub fn settle(&mut self, fleet: &mut Fleet, key: &TaskKey, effects: &Effects) {
        for lease in &effects.release {
            let held = (key.clone(), lease.clone());
            self.set(fleet, &held, None);
            if let Some(ended) = &mut self.ended {
                ended.insert(held);
            }
        }
        for lease in &effects.lease {
            self.stand(fleet, &(key.clone(), lease.clone()), true);
        }
    }

    // === What the store says ===

    fn stand(&mut self, fleet: &mut Fleet, held: &Held, is_told: bool) {
        self.set(fleet, held, Some(Hold::Stands(Standing { since: self.recounts, is_told })));
    }

    /// These leases stand in the store; those that were not known are another's, or of an earlier life.
    pub fn learn(&mut self, fleet: &mut Fleet, standing: impl IntoIterator<Item = Held>) {
        for held in standing {
            if !self.held.contains_key(&held) {
                self.stand(fleet, &held, false);
            }
        }
    }

    /// The store is going to be asked which leases stand. Answers whether it is not being asked already.
    pub fn begin_recount(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.ended = Some(HashSet::default());
        self.recounts += 1;
        true
    }

    /// The store was asked: it gave no answer, or these leases. Those counted since it was asked are not in its answer, nor
    /// does it know which of them ended since.
    pub fn end_recount(&mut self, fleet: &mut Fleet, standing: Option<HashSet<Held>>) {
        let ended = self.ended.take().unwrap_or_default();
        let Some(standing) = standing else { return };
        let recounts = self.recounts;
        let is_over = |(held, hold): &(&Held, &Hold)| {
            matches!(hold, Hold::Stands(hold) if hold.since < recounts) && !standing.contains(*held)
        };
        let over: Vec<_> = self.held.iter().filter(is_over).map(|(held, _)| held.clone()).collect();
        over.iter().for_each(|held| self.set(fleet, held, None));
        self.learn(fleet, standing.into_iter().filter(|held| !ended.contains(held)));
    }

    // === Who comes and goes ===

    /// These lives have just joined: what they hold is counted anew.
    pub fn joined(&self, fleet: &mut Fleet, lives: &HashSet<(AgentId, Incarnation)>) {
        if lives.is_empty() {
            return;
        }
        for ((_, lease), _) in self.held.iter().filter(|(_, hold)| hold.takes_slot()) {
            if lives.contains(&(lease.agent.clone(), lease.incarnation.clone())) {
                fleet.take_slot(lease);
            }
        }
    }

    /// These agents have left: whoever hears how their steps end may be another master.
    pub fn left(&mut self, agents: &HashSet<AgentId>) {
        if agents.is_empty() {
            return;
        }
        for ((_, lease), hold) in &mut self.held {
            if agents.contains(&lease.agent)
                && let Hold::Stands(standing) | Hold::Ending(standing) = hold
                && std::mem::replace(&mut standing.is_told, false)
            {
                self.untold += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
