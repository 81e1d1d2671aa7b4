//! What a commit means for the world: queue entries, timers, leases, work to send and attempts to drop. All of it is
//! the difference between the state before and the state after, so nothing can be forgotten or left behind.

use super::id::{AgentId, At, AttemptNo, Capability, Incarnation, StepId, StepIndex};
use super::state::{Step, StepState, Task};
use super::submission::Priority;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How long an assignment that nobody has accepted yet is believed, in milliseconds.
pub const UNACCEPTED_LEASE_MS: u64 = 5_000;

/// How long an assignment that a heartbeat lists is believed, in milliseconds. Beats come each third of their time to live:
/// one may be lost, and a silent agent's steps are with others before that time has passed.
pub const fn listed_lease_ms(heartbeat_ttl_ms: u64) -> u64 {
    heartbeat_ttl_ms / 4 * 3
}

/// How long one is believed that was accepted just now, in milliseconds: until well after the first heartbeat that lists it.
pub const fn accepted_lease_ms(heartbeat_ttl_ms: u64) -> u64 {
    heartbeat_ttl_ms / 2
}

/// The name of a timer in its task. One that no longer stands in the state is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TimerId {
    /// The task's deadline.
    Deadline,
    /// Whatever a step in this epoch waits for.
    Step(StepIndex, u32),
}

impl fmt::Display for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("deadline"),
            Self::Step(step, epoch) => write!(f, "step-{}-{epoch}", step.0),
        }
    }
}

/// A text that names no timer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no timer")]
pub struct UnknownTimer(String);

impl FromStr for TimerId {
    type Err = UnknownTimer;

    fn from_str(text: &str) -> Result<Self, UnknownTimer> {
        if text == "deadline" {
            return Ok(Self::Deadline);
        }
        let parts = text.strip_prefix("step-").and_then(|rest| rest.split_once('-'));
        let numbers = parts.and_then(|(step, epoch)| Some((step.parse().ok()?, epoch.parse().ok()?)));
        numbers.map(|(step, epoch)| Self::Step(StepIndex(step), epoch)).ok_or_else(|| UnknownTimer(text.into()))
    }
}

impl TryFrom<String> for TimerId {
    type Error = UnknownTimer;

    fn try_from(text: String) -> Result<Self, UnknownTimer> {
        text.parse()
    }
}

impl From<TimerId> for String {
    fn from(timer: TimerId) -> Self {
        timer.to_string()
    }
}

/// A timer that is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// Its name.
    pub id: TimerId,
    /// When it is due.
    pub due: At,
}

/// A step's place in its capability's queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueEntry {
    /// Which step.
    pub step: StepId,
    /// What it needs.
    pub capability: Capability,
    /// How urgent.
    pub priority: Priority,
    /// Its order in the queue, lowest first: [`Priority::rank`].
    pub rank: u64,
}

/// An assignment that someone must keep alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: AttemptNo,
    /// Whose.
    pub agent: AgentId,
    /// Of which life.
    pub incarnation: Incarnation,
}

impl std::hash::Hash for Lease {
    /// By step and attempt alone: an attempt has one holder, and leases are hashed many times in a task's life.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.step, self.attempt).hash(state);
    }
}

/// The consequences of one commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Steps that enter the queue.
    pub enqueue: Vec<QueueEntry>,
    /// Steps that leave it.
    pub dequeue: Vec<QueueEntry>,
    /// Timers to set.
    pub set: Vec<Timer>,
    /// Timers to clear.
    pub clear: Vec<Timer>,
    /// Leases that begin, each with [`UNACCEPTED_LEASE_MS`] to run. Each is also work to send.
    pub lease: Vec<Lease>,
    /// Leases that end. Each is also an attempt to drop, unless its holder ended it.
    pub release: Vec<Lease>,
}

/// The difference that a commit makes; `before` is none for a task's first.
pub fn effects(before: Option<&Task>, after: &Task) -> Effects {
    let mut effects = Effects::default();
    let deadline = |task: &Task| task.end.is_none().then_some(task.deadline_at);
    change(
        before.and_then(deadline).map(|due| Timer { id: TimerId::Deadline, due }),
        deadline(after).map(|due| Timer { id: TimerId::Deadline, due }),
        &mut effects.clear,
        &mut effects.set,
    );
    for index in after.plan.indices() {
        let was = before.map(|task| &task.steps[index.position()]);
        let is = &after.steps[index.position()];
        if was.is_some_and(|was| was.epoch == is.epoch) {
            continue;
        }
        change(was.and_then(|was| timer(index, was)), timer(index, is), &mut effects.clear, &mut effects.set);
        change(
            was.and_then(|was| queue_entry(after, index, was)),
            queue_entry(after, index, is),
            &mut effects.dequeue,
            &mut effects.enqueue,
        );
        change(
            was.and_then(|was| lease(after, index, was)),
            lease(after, index, is),
            &mut effects.release,
            &mut effects.lease,
        );
    }
    effects
}

fn change<T: PartialEq>(was: Option<T>, is: Option<T>, gone: &mut Vec<T>, come: &mut Vec<T>) {
    if was != is {
        gone.extend(was);
        come.extend(is);
    }
}

/// All timers that stand in a state.
pub fn timers(task: &Task) -> Vec<Timer> {
    let deadline = task.end.is_none().then_some(Timer { id: TimerId::Deadline, due: task.deadline_at });
    deadline.into_iter().chain(task.plan.indices().filter_map(|index| timer(index, task.step(index).1))).collect()
}

/// All queue entries that stand in a state.
pub fn queue_entries(task: &Task) -> Vec<QueueEntry> {
    task.plan.indices().filter_map(|index| queue_entry(task, index, task.step(index).1)).collect()
}

/// All leases that stand in a state.
pub fn leases(task: &Task) -> Vec<Lease> {
    task.plan.indices().filter_map(|index| lease(task, index, task.step(index).1)).collect()
}

fn timer(index: StepIndex, step: &Step) -> Option<Timer> {
    let due = match step.state {
        StepState::Queued { recheck_at, .. } => recheck_at,
        StepState::BackingOff { until } => until,
        StepState::Running { timeout_at } => timeout_at,
        _ => return None,
    };
    Some(Timer { id: TimerId::Step(index, step.epoch), due })
}

fn queue_entry(task: &Task, index: StepIndex, step: &Step) -> Option<QueueEntry> {
    let StepState::Queued { since, .. } = step.state else { return None };
    let spec = task.plan.step(index);
    let priority = task.options.priority;
    Some(QueueEntry {
        step: spec.id.clone(),
        capability: spec.capability.clone(),
        priority,
        rank: priority.rank(since),
    })
}

fn lease(task: &Task, index: StepIndex, step: &Step) -> Option<Lease> {
    let (attempt, current) = step.current()?;
    Some(Lease {
        step: task.plan.step(index).id.clone(),
        attempt,
        agent: current.agent.clone(),
        incarnation: current.incarnation.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_names_round_trip() {
        for timer in [TimerId::Deadline, TimerId::Step(StepIndex(3), 17)] {
            assert_eq!(timer.to_string().parse(), Ok(timer));
            assert_eq!(String::from(timer), timer.to_string());
        }
        assert!("step-x-1".parse::<TimerId>().is_err());
    }
}
