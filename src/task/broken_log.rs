//! Whether an event may stand where it stands in a log. What this program commits always may; a log from elsewhere, such
//! as an imported one, is refused here before it could be folded into nonsense.

use super::event::{Event, EventKind};
use super::id::{AttemptNo, StepIndex};
use super::state::Task;

/// Why a log cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLog {
    /// It does not begin with its acceptance and plan.
    #[error("the log does not begin with accepted and planned")]
    NoBeginning,
    /// A number is missing or doubled.
    #[error("event {found} stands where {expected} should")]
    Gap {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// It begins again.
    #[error("event {0} begins the task a second time")]
    SecondBeginning(u64),
    /// It goes on after the task's end.
    #[error("event {0} comes after the task's end")]
    AfterTheEnd(u64),
    /// It names a step that the plan does not have.
    #[error("event {seq} names step {}, and the plan has {steps}", .step.0)]
    NoSuchStep {
        /// The event's number.
        seq: u64,
        /// The step, from 0.
        step: StepIndex,
        /// How many steps the plan has.
        steps: usize,
    },
    /// It names an attempt that was never placed, or places one out of order.
    #[error("event {seq} names attempt {found} of a step whose newest attempt is {newest}")]
    NoSuchAttempt {
        /// The event's number.
        seq: u64,
        /// The attempt that it names.
        found: AttemptNo,
        /// The newest that there is.
        newest: AttemptNo,
    },
}

/// Whether this event may be the next one of the task.
pub(super) fn check_next(task: &Task, event: &Event) -> Result<(), BrokenLog> {
    let seq = event.seq;
    if seq != task.version + 1 {
        return Err(BrokenLog::Gap { expected: task.version + 1, found: seq });
    }
    if task.end.is_some() {
        return Err(BrokenLog::AfterTheEnd(seq));
    }
    let Some((step, attempt)) = names(&event.kind) else { return Err(BrokenLog::SecondBeginning(seq)) };
    let Some(index) = step else { return Ok(()) };
    let Some(step) = task.steps.get(index.position()) else {
        return Err(BrokenLog::NoSuchStep { seq, step: index, steps: task.steps.len() });
    };
    let newest = step.last_no();
    let fits = match attempt {
        None => return Ok(()),
        Some(Named::New(found)) => (found.0 == newest.0 + 1, found),
        Some(Named::Old(found)) => ((1..=newest.0).contains(&found.0), found),
    };
    if fits.0 { Ok(()) } else { Err(BrokenLog::NoSuchAttempt { seq, found: fits.1, newest }) }
}

/// An attempt that an event names.
enum Named {
    /// It places it.
    New(AttemptNo),
    /// It was placed before.
    Old(AttemptNo),
}

/// The step and attempt that an event names; none for a task's beginning.
fn names(kind: &EventKind) -> Option<(Option<StepIndex>, Option<Named>)> {
    Some(match kind {
        EventKind::Accepted { .. } | EventKind::Planned { .. } => return None,
        EventKind::StepPlaced { step, attempt, .. } => (Some(*step), Some(Named::New(*attempt))),
        EventKind::AttemptEnded { step, attempt, .. } | EventKind::StepSucceeded { step, attempt, .. } => {
            (Some(*step), Some(Named::Old(*attempt)))
        }
        EventKind::StepQueued { step, .. }
        | EventKind::StepBackedOff { step, .. }
        | EventKind::StepFailed { step, .. }
        | EventKind::StepSkipped { step, .. } => (Some(*step), None),
        EventKind::TaskSucceeded { final_step } => (*final_step, None),
        EventKind::TaskFailed { .. } | EventKind::TaskCancelled { .. } => (None, None),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        AgentId, At, Fleet, Incarnation, Json, Limits, Options, Payload, Pipeline, Request, Submission, TaskId,
        TaskKey, Tenant, World, accept, replay,
    };
    use super::*;

    fn log() -> (TaskKey, Vec<Event>) {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t1") };
        let request = Request { objective: "why?".into(), context: Json::null() };
        let inline = Payload::Inline(Json::of(&request).unwrap());
        let submission = Submission {
            key: key.clone(),
            id_given: true,
            idempotency_key: None,
            request,
            options: Options::default(),
        };
        let plan = Pipeline::standard(Limits::default()).plan(&key.id).unwrap();
        let world = World { now: At(1), seed: 1, fleet: &Fleet::new(1) };
        (key, accept(&submission, inline, plan, world).events)
    }

    fn placed(step: u16, attempt: u32) -> EventKind {
        EventKind::StepPlaced {
            step: StepIndex(step),
            attempt: AttemptNo(attempt),
            agent: AgentId::trusted("ann"),
            incarnation: Incarnation::trusted("i1"),
            reason: "".into(),
            timeout_at: At(9),
        }
    }

    /// What comes of a sound log with these kinds behind it.
    fn with(kinds: Vec<EventKind>) -> Result<Task, BrokenLog> {
        let (key, mut events) = log();
        for kind in kinds {
            events.push(Event { seq: events.len() as u64 + 1, at: At(2), kind });
        }
        replay(&key, &events)
    }

    #[test]
    fn a_step_out_of_the_plan_is_an_error_and_no_panic() {
        let skipped = EventKind::StepSkipped { step: StepIndex(4), reason: "".into() };
        let refused = with(vec![skipped]).unwrap_err();
        assert!(matches!(refused, BrokenLog::NoSuchStep { step: StepIndex(4), steps: 4, .. }), "{refused:?}");
        let end = EventKind::TaskSucceeded { final_step: Some(StepIndex(u16::MAX)) };
        assert!(matches!(with(vec![end]), Err(BrokenLog::NoSuchStep { .. })));
    }

    #[test]
    fn attempts_come_in_order() {
        assert!(with(vec![placed(0, 1)]).is_ok());
        assert!(matches!(with(vec![placed(0, 2)]), Err(BrokenLog::NoSuchAttempt { .. })));
        assert!(matches!(with(vec![placed(0, 1), placed(0, 1)]), Err(BrokenLog::NoSuchAttempt { .. })));
        let ended = |attempt| EventKind::AttemptEnded {
            step: StepIndex(0),
            attempt: AttemptNo(attempt),
            end: super::super::AttemptEnd::TimedOut,
        };
        assert!(with(vec![placed(0, 1), ended(1)]).is_ok());
        assert!(matches!(with(vec![placed(0, 1), ended(2)]), Err(BrokenLog::NoSuchAttempt { .. })));
        assert!(matches!(with(vec![ended(0)]), Err(BrokenLog::NoSuchAttempt { .. })));
    }

    #[test]
    fn a_gap_is_told_with_what_was_expected() {
        let (key, mut events) = log();
        let next = events.len() as u64 + 1;
        events.push(Event { seq: 9, at: At(2), kind: placed(0, 1) });
        let refused = replay(&key, &events).unwrap_err();
        assert!(matches!(refused, BrokenLog::Gap { expected, found: 9 } if expected == next), "{refused:?}");
    }

    #[test]
    fn a_log_begins_once_and_ends_once() {
        let (_, events) = log();
        assert!(matches!(with(vec![events[1].kind.clone()]), Err(BrokenLog::SecondBeginning(_))));
        let cancelled = || EventKind::TaskCancelled { reason: "".into() };
        assert!(matches!(with(vec![cancelled(), cancelled()]), Err(BrokenLog::AfterTheEnd(_))));
    }
}
