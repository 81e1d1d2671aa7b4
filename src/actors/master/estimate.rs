//! A master's estimate of who is free and how many steps wait, and what it tells the dispatcher of it. Slots and queue
//! places are booked when they are decided, so that the next decision sees them, and unbooked when the commit fails.

use super::Master;
use crate::actors::patience::patiently;
use crate::actors::{Roster, Turn};
use crate::messages::{CallContext, SlotsFree};
use crate::store::Commit;
use crate::task::{self, AgentId, Capability, Effects, Event, Lease, Member, Task, TaskKey, Trial, World};
use foldhash::HashSet;

impl Master {
    /// The moment, and the fleet as the registry last told it.
    pub(super) fn world(&mut self) -> World<'_> {
        let now = self.parts.store.now();
        if self.parts.roster.has_changed().unwrap_or(false) {
            let roster = self.parts.roster.borrow_and_update().clone();
            self.follow(&roster, now);
        }
        self.fleet.beat(now);
        World { now, seed: fastrand::u64(..), fleet: &self.fleet }
    }

    pub(super) fn follow(&mut self, roster: &Roster, now: task::At) {
        let gone: Vec<_> = self
            .fleet
            .members()
            .filter(|(agent, _)| !roster.contains_key(*agent))
            .map(|(agent, _)| agent.clone())
            .collect();
        for agent in gone {
            self.fleet.leave(&agent);
        }
        for (agent, entry) in roster {
            let member = Member::new(entry.incarnation.clone(), entry.capabilities.clone(), entry.slots);
            self.fleet.join(agent.clone(), member, now);
        }
    }

    /// Offers queued steps to whoever joins, as soon as it does.
    pub(super) fn keep_following(&self, turn: &mut Turn<'_, Self>) {
        let mut roster = self.parts.roster.clone();
        turn.spawn(async move { roster.changed().await.is_ok() }, |master, is_told, turn| {
            if !is_told {
                return;
            }
            master.world();
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
    pub(super) fn book(&mut self, key: &TaskKey, effects: &Effects) -> Booking {
        let mut booking = Booking::default();
        for (number, lease) in effects.release.iter().enumerate() {
            // What another master placed is not among the slots that are counted here.
            let held = (key.clone(), lease.clone());
            self.others.remove(&held);
            let is_counted = self.counted.remove(&held).is_some();
            if !is_counted || !self.fleet.give_slot(lease) {
                booking.not_given.push(number);
            }
        }
        for (number, lease) in effects.lease.iter().enumerate() {
            if self.fleet.take_slot(lease) {
                self.booked.insert((key.clone(), lease.clone()));
            } else {
                booking.not_taken.push(number);
            }
        }
        for entry in &effects.enqueue {
            self.fleet.waits(&entry.capability, entry.priority);
        }
        for entry in &effects.dequeue {
            self.fleet.waited(&entry.capability, entry.priority);
        }
        booking
    }

    /// Takes back exactly what was booked for a commit that was not written.
    pub(super) fn unbook(&mut self, key: &TaskKey, booking: &Booking, effects: &Effects) {
        for lease in counted(&effects.lease, &booking.not_taken) {
            self.booked.remove(&(key.clone(), lease.clone()));
            self.fleet.give_slot(lease);
        }
        for lease in counted(&effects.release, &booking.not_given) {
            self.fleet.take_slot(lease);
            self.count(key, lease);
        }
        for entry in &effects.enqueue {
            self.fleet.waited(&entry.capability, entry.priority);
        }
        for entry in &effects.dequeue {
            self.fleet.waits(&entry.capability, entry.priority);
        }
    }

    /// A lease stands in the store, and its slot is taken.
    pub(super) fn count(&mut self, key: &TaskKey, lease: &Lease) {
        let held = (key.clone(), lease.clone());
        self.booked.remove(&held);
        self.counted.insert(held, self.recounts);
    }

    /// How many leases the agents of these may have.
    pub(super) fn slots(&self, leases: &[Lease]) -> Vec<(AgentId, u32)> {
        let mut slots: Vec<(AgentId, u32)> = Vec::new();
        for lease in leases {
            let known = slots.iter().any(|(agent, _)| *agent == lease.agent);
            if let Some(most) = self.fleet.slots_of(&lease.agent, &lease.incarnation).filter(|_| !known) {
                slots.push((lease.agent.clone(), most));
            }
        }
        slots
    }

    /// These leases stand in the store; those that this master does not know are another's.
    pub(super) fn learn(&mut self, held: Vec<(TaskKey, Lease)>) {
        for held in held {
            if !self.counted.contains_key(&held) && !self.booked.contains(&held) && self.fleet.take_slot(&held.1) {
                self.count(&held.0, &held.1);
                self.others.insert(held);
            }
        }
    }

    /// Of what was placed here another master may have heard the end, which nobody told this one, and of what another placed
    /// nobody tells: where no slot seems to be free, or others are known to have some, the store is asked which leases
    /// still stand.
    pub(super) fn recount_where_none_is_free(&mut self, turn: &mut Turn<'_, Self>) {
        let now = self.parts.store.now();
        let is_full = self.fleet.capabilities().iter().any(|capability| self.fleet.free_slots(capability, now) == 0);
        if (!is_full && self.others.is_empty()) || self.is_recounting {
            return;
        }
        self.is_recounting = true;
        self.recounts += 1;
        let store = self.parts.store.clone();
        turn.spawn(async move { patiently(store.leases()).await }, |master, leases, _| {
            master.is_recounting = false;
            match leases {
                Ok(leases) => master.recount(leases.into_iter().collect()),
                Err(error) => tracing::debug!(%error, "the slots could not be counted again"),
            }
        });
    }

    fn recount(&mut self, standing: HashSet<(TaskKey, Lease)>) {
        let recounts = self.recounts;
        // What was counted since the store was asked is not in its answer.
        let is_over = |held: &(TaskKey, Lease), counted_at: u64| counted_at < recounts && !standing.contains(held);
        for (_, lease) in self.counted.extract_if(|held, counted_at| is_over(held, *counted_at)).map(|(held, _)| held) {
            self.fleet.give_slot(&lease);
        }
        self.others.retain(|held| self.counted.contains_key(held));
        for capability in self.fleet.capabilities() {
            self.offer(&capability);
        }
    }

    /// Remembers how the attempts of a written commit went, for and against their agents.
    pub(super) fn judge(&mut self, task: &Task, events: &[Event]) {
        for trial in events.iter().filter_map(|event| Trial::of(task, event)) {
            self.fleet.judge(&trial);
        }
    }
}

/// Which of the slots that a decision took and gave were not counted, by their numbers among its effects: an earlier
/// life's are not. Nearly always none.
#[derive(Default)]
pub(super) struct Booking {
    not_taken: Vec<usize>,
    not_given: Vec<usize>,
}

fn counted<'a>(leases: &'a [Lease], not_counted: &[usize]) -> impl Iterator<Item = &'a Lease> {
    let is_counted = |(number, _): &(usize, &Lease)| !not_counted.contains(number);
    leases.iter().enumerate().filter(is_counted).map(|(_, lease)| lease)
}
