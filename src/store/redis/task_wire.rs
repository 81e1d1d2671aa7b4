//! Tasks, their queue entries, timers and leases as the scripts are told of them, and back. Names of things hold no control
//! characters, so what belongs together is joined by line ends.

use super::predecessor::Noted;
use super::reply::Reply;
use super::script::Call;
use crate::store::{Listed, StoreError};
use crate::task::{
    AgentId, At, AttemptNo, Effects, Event, EventKind, Incarnation, Json, Lease, Priority, QueueEntry, SCHEMA, Status,
    StepId, Task, TaskId, TaskKey, Tenant, Timer, TimerId,
};
use serde::Serialize;
use std::sync::Arc;

/// What is written of a task, in the order in which `write_task.lua` takes it.
pub(super) struct Body<'a> {
    pub task: &'a Task,
    pub is_first: bool,
    pub events: &'a [Event],
    pub payloads: &'a [(Arc<str>, Json)],
    pub effects: &'a Effects,
    pub noted: &'a Noted,
}

impl Body<'_> {
    pub fn put(&self, call: Call) -> Result<Call, StoreError> {
        let Self { task, effects, noted, .. } = *self;
        let events = self.events.iter().map(|event| Ok((event.seq, stored(task, event)?)));
        let events = events.collect::<Result<Vec<_>, StoreError>>()?;
        let mut kinds: Vec<_> = self.events.iter().map(|event| event.kind.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let call = call
            .arg(task.version)
            .arg(task.schema)
            .arg(task.status() as u8)
            .arg(task.end.as_ref().map_or_else(String::new, |end| end.at.0.to_string()))
            .arg(task.updated_at.0)
            .arg(stored(task, task)?)
            .each(kinds.iter(), |call, kind| call.arg(*kind));
        let call = if self.is_first {
            let priority = task.options.priority as u8;
            call.arg(priority).arg(task.accepted_at.0).arg(&*task.summary).arg(&*noted.names)
        } else {
            call.arg("").arg("").arg("").arg("")
        };
        let call = call
            .each(events.iter(), |call, (seq, text)| call.arg(*seq).arg(text))
            .each(self.payloads.iter(), |call, (name, value)| call.arg(&**name).arg(value.text()))
            .each(effects.dequeue.iter(), |call, entry| call.arg(entry.capability.as_str()).arg(entry.step.as_str()))
            .each(effects.enqueue.iter(), |call, entry| {
                let call = call.arg(entry.capability.as_str()).arg(entry.step.as_str());
                call.arg(entry.priority as u8).arg(entry.rank)
            })
            .each(effects.clear.iter(), |call, timer| call.arg(timer.id.to_string()))
            .each(effects.set.iter(), |call, timer| call.arg(timer.id.to_string()).arg(timer.due.0))
            .each(effects.release.iter(), put_lease)
            .each(effects.lease.iter(), put_lease)
            .arg(noted.seconds)
            .each(noted.notes.iter(), |call, note| call.arg(note.how).arg(&note.key).arg(&note.value));
        Ok(call)
    }
}

/// The stored form.
pub(super) fn stored<T: Serialize + ?Sized>(task: &Task, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| {
        StoreError::Corrupt(format!("task {} has no stored form ({error}); it was not written", task.key).into())
    })
}

fn put_lease(call: Call, lease: &Lease) -> Call {
    call.arg(lease.agent.as_str()).arg(tail(lease))
}

/// What stands behind the task's key in a lease.
fn tail(lease: &Lease) -> String {
    [lease.step.as_str(), &lease.attempt.to_string(), lease.agent.as_str(), lease.incarnation.as_str()].join("\n")
}

/// A task's key in one text.
pub(super) fn whose(key: &TaskKey) -> String {
    format!("{}\n{}", key.tenant, key.id)
}

/// A lease with its task in one text.
pub(super) fn held(key: &TaskKey, lease: &Lease) -> String {
    format!("{}\n{}", whose(key), tail(lease))
}

// === Back ===

/// The parts of a text that begins with a task's key.
struct Parts<'a>(std::str::Split<'a, char>);

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.split('\n'))
    }

    fn next(&mut self) -> Result<&'a str, StoreError> {
        self.0.next().ok_or_else(|| StoreError::Corrupt("an entry of the index is cut off".into()))
    }

    fn key(&mut self) -> Result<TaskKey, StoreError> {
        Ok(TaskKey { tenant: Tenant::trusted(self.next()?), id: TaskId::trusted(self.next()?) })
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        let odd =
            |text| StoreError::Corrupt(format!("an entry of the index has {text:?} where a number stands").into());
        let text = self.next()?;
        text.parse().map_err(|_| odd(text))
    }
}

/// A lease with its task.
pub(super) fn read_held(text: &str) -> Result<(TaskKey, Lease), StoreError> {
    let mut parts = Parts::of(text);
    let key = parts.key()?;
    let lease = Lease {
        step: StepId::trusted(parts.next()?),
        attempt: AttemptNo(parts.number()?),
        agent: AgentId::trusted(parts.next()?),
        incarnation: Incarnation::trusted(parts.next()?),
    };
    Ok((key, lease))
}

/// A timer with its task.
pub(super) fn read_timer(text: &str, due: At) -> Result<(TaskKey, Timer), StoreError> {
    let mut parts = Parts::of(text);
    let key = parts.key()?;
    // A newer version's timer is nothing that this one can fire.
    let id: TimerId = parts.next()?.parse().map_err(|_| newer(&key))?;
    Ok((key, Timer { id, due }))
}

/// A queue's member, behind the fourteen digits of its arrival.
pub(super) fn read_entry(
    capability: &crate::task::Capability,
    member: &str,
) -> Result<(TaskKey, QueueEntry), StoreError> {
    let mut parts = Parts::of(member.get(14..).unwrap_or_default());
    let key = parts.key()?;
    let step = StepId::trusted(parts.next()?);
    let priority = priority(parts.number()?);
    Ok((key, QueueEntry { step, capability: capability.clone(), priority, rank: parts.number()? }))
}

/// A priority from its number; a newer one is shown as normal.
fn priority(number: usize) -> Priority {
    Priority::ALL.get(number).copied().unwrap_or_default()
}

/// A task of a list.
pub(super) fn read_listed(mut row: Reply) -> Result<Listed, StoreError> {
    let id = TaskId::trusted(row.text()?);
    let key = TaskKey { tenant: Tenant::trusted(row.text()?), id };
    let place = row.number()?;
    let status: usize = row.number()?;
    Ok(Listed {
        place,
        status: Status::ALL.get(status).copied().ok_or_else(|| newer(&key))?,
        priority: priority(row.number()?),
        accepted_at: row.moment()?,
        updated_at: row.moment()?,
        summary: row.text()?.into(),
        key,
    })
}

/// Reads a folded state, unless a newer version of this program has had a hand in it.
pub(super) fn read_state(key: &TaskKey, schema: u16, kinds: &str, text: &str) -> Result<Task, StoreError> {
    check_readable(key, schema, kinds)?;
    let task: Task = serde_json::from_str(text).map_err(|error| unreadable(key, "state", &error))?;
    if task.readable() { Ok(task) } else { Err(newer(key)) }
}

/// Whether this program knows the schema and all kinds of events of a task.
pub(super) fn check_readable(key: &TaskKey, schema: u16, kinds: &str) -> Result<(), StoreError> {
    let knows_all = kinds.split(',').filter(|kind| !kind.is_empty()).all(|kind| EventKind::NAMES.contains(&kind));
    if schema > SCHEMA || !knows_all { Err(newer(key)) } else { Ok(()) }
}

/// Reads one event.
pub(super) fn read_event(key: &TaskKey, text: &str) -> Result<Event, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(key, "events", &error))
}

pub(super) fn newer(key: &TaskKey) -> StoreError {
    StoreError::Newer(format!("task {key}").into())
}

/// A name that this program does not know was written by a newer one; anything else is damage.
fn unreadable(key: &TaskKey, what: &str, error: &serde_json::Error) -> StoreError {
    if error.is_data() && error.to_string().starts_with("unknown variant") {
        return newer(key);
    }
    StoreError::Corrupt(format!("the {what} of task {key} cannot be read ({error})").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_and_timers_come_back_as_they_were() {
        let key = TaskKey { tenant: Tenant::trusted("acme"), id: TaskId::trusted("t: 1") };
        let lease = Lease {
            step: StepId::trusted("t: 1-P1"),
            attempt: AttemptNo(3),
            agent: AgentId::trusted("ann e"),
            incarnation: Incarnation::trusted("i:1"),
        };
        assert_eq!(read_held(&held(&key, &lease)), Ok((key.clone(), lease)));
        let timer = Timer { id: "step-2-7".parse().unwrap(), due: At(9) };
        assert_eq!(read_timer(&format!("{}\n{}", whose(&key), timer.id), At(9)), Ok((key.clone(), timer)));
        assert!(matches!(read_held("acme\nt-1\ns"), Err(StoreError::Corrupt(_))));
        assert!(matches!(read_timer("acme\nt-1\nnoon", At(1)), Err(StoreError::Newer(_))));
    }

    #[test]
    fn kinds_of_events_to_come_are_left_alone() {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") };
        assert_eq!(check_readable(&key, SCHEMA, ",accepted,task_cancelled,"), Ok(()));
        assert_eq!(check_readable(&key, SCHEMA, ",accepted,task_dreamt,"), Err(newer(&key)));
        assert_eq!(check_readable(&key, SCHEMA + 1, ""), Err(newer(&key)));
    }
}
