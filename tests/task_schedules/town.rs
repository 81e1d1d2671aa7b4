//! The agents around a task, and what else keeps them busy. Beside the fleet it keeps its own plain count of what the
//! fleet should know, which the rules judge by.

use callboard::task::{
    AgentId, At, AttemptNo, Capability, Event, Fleet, Incarnation, Lease, Member, Priority, QueueEntry, StepId, Task,
    Trial,
};

/// How long a heartbeat counts.
pub const TTL_MS: u64 = 10_000;
/// How many capabilities, and how many agents, there are.
pub const CAPABILITIES: usize = 3;
const AGENTS: usize = 4;

/// Everybody.
pub struct Town {
    pub fleet: Fleet,
    pub capabilities: [Capability; CAPABILITIES],
    pub agents: [AgentId; AGENTS],
    waiting: [[u32; 3]; CAPABILITIES],
    last_live: [Option<At>; CAPABILITIES],
    lives: u32,
}

impl Town {
    pub fn new() -> Self {
        Self {
            fleet: Fleet::new(TTL_MS),
            capabilities: ["analyze", "retrieve", "evaluate"].map(Capability::trusted),
            agents: ["ann", "bob", "cleo", "dan"].map(AgentId::trusted),
            waiting: Default::default(),
            last_live: Default::default(),
            lives: 0,
        }
    }

    /// An agent comes, or comes back as a new life. `skills` has a bit for each capability.
    pub fn join(&mut self, agent: usize, skills: u8, slots: u32, now: At) {
        self.lives += 1;
        let skilled = |position: &usize| skills & (1 << position) != 0;
        for position in (0..CAPABILITIES).filter(skilled) {
            self.last_live[position] = Some(now);
        }
        let capabilities = (0..CAPABILITIES).filter(skilled).map(|position| self.capabilities[position].clone());
        let member = Member::new(Incarnation::trusted(format!("life-{}", self.lives)), capabilities.collect(), slots);
        self.fleet.join(self.agents[agent % AGENTS].clone(), member, now);
    }

    /// An agent goes.
    pub fn leave(&mut self, agent: usize) {
        self.fleet.leave(&self.agents[agent % AGENTS]);
    }

    /// Whoever lives sends a heartbeat.
    pub fn beat(&mut self, now: At) {
        self.fleet.beat(now);
        for position in 0..CAPABILITIES {
            if self.live(&self.capabilities[position]) {
                self.last_live[position] = Some(now);
            }
        }
    }

    /// Somebody else's steps fill slots of an agent, or leave them again.
    pub fn others_run(&mut self, agent: usize, come: bool) {
        let agent = &self.agents[agent % AGENTS];
        let Some(incarnation) = self.member(agent).map(|member| member.incarnation.clone()) else { return };
        let (step, attempt) = (StepId::trusted("t2-P1"), AttemptNo(1));
        let lease = Lease { step, attempt, agent: agent.clone(), incarnation };
        if come {
            self.fleet.take_slot(&lease);
        } else {
            self.fleet.give_slot(&lease);
        }
    }

    /// Somebody else's steps wait for a capability.
    pub fn others_wait(&mut self, position: usize, waiting: [u32; 3]) {
        let position = position % CAPABILITIES;
        self.waiting[position] = waiting;
        let depths: Vec<_> = self.capabilities.iter().cloned().zip(self.waiting).collect();
        self.fleet.set_waiting(&depths);
    }

    // === What a commit of our task means for it ===

    pub fn leased(&mut self, lease: &Lease) {
        self.fleet.take_slot(lease);
    }

    pub fn released(&mut self, lease: &Lease) {
        self.fleet.give_slot(lease);
    }

    pub fn judged(&mut self, task: &Task, events: &[Event]) {
        events.iter().filter_map(|event| Trial::of(task, event)).for_each(|trial| self.fleet.judge(&trial));
    }

    pub fn enqueued(&mut self, entry: &QueueEntry) {
        self.waiting[self.position(&entry.capability)][entry.priority as usize] += 1;
        self.fleet.waits(&entry.capability, entry.priority);
    }

    pub fn dequeued(&mut self, entry: &QueueEntry) {
        let waiting = &mut self.waiting[self.position(&entry.capability)][entry.priority as usize];
        *waiting = waiting.saturating_sub(1);
        self.fleet.waited(&entry.capability, entry.priority);
    }

    // === The plain count ===

    fn position(&self, capability: &Capability) -> usize {
        self.capabilities.iter().position(|known| known == capability).unwrap()
    }

    pub fn member(&self, agent: &AgentId) -> Option<&Member> {
        self.fleet.members().find(|(known, _)| *known == agent).map(|(_, member)| member)
    }

    fn able<'a>(&'a self, capability: &'a Capability) -> impl Iterator<Item = (&'a AgentId, &'a Member)> {
        self.fleet.members().filter(|(_, member)| member.capabilities.contains(capability))
    }

    pub fn live(&self, capability: &Capability) -> bool {
        self.able(capability).next().is_some()
    }

    pub fn last_live(&self, capability: &Capability, now: At) -> Option<At> {
        if self.live(capability) { Some(now) } else { self.last_live[self.position(capability)] }
    }

    /// Free slots for a capability, when those already promised are taken.
    pub fn free(&self, capability: &Capability, promised: &[AgentId], now: At) -> u32 {
        self.able(capability).map(|(agent, _)| self.free_of(agent, capability, promised, now)).sum()
    }

    /// Free slots of one agent: it may be tried with one step when its rest is over, or when all others rest as well.
    pub fn free_of(&self, agent: &AgentId, capability: &Capability, promised: &[AgentId], now: At) -> u32 {
        let Some(member) = self.member(agent) else { return 0 };
        let promised = promised.iter().filter(|other| *other == agent).count() as u32;
        let free = member.slots.saturating_sub(member.busy + promised);
        let all_rest = self.able(capability).all(|(_, member)| member.record.rest.is_some());
        match &member.record.rest {
            None => free,
            Some(rest) if (rest.until <= now || all_rest) && rest.probe.is_none() && promised == 0 => free.min(1),
            Some(_) => 0,
        }
    }

    pub fn others_go_first(&self, capability: &Capability, priority: Priority) -> bool {
        self.waiting[self.position(capability)][priority as usize..].iter().sum::<u32>() > 0
    }
}
