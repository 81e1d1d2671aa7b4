//! Who could take a step: the agents believed alive, their free slots, and how many steps already wait. An estimate:
//! fairness hangs on it, correctness never, because the worker's own count of slots is the truth.

use super::id::{AgentId, At, Capability, Incarnation};
use super::submission::Priority;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One live agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// How many it is believed to run.
    pub busy: u32,
    /// Failures since its last success.
    pub recent_failures: u32,
}

/// Where a step goes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The agent.
    pub agent: AgentId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// In words, for the log.
    pub reason: Arc<str>,
}

/// What is known of one capability.
#[derive(Debug, Clone, Default)]
struct Trade {
    agents: Vec<AgentId>,
    last_live: Option<At>,
    waiting: [u32; 3],
}

/// All live agents by name, and all capabilities ever seen.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: BTreeMap<AgentId, Member>,
    trades: HashMap<Capability, Trade>,
    ttl_ms: u64,
    reasons: Arc<Mutex<Reasons>>,
}

/// The words for each score met lately: every assignment keeps its reason, and most are alike.
#[derive(Debug, Clone, Default)]
struct Reasons(HashMap<(u32, u32, u32, bool), Arc<str>>);

/// After this many different scores they are forgotten.
const MOST_REASONS: usize = 4096;

impl Reasons {
    fn of(&mut self, free: u32, member: &Member, failed_this: bool) -> Arc<str> {
        if self.0.len() >= MOST_REASONS {
            self.0.clear();
        }
        let known = self.0.entry((free, member.slots, member.recent_failures, failed_this));
        let words = || {
            let score = score(free, member, failed_this);
            let (slots, failures) = (member.slots, member.recent_failures);
            format!("score {score:.2}: {free} of {slots} slots free, {failures} recent failures").into()
        };
        known.or_insert_with(words).clone()
    }
}

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
        if let Some(known) = self.members.remove(&agent) {
            self.forget_trades(&agent);
            if known.incarnation == member.incarnation {
                member.busy = known.busy;
                member.recent_failures = known.recent_failures;
            }
        }
        for capability in &member.capabilities {
            let trade = self.trades.entry(capability.clone()).or_default();
            // It may name a capability twice, but has its slots once.
            if !trade.agents.contains(&agent) {
                trade.agents.push(agent.clone());
            }
            trade.last_live = Some(now);
        }
        self.members.insert(agent, member);
    }

    /// An agent is gone.
    pub fn leave(&mut self, agent: &AgentId) {
        self.members.remove(agent);
        self.forget_trades(agent);
    }

    fn forget_trades(&mut self, agent: &AgentId) {
        for trade in self.trades.values_mut() {
            trade.agents.retain(|other| other != agent);
        }
    }

    /// All live agents.
    pub fn members(&self) -> impl Iterator<Item = (&AgentId, &Member)> {
        self.members.iter()
    }

    /// Records that an agent for this capability lived at that moment, as read back after a restart.
    pub fn saw(&mut self, capability: &Capability, at: At) {
        let trade = self.trades.entry(capability.clone()).or_default();
        trade.last_live = trade.last_live.max(Some(at));
    }

    /// Whether any agent can take such steps now.
    pub fn live(&self, capability: &Capability) -> bool {
        self.trades.get(capability).is_some_and(|trade| !trade.agents.is_empty())
    }

    /// When an agent for it was last known to live: now, if one does.
    pub fn last_live(&self, capability: &Capability, now: At) -> Option<At> {
        let trade = self.trades.get(capability)?;
        if trade.agents.is_empty() { trade.last_live } else { Some(now) }
    }

    /// The capabilities that have a live agent, in order.
    pub fn capabilities(&self) -> Vec<Capability> {
        let live = self.trades.iter().filter(|(_, trade)| !trade.agents.is_empty());
        let mut names: Vec<_> = live.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Moves `last_live` of every capability that still has an agent to now; and of the others, too, where the clock was
    /// set back since, so that nobody waits for it to catch up.
    pub fn beat(&mut self, now: At) {
        for trade in self.trades.values_mut() {
            trade.last_live = if trade.agents.is_empty() { trade.last_live.min(Some(now)) } else { Some(now) };
        }
    }

    // === Slots ===

    fn living(&mut self, agent: &AgentId, incarnation: &Incarnation) -> Option<&mut Member> {
        self.members.get_mut(agent).filter(|member| member.incarnation == *incarnation)
    }

    /// An attempt was assigned. Answers whether that was counted: an earlier life's is not.
    pub fn take_slot(&mut self, agent: &AgentId, incarnation: &Incarnation) -> bool {
        self.living(agent, incarnation).map(|member| member.busy += 1).is_some()
    }

    /// An attempt ended. Answers whether that was counted.
    pub fn give_slot(&mut self, agent: &AgentId, incarnation: &Incarnation) -> bool {
        let busy = self.living(agent, incarnation).filter(|member| member.busy > 0);
        busy.map(|member| member.busy -= 1).is_some()
    }

    /// Remembers a failure against an agent until its next success.
    pub fn judge(&mut self, agent: &AgentId, incarnation: &Incarnation, has_failed: bool) {
        if let Some(member) = self.living(agent, incarnation) {
            member.recent_failures = if has_failed { member.recent_failures.saturating_add(1) } else { 0 };
        }
    }

    /// Free slots over all agents for a capability.
    pub fn free_slots(&self, capability: &Capability) -> u32 {
        let agents = self.trades.get(capability).map_or(&[][..], |trade| &trade.agents);
        agents
            .iter()
            .filter_map(|agent| self.members.get(agent))
            .map(|member| member.slots.saturating_sub(member.busy))
            .sum()
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

    // === Routing ===

    /// The best agent with a free slot: the score is the free share of its slots, less a tenth for each recent failure
    /// (at most five), less a half if it failed this very step before; equal scores go by the seed, so that they take
    /// turns. `taken` are slots promised in the decision under way.
    pub fn choose(&self, capability: &Capability, avoid: &[AgentId], taken: &[AgentId], seed: u64) -> Option<Choice> {
        let agents = &self.trades.get(capability)?.agents;
        let mut best: Option<(f64, u64, &AgentId, &Member, u32)> = None;
        for (position, agent) in agents.iter().enumerate() {
            let Some(member) = self.members.get(agent) else { continue };
            let promised = taken.iter().filter(|other| *other == agent).count() as u32;
            let free = member.slots.saturating_sub(member.busy).saturating_sub(promised);
            if free == 0 {
                continue;
            }
            let score = score(free, member, avoid.contains(agent));
            let turn = super::plan::mix(seed.wrapping_add(position as u64));
            if best.is_none_or(|(top, top_turn, ..)| score > top || (score == top && turn > top_turn)) {
                best = Some((score, turn, agent, member, free));
            }
        }
        let (_, _, agent, member, free) = best?;
        Some(Choice {
            agent: agent.clone(),
            incarnation: member.incarnation.clone(),
            reason: self.reasons.lock().of(free, member, avoid.contains(agent)),
        })
    }
}

impl Fleet {
    /// Every live agent for a capability with its score, whether or not it has a free slot.
    pub fn scores(&self, capability: &Capability) -> Vec<(AgentId, f64)> {
        let agents = self.trades.get(capability).map_or(&[][..], |trade| &trade.agents);
        let of = |agent: &AgentId| {
            let member = self.members.get(agent)?;
            Some((agent.clone(), score(member.slots.saturating_sub(member.busy), member, false)))
        };
        agents.iter().filter_map(of).collect()
    }
}

/// How well an agent suits; higher is better.
fn score(free: u32, member: &Member, failed_this: bool) -> f64 {
    let share = f64::from(free) / f64::from(member.slots.max(1));
    share - 0.1 * f64::from(member.recent_failures.min(5)) - if failed_this { 0.5 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &'static str) -> AgentId {
        AgentId::trusted(name)
    }

    fn life() -> Incarnation {
        Incarnation::trusted("i1")
    }

    fn member(slots: u32) -> Member {
        Member {
            incarnation: Incarnation::trusted("i1"),
            capabilities: vec![Capability::trusted("analyze")],
            slots,
            busy: 0,
            recent_failures: 0,
        }
    }

    fn fleet() -> (Fleet, Capability) {
        let mut fleet = Fleet::new(30_000);
        fleet.join(agent("aaa"), member(4), At(1));
        fleet.join(agent("bbb"), member(4), At(1));
        (fleet, Capability::trusted("analyze"))
    }

    #[test]
    fn the_freer_agent_is_chosen_and_a_full_one_never() {
        let (mut fleet, analyze) = fleet();
        fleet.take_slot(&agent("aaa"), &life());
        assert_eq!(fleet.choose(&analyze, &[], &[], 1).unwrap().agent, agent("bbb"));
        for _ in 0..3 {
            fleet.take_slot(&agent("aaa"), &life());
        }
        let taken = vec![agent("bbb"); 4];
        assert_eq!(fleet.choose(&analyze, &[], &taken, 1), None);
        assert_eq!(fleet.free_slots(&analyze), 4);
    }

    #[test]
    fn equal_agents_take_turns_and_a_failed_one_is_avoided() {
        let (fleet, analyze) = fleet();
        let chosen: std::collections::HashSet<_> =
            (0..50).map(|seed| fleet.choose(&analyze, &[], &[], seed).unwrap().agent).collect();
        assert_eq!(chosen.len(), 2);
        for seed in 0..50 {
            assert_eq!(fleet.choose(&analyze, &[agent("aaa")], &[], seed).unwrap().agent, agent("bbb"));
        }
    }

    #[test]
    fn failures_weigh_a_tenth_each_until_the_next_success_and_this_steps_own_a_half() {
        let (mut fleet, analyze) = fleet();
        fleet.leave(&agent("bbb"));
        let why = |fleet: &Fleet, avoid: &[AgentId]| fleet.choose(&analyze, avoid, &[], 1).unwrap().reason.to_string();
        assert_eq!(why(&fleet, &[]), "score 1.00: 4 of 4 slots free, 0 recent failures");
        assert_eq!(why(&fleet, &[agent("aaa")]), "score 0.50: 4 of 4 slots free, 0 recent failures");
        fleet.take_slot(&agent("aaa"), &life());
        for (failures, words) in [(1, "score 0.65: 3 of 4"), (5, "score 0.25: 3 of 4"), (9, "score 0.25: 3 of 4")] {
            fleet.judge(&agent("aaa"), &life(), false);
            (0..failures).for_each(|_| fleet.judge(&agent("aaa"), &life(), true));
            assert_eq!(why(&fleet, &[]), format!("{words} slots free, {failures} recent failures"));
        }
        fleet.judge(&agent("aaa"), &life(), false);
        assert!(why(&fleet, &[]).starts_with("score 0.75"));
    }

    #[test]
    fn the_capabilities_of_living_agents_are_listed_in_order() {
        let (mut fleet, analyze) = fleet();
        let paint = Capability::trusted("paint");
        fleet.join(agent("ccc"), Member { capabilities: vec![paint.clone()], ..member(1) }, At(1));
        assert_eq!(fleet.capabilities(), [analyze.clone(), paint]);
        fleet.leave(&agent("ccc"));
        assert_eq!(fleet.capabilities(), [analyze]);
    }

    #[test]
    fn a_new_life_of_an_agent_starts_with_free_slots() {
        let (mut fleet, analyze) = fleet();
        fleet.take_slot(&agent("aaa"), &life());
        fleet.join(agent("aaa"), member(4), At(2));
        assert_eq!(fleet.free_slots(&analyze), 7);
        fleet.join(agent("aaa"), Member { incarnation: Incarnation::trusted("i2"), ..member(4) }, At(3));
        assert_eq!(fleet.free_slots(&analyze), 8);
        assert!(!fleet.give_slot(&agent("aaa"), &life()), "that life is over");
        assert_eq!(fleet.free_slots(&analyze), 8);
    }

    #[test]
    fn a_capability_named_twice_has_its_slots_once() {
        let (mut fleet, analyze) = fleet();
        fleet.join(agent("bbb"), Member { capabilities: vec![analyze.clone(); 2], ..member(4) }, At(2));
        assert_eq!(fleet.free_slots(&analyze), 8);
    }

    #[test]
    fn a_slot_is_counted_for_the_present_life_only_and_never_below_none() {
        let (mut fleet, analyze) = fleet();
        let earlier = Incarnation::trusted("i0");
        assert!(!fleet.take_slot(&agent("aaa"), &earlier) && !fleet.give_slot(&agent("aaa"), &earlier));
        assert!(!fleet.give_slot(&agent("aaa"), &life()), "nothing was taken");
        assert!(fleet.take_slot(&agent("aaa"), &life()) && fleet.give_slot(&agent("aaa"), &life()));
        assert_eq!(fleet.free_slots(&analyze), 8);
    }

    #[test]
    fn remembers_when_a_capability_last_lived() {
        let (mut fleet, analyze) = fleet();
        assert_eq!(fleet.last_live(&analyze, At(9)), Some(At(9)));
        fleet.beat(At(10));
        fleet.leave(&agent("aaa"));
        fleet.leave(&agent("bbb"));
        assert!(!fleet.live(&analyze));
        assert_eq!(fleet.last_live(&analyze, At(20)), Some(At(10)));
        assert_eq!(fleet.last_live(&Capability::trusted("paint"), At(20)), None);
    }

    #[test]
    fn higher_priorities_do_not_wait_behind_lower_ones() {
        let (mut fleet, analyze) = fleet();
        fleet.waits(&analyze, Priority::Normal);
        assert!(fleet.queue_before(&analyze, Priority::Low));
        assert!(fleet.queue_before(&analyze, Priority::Normal));
        assert!(!fleet.queue_before(&analyze, Priority::High));
    }
}
