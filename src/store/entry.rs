//! What a store keeps of a task so that it is found when its time comes. All of it follows from the task's state; where the
//! server lost that and kept this, nothing would ever come of it, and it would come up for ever.

use crate::task::{Lease, QueueEntry, Task, TimerId, leases, queue_entries, timers};

/// A step's place in a queue, a timer or a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A step that waits for a slot.
    Queued(QueueEntry),
    /// A timer.
    Timer(TimerId),
    /// An assignment that somebody must keep alive.
    Lease(Lease),
}

impl Entry {
    /// Whether it follows from this state.
    pub(super) fn stands_in(&self, task: &Task) -> bool {
        match self {
            Self::Queued(entry) => queue_entries(task)
                .iter()
                .any(|standing| (&standing.capability, &standing.step) == (&entry.capability, &entry.step)),
            Self::Timer(id) => timers(task).iter().any(|standing| standing.id == *id),
            Self::Lease(lease) => leases(task).contains(lease),
        }
    }
}
