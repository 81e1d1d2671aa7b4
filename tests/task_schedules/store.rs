//! The smallest store there could be: queue, timers and leases, changed only as `effects` says.

use callboard::task::{Effects, Lease, QueueEntry, Task, Timer, leases, queue_entries, timers};
use std::fmt::Debug;

/// What a store holds of one task besides its state.
#[derive(Default)]
pub struct Store {
    pub queue: Vec<QueueEntry>,
    pub timers: Vec<Timer>,
    pub leases: Vec<Lease>,
}

impl Store {
    pub fn commit(&mut self, effects: &Effects) {
        change(&mut self.queue, &effects.dequeue, &effects.enqueue);
        change(&mut self.timers, &effects.clear, &effects.set);
        change(&mut self.leases, &effects.release, &effects.lease);
    }

    /// It holds what follows from the state, no more and no less.
    pub fn agrees(&self, task: &Task) {
        same(&self.queue, &queue_entries(task));
        same(&self.timers, &timers(task));
        same(&self.leases, &leases(task));
        if task.end.is_some() {
            assert!(self.queue.is_empty() && self.timers.is_empty() && self.leases.is_empty());
        }
    }
}

fn change<T: PartialEq + Clone + Debug>(held: &mut Vec<T>, gone: &[T], come: &[T]) {
    for old in gone {
        let position = held.iter().position(|one| one == old);
        held.remove(position.unwrap_or_else(|| panic!("{old:?} goes but was never there")));
    }
    for new in come {
        assert!(!held.contains(new), "{new:?} comes twice");
        held.push(new.clone());
    }
}

fn same<T: PartialEq + Debug>(held: &[T], wanted: &[T]) {
    let equal = held.len() == wanted.len() && held.iter().all(|one| wanted.contains(one));
    assert!(equal, "the store holds {held:?}, the state says {wanted:?}");
}
