//! A master's estimate of who is free and how many steps wait, and what it tells the dispatcher of it. Slots and queue
//! places are booked when they are decided, so that the next decision sees them, and unbooked when the commit fails.

use super::Master;
use crate::actors::patience::patiently;
use crate::actors::{Roster, Turn};
use crate::messages::{CallContext, SlotsFree};
use crate::store::Commit;
use crate::task::{self, AgentId, Capability, Effects, Event, Lease, Member, QueueEntry, Task, TaskKey, Trial, World};
use foldhash::HashSet;

impl Master {
    /// The moment, and the fleet as the registry last told it.
    pub(super) fn world(&mut self) -> World<'_> {
        let now = self.meet();
        World { now, seed: fastrand::u64(..), fleet: &self.fleet }
    }

    /// The fleet becomes as the registry last told it. Gives the moment.
    pub(super) fn meet(&mut self) -> task::At {
        let now = self.parts.store.now();
        if self.parts.roster.has_changed().unwrap_or(false) {
            let roster = self.parts.roster.borrow_and_update().clone();
            self.follow(&roster, now);
        }
        self.fleet.beat(now);
        now
    }

    pub(super) fn follow(&mut self, roster: &Roster, now: task::At) {
        let gone: HashSet<_> = self
            .fleet
            .members()
            .filter(|(agent, _)| !roster.contains_key(*agent))
            .map(|(agent, _)| agent.clone())
            .collect();
        gone.iter().for_each(|agent| self.fleet.leave(agent));
        let mut joined = HashSet::default();
        for (agent, entry) in roster {
            if self.fleet.slots_of(agent, &entry.incarnation).is_none() {
                joined.insert((agent.clone(), entry.incarnation.clone()));
            }
            let member = Member::new(entry.incarnation.clone(), entry.capabilities.clone(), entry.slots);
            self.fleet.join(agent.clone(), member, now);
        }
        self.slots.left(&gone.into_iter().chain(joined.iter().map(|(agent, _)| agent.clone())).collect());
        self.slots.joined(&mut self.fleet, &joined);
    }

    /// Offers queued steps to whoever joins, as soon as it does.
    pub(super) fn keep_following(&self, turn: &mut Turn<'_, Self>) {
        let mut roster = self.parts.roster.clone();
        turn.spawn(async move { roster.changed().await.is_ok() }, |master, is_told, turn| {
            if !is_told {
                return;
            }
            master.meet();
            for capability in master.fleet.capabilities() {
                master.offer(&capability);
            }
            master.keep_following(turn);
        });
    }

    /// Tells the dispatcher where a queued step could now run.
    pub(super) fn offer_slots(&mut self, commit: &Commit) {
        let released = commit.effects.release.iter().map(|lease| &lease.step);
        let queued = commit.effects.enqueue.iter().map(|entry| &entry.step);
        for step in released.chain(queued) {
            let Some(index) = commit.task.plan.find(step) else { continue };
            let capability = &commit.task.plan.step(index).capability;
            self.offer(capability);
        }
    }

    pub(super) fn offer(&self, capability: &Capability) {
        let free = self.fleet.free_slots(capability, self.parts.store.now());
        if free == 0 || !self.fleet.queue_before(capability, task::Priority::Low) {
            return;
        }
        if let Some(dispatcher) = self.parts.dispatcher.get() {
            // A full lane is no loss: the dispatcher looks at every queue again by itself.
            let _ = dispatcher.tell(SlotsFree { capability: capability.clone(), free }, CallContext::default());
        }
    }

    /// Books slots and queue places when they are decided, so that the next decision sees them.
    pub(super) fn book(&mut self, key: &TaskKey, effects: &Effects) {
        self.slots.book(&mut self.fleet, key, effects);
        self.queue(&effects.enqueue, &effects.dequeue);
    }

    /// Takes back exactly what was booked for a commit that was not written.
    pub(super) fn unbook(&mut self, key: &TaskKey, effects: &Effects) {
        self.slots.unbook(&mut self.fleet, key, effects);
        self.queue(&effects.dequeue, &effects.enqueue);
    }

    fn queue(&mut self, come: &[QueueEntry], gone: &[QueueEntry]) {
        for entry in come {
            self.fleet.waits(&entry.capability, entry.priority);
        }
        for entry in gone {
            self.fleet.waited(&entry.capability, entry.priority);
        }
    }

    /// How many leases the agents of these may have.
    pub(super) fn bounds(&self, leases: &[Lease]) -> Vec<(AgentId, u32)> {
        let mut slots: Vec<(AgentId, u32)> = Vec::new();
        for lease in leases {
            let known = slots.iter().any(|(agent, _)| *agent == lease.agent);
            if let Some(most) = self.fleet.slots_of(&lease.agent, &lease.incarnation).filter(|_| !known) {
                slots.push((lease.agent.clone(), most));
            }
        }
        slots
    }

    /// Of what was placed here another master may have heard the end, which nobody told this one, and of what another placed
    /// nobody tells: where no slot seems to be free, or others are known to have some, the store is asked which leases
    /// stand.
    pub(super) fn recount_where_none_is_free(&mut self, turn: &mut Turn<'_, Self>) {
        let now = self.parts.store.now();
        let is_full = self.fleet.capabilities().iter().any(|capability| self.fleet.free_slots(capability, now) == 0);
        if (!is_full && !self.slots.has_untold()) || !self.slots.begin_recount() {
            return;
        }
        let store = self.parts.store.clone();
        turn.spawn(async move { patiently(store.leases()).await }, |master, leases, _| {
            let leases = leases.inspect_err(|error| tracing::debug!(%error, "the slots could not be counted again"));
            master.slots.end_recount(&mut master.fleet, leases.ok().map(HashSet::from_iter));
            for capability in master.fleet.capabilities() {
                master.offer(&capability);
            }
        });
    }

    /// Remembers how the attempts of a written commit went, for and against their agents.
    pub(super) fn judge(&mut self, task: &Task, events: &[Event]) {
        for trial in events.iter().filter_map(|event| Trial::of(task, event)) {
            self.fleet.judge(&trial);
        }
    }
}
