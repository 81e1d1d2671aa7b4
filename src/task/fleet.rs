//! Who could take a step: the agents believed alive, their free slots, and how many steps already wait. An estimate:
//! fairness hangs on it, correctness never, because the worker's own count of slots is the truth.

mod member;
mod reason;
mod record;
mod routing;
mod score;
mod trade;
mod trial;

use super::effects::Lease;
use super::id::{AgentId, At, Capability, Incarnation};
use super::submission::Priority;
use foldhash::HashMap;
use parking_lot::Mutex;
use reason::Reasons;
use std::sync::Arc;
use trade::Trade;

pub use member::Member;
pub use record::{Record, Rest};
pub use routing::{Choice, Wanted};
pub use trial::{Trial, Verdict};

/// All live agents by name, and all capabilities ever seen. Hashed, not ordered: what it costs to choose an agent, and to book that a step
/// began or ended, must not grow with the number of agents or of steps.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: HashMap<AgentId, Member>,
    trades: HashMap<Capability, Trade>,
    ttl_ms: u64,
    /// When all of them were last known to live.
    beat: At,
    /// The records of those that left, for when the same life comes back: one that is not reached now and then leaves
    /// each time.
    left: HashMap<AgentId, (Incarnation, Record)>,
    reasons: Arc<Mutex<Reasons>>,
}

/// After this many agents have left, and not come back, their records are forgotten.
const MOST_LEFT: usize = 4096;

impl Fleet {
    /// An empty fleet whose heartbeats live this long, in milliseconds.
    pub fn new(ttl_ms: u64) -> Self {
        Self { ttl_ms, ..Self::default() }
    }

    /// How long a heartbeat counts, in milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }

    /// An agent is alive. What is known of its business survives when it is the same life.
    pub fn join(&mut self, agent: AgentId, mut member: Member, now: At) {
        if let Some(known) = self.members.get(&agent) {
            if known.declares_as(&member) {
                return;
            }
            if known.incarnation == member.incarnation {
                (member.busy, member.record) = (known.busy, known.record.clone());
            }
            self.remove(&agent);
        } else if let Some((_, record)) = self.left.remove(&agent).filter(|(life, _)| *life == member.incarnation) {
            member.record = record;
        }
        for capability in &member.capabilities {
            let trade = self.trades.entry(capability.clone()).or_default();
            trade.enter(&agent, member.place());
            trade.last_live = Some(now);
        }
        self.members.insert(agent, member);
    }

    /// An agent is gone.
    pub fn leave(&mut self, agent: &AgentId) {
        let Some(member) = self.remove(agent) else { return };
        if self.left.len() >= MOST_LEFT {
            self.left.clear();
        }
        self.left.insert(agent.clone(), (member.incarnation, member.record.left()));
    }

    fn remove(&mut self, agent: &AgentId) -> Option<Member> {
        let member = self.members.remove(agent)?;
        for capability in &member.capabilities {
            let Some(trade) = self.trades.get_mut(capability) else { continue };
            trade.exit(agent, member.place());
            trade.last_live = trade.last_live.max(Some(self.beat));
        }
        Some(member)
    }

    /// All live agents, in no order.
    pub fn members(&self) -> impl Iterator<Item = (&AgentId, &Member)> {
        self.members.iter()
    }

    /// Records that an agent for this capability lived at that moment, as read back after a restart.
    pub fn saw(&mut self, capability: &Capability, at: At) {
        let trade = self.trades.entry(capability.clone()).or_default();
        trade.last_live = trade.last_live.max(Some(at));
    }

    /// Whether any agent can take such steps, now or once a slot is free or its rest is over.
    pub fn live(&self, capability: &Capability) -> bool {
        self.trades.get(capability).is_some_and(Trade::is_live)
    }

    /// When an agent for it was last known to live: now, if one does.
    pub fn last_live(&self, capability: &Capability, now: At) -> Option<At> {
        let trade = self.trades.get(capability)?;
        if trade.is_live() { Some(now) } else { trade.last_live }
    }

    /// The capabilities that have a live agent, in order.
    pub fn capabilities(&self) -> Vec<Capability> {
        let live = self.trades.iter().filter(|(_, trade)| trade.is_live());
        let mut names: Vec<_> = live.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// All that are here live at this moment. Of the capabilities that nobody has any more none was seen later than that:
    /// where the clock was set back since, nobody waits for it to catch up.
    pub fn beat(&mut self, now: At) {
        self.beat = now;
        for trade in self.trades.values_mut().filter(|trade| !trade.is_live()) {
            trade.last_live = trade.last_live.min(Some(now));
        }
    }

    // === Slots ===

    /// Changes a member, if that life of it is here, and its place in its trades with it.
    fn change<T>(
        &mut self,
        agent: &AgentId,
        incarnation: &Incarnation,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let member = self.members.get_mut(agent).filter(|member| member.incarnation == *incarnation)?;
        let before = member.place();
        let changed = change(member);
        let after = member.place();
        if before != after {
            for capability in &member.capabilities {
                if let Some(trade) = self.trades.get_mut(capability) {
                    trade.shift(agent, before, after);
                }
            }
        }
        Some(changed)
    }

    /// How many steps at once this life of an agent takes; none when it is not here.
    pub fn slots_of(&self, agent: &AgentId, incarnation: &Incarnation) -> Option<u32> {
        self.members.get(agent).filter(|member| member.incarnation == *incarnation).map(|member| member.slots)
    }

    /// The same agents, none of which has a free slot.
    pub fn filled(&self) -> Self {
        let mut filled = self.clone();
        for (agent, member) in &self.members {
            filled.change(agent, &member.incarnation, |member| member.busy = member.busy.max(member.slots));
        }
        filled
    }

    /// An attempt was assigned. Answers whether that was counted: an earlier life's is not.
    pub fn take_slot(&mut self, lease: &Lease) -> bool {
        self.change(&lease.agent, &lease.incarnation, |member| member.take(lease)).is_some()
    }

    /// An attempt ended. Answers whether that was counted.
    pub fn give_slot(&mut self, lease: &Lease) -> bool {
        self.change(&lease.agent, &lease.incarnation, |member| member.give(lease)).unwrap_or(false)
    }

    /// Remembers how an attempt went, for or against its agent.
    pub fn judge(&mut self, trial: &Trial<'_>) {
        if self.change(trial.agent, trial.incarnation, |member| member.record.add(trial)).is_none() {
            // Word that it is not reached comes before word of what it had.
            let left = self.left.get_mut(trial.agent).filter(|(life, _)| life == trial.incarnation);
            return left.into_iter().for_each(|(_, record)| record.add(trial));
        }
        if let (Some(took_ms), Some(trade)) = (trial.took_ms(), self.trades.get_mut(trial.capability)) {
            trade.pace.add(took_ms);
        }
    }

    /// Free slots over all agents for a capability that do not rest; and where a rest is over, or all of them rest, the
    /// one step for which each may be tried.
    pub fn free_slots(&self, capability: &Capability, now: At) -> u32 {
        self.trades.get(capability).map_or(0, |trade| trade.free_slots(now))
    }

    // === Queue estimate ===

    /// All steps that wait, per capability and priority from low to high, as the store counts them.
    pub fn set_waiting(&mut self, depths: &[(Capability, [u32; 3])]) {
        self.trades.values_mut().for_each(|trade| trade.waiting = [0; 3]);
        for (capability, waiting) in depths {
            self.trades.entry(capability.clone()).or_default().waiting = *waiting;
        }
    }

    /// A step began to wait.
    pub fn waits(&mut self, capability: &Capability, priority: Priority) {
        let waiting = &mut self.trades.entry(capability.clone()).or_default().waiting[priority as usize];
        *waiting = waiting.saturating_add(1);
    }

    /// A step no longer waits.
    pub fn waited(&mut self, capability: &Capability, priority: Priority) {
        let waiting = &mut self.trades.entry(capability.clone()).or_default().waiting[priority as usize];
        *waiting = waiting.saturating_sub(1);
    }

    /// Whether a step of this or a higher priority already waits.
    pub fn queue_before(&self, capability: &Capability, priority: Priority) -> bool {
        self.trades.get(capability).is_some_and(|trade| trade.waiting[priority as usize..].iter().any(|&n| n > 0))
    }
}

#[cfg(test)]
mod tests;
