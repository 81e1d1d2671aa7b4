//! What waits, falls due and runs out, in memory: the queues, timers and leases of all open tasks. All of it follows from
//! the tasks' folded states, so a store that keeps states can build it anew at any time.

use super::{DuePage, Waiting};
use crate::task::{
    AgentId, At, Capability, Effects, Incarnation, Lease, QueueEntry, StepId, Task, TaskKey, Timer, TimerId,
    UNACCEPTED_LEASE_MS, queue_entries, timers,
};
use foldhash::{HashMap, HashMapExt as _, HashSet};
use std::collections::BTreeMap;
use std::hash::Hash;

/// A lease with the task it is for.
pub(super) type Held = (TaskKey, Lease);

/// Queues, timers and leases.
#[derive(Debug, Default)]
pub(super) struct Index {
    queues: HashMap<Capability, Queue>,
    timers: DueSet<(TaskKey, TimerId)>,
    leases: DueSet<Held>,
    /// The leases of each agent, so that an agent's death costs what it held and not what all hold.
    holders: HashMap<AgentId, HashSet<Held>>,
}

impl Index {
    /// Takes over what one commit changed.
    pub fn apply(&mut self, key: &TaskKey, effects: &Effects, now: At) {
        for entry in &effects.dequeue {
            self.dequeue(key, entry);
        }
        for entry in &effects.enqueue {
            self.queues.entry(entry.capability.clone()).or_default().insert(key, entry);
        }
        for timer in &effects.clear {
            self.timers.remove(&(key.clone(), timer.id));
        }
        for timer in &effects.set {
            self.timers.insert((key.clone(), timer.id), timer.due);
        }
        for lease in &effects.release {
            self.release((key.clone(), lease.clone()));
        }
        for lease in &effects.lease {
            self.hold((key.clone(), lease.clone()), now.plus(UNACCEPTED_LEASE_MS));
        }
    }

    /// Takes over a task as it stands; each of its leases runs until the moment that `until` gives it.
    pub fn place(&mut self, task: &Task, mut until: impl FnMut(&Lease) -> At) {
        for entry in queue_entries(task) {
            self.queues.entry(entry.capability.clone()).or_default().insert(&task.key, &entry);
        }
        for timer in timers(task) {
            self.timers.insert((task.key.clone(), timer.id), timer.due);
        }
        for lease in crate::task::leases(task) {
            let until = until(&lease);
            self.hold((task.key.clone(), lease), until);
        }
    }

    // === Queues ===

    fn dequeue(&mut self, key: &TaskKey, entry: &QueueEntry) {
        let Some(queue) = self.queues.get_mut(&entry.capability) else { return };
        queue.remove(key, &entry.step);
        if queue.order.is_empty() {
            self.queues.remove(&entry.capability);
        }
    }

    /// The head of one queue.
    pub fn waiting(&self, capability: &Capability, limit: usize) -> Waiting {
        let Some(queue) = self.queues.get(capability) else { return Waiting::default() };
        Waiting { entries: queue.order.values().take(limit).cloned().collect(), counts: queue.counts }
    }

    /// The capabilities whose queues are not empty, in order.
    pub fn waiting_capabilities(&self) -> Vec<Capability> {
        let mut names: Vec<_> = self.queues.keys().cloned().collect();
        names.sort();
        names
    }

    // === Timers and leases ===

    /// Timers that are due and that nobody has claimed; claims them.
    pub fn due_timers(&mut self, now: At, limit: usize, claim_ms: u64) -> DuePage<Timer> {
        let (due, next) = self.timers.claim(now, limit, now.plus(claim_ms));
        DuePage { due: due.into_iter().map(|((key, id), due)| (key, Timer { id, due })).collect(), next }
    }

    /// Leases that ran out and that nobody has claimed; claims them.
    pub fn expired_leases(&mut self, now: At, limit: usize, claim_ms: u64) -> DuePage<Lease> {
        let (due, next) = self.leases.claim(now, limit, now.plus(claim_ms));
        DuePage { due: due.into_iter().map(|(held, _)| held).collect(), next }
    }

    /// All leases that stand.
    pub fn leases(&self) -> Vec<Held> {
        self.holders.values().flatten().cloned().collect()
    }

    /// Those of one agent.
    pub fn leases_of(&self, agent: &AgentId) -> Vec<Held> {
        self.holders.get(agent).into_iter().flatten().cloned().collect()
    }

    /// Lets the leases that stand run until then, and gives back the others.
    pub fn renew(&mut self, leases: Vec<Held>, until: At) -> Vec<Held> {
        leases.into_iter().filter(|held| !self.leases.postpone(held, until)).collect()
    }

    /// Lets the leases of one life of an agent run out now.
    pub fn expire_leases_of(&mut self, agent: &AgentId, incarnation: &Incarnation, now: At) {
        let held = self.holders.get(agent).into_iter().flatten();
        for held in held.filter(|(_, lease)| lease.incarnation == *incarnation) {
            self.leases.hasten(held, now);
        }
    }

    fn hold(&mut self, held: Held, until: At) {
        self.holders.entry(held.1.agent.clone()).or_default().insert(held.clone());
        self.leases.insert(held, until);
    }

    fn release(&mut self, held: Held) {
        self.leases.remove(&held);
        if let Some(others) = self.holders.get_mut(&held.1.agent) {
            others.remove(&held);
            if others.is_empty() {
                self.holders.remove(&held.1.agent);
            }
        }
    }
}

/// One capability's queue: by rank, and by arrival where ranks are equal.
#[derive(Debug, Default)]
struct Queue {
    order: BTreeMap<(u64, u64), (TaskKey, QueueEntry)>,
    places: HashMap<(TaskKey, StepId), (u64, u64)>,
    counts: [u32; 3],
    arrivals: u64,
}

impl Queue {
    fn insert(&mut self, key: &TaskKey, entry: &QueueEntry) {
        self.remove(key, &entry.step);
        self.arrivals += 1;
        let place = (entry.rank, self.arrivals);
        self.places.insert((key.clone(), entry.step.clone()), place);
        self.order.insert(place, (key.clone(), entry.clone()));
        self.counts[entry.priority as usize] += 1;
    }

    fn remove(&mut self, key: &TaskKey, step: &StepId) {
        let place = self.places.remove(&(key.clone(), step.clone()));
        if let Some((_, entry)) = place.and_then(|place| self.order.remove(&place)) {
            self.counts[entry.priority as usize] -= 1;
        }
    }
}

/// Things with a moment at which they fall due. One that is claimed is hidden until its claim ends, by which it is
/// ordered meanwhile, so that looking for due things never steps over claimed ones.
#[derive(Debug)]
struct DueSet<K> {
    order: BTreeMap<(At, u64), K>,
    places: HashMap<K, Place>,
    arrivals: u64,
}

/// When a thing is due, and where it stands in the order.
#[derive(Debug, Clone, Copy)]
struct Place {
    due: At,
    shown: (At, u64),
}

impl<K> Default for DueSet<K> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), places: HashMap::new(), arrivals: 0 }
    }
}

impl<K: Hash + Eq + Clone> DueSet<K> {
    fn insert(&mut self, thing: K, due: At) {
        self.show(thing, due, due);
    }

    fn show(&mut self, thing: K, due: At, from: At) {
        self.arrivals += 1;
        let place = Place { due, shown: (from, self.arrivals) };
        if let Some(before) = self.places.insert(thing.clone(), place) {
            self.order.remove(&before.shown);
        }
        self.order.insert(place.shown, thing);
    }

    fn remove(&mut self, thing: &K) {
        if let Some(place) = self.places.remove(thing) {
            self.order.remove(&place.shown);
        }
    }

    /// Lets a thing that is here fall due then, and later claims go by that.
    fn postpone(&mut self, thing: &K, due: At) -> bool {
        let here = self.places.contains_key(thing);
        if here {
            self.show(thing.clone(), due, due);
        }
        here
    }

    /// Lets a thing fall due now, unless it already has.
    fn hasten(&mut self, thing: &K, now: At) {
        if self.places.get(thing).is_some_and(|place| place.due > now) {
            self.show(thing.clone(), now, now);
        }
    }

    /// The first due things that are not claimed, earliest first, now claimed; and when to look again.
    fn claim(&mut self, now: At, limit: usize, until: At) -> (Vec<(K, At)>, Option<At>) {
        let due = self.order.iter().take_while(|((from, _), _)| *from <= now).take(limit);
        let mut due: Vec<_> = due.map(|(_, thing)| thing.clone()).filter_map(|thing| self.due(thing)).collect();
        for (thing, due) in &due {
            self.show(thing.clone(), *due, until);
        }
        due.sort_by_key(|(_, due)| *due);
        let taken: HashSet<&K> = due.iter().map(|(thing, _)| thing).collect();
        let next = self.order.iter().find(|(_, thing)| !taken.contains(thing)).map(|((from, _), _)| *from);
        (due, next)
    }

    fn due(&self, thing: K) -> Option<(K, At)> {
        let due = self.places.get(&thing)?.due;
        Some((thing, due))
    }
}
