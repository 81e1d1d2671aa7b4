//! Folding: an event changes the state, and nothing else does. Replaying a task's events gives exactly its stored state.

use super::broken_log::{BrokenLog, check_next};
use super::event::{AttemptEnd, Event, EventKind, SCHEMA};
use super::id::{At, AttemptNo, StepIndex, TaskKey};
use super::plan::Plan;
use super::state::{Attempt, End, Step, StepState, Task, TaskOutcome};

/// Folds a whole log.
///
/// # Errors
/// [`BrokenLog`] when no task can have such a log. It never panics, whatever the log holds.
pub fn replay(key: &TaskKey, events: &[Event]) -> Result<Task, BrokenLog> {
    let [accepted, planned, rest @ ..] = events else { return Err(BrokenLog::NoBeginning) };
    let task = begin(key, accepted, planned).ok_or(BrokenLog::NoBeginning)?;
    resume(task, rest)
}

/// Folds the rest of a log into the state that its beginning gave.
///
/// # Errors
/// As [`replay`].
pub fn resume(mut task: Task, rest: &[Event]) -> Result<Task, BrokenLog> {
    for event in rest {
        check_next(&task, event)?;
        apply(&mut task, event);
    }
    Ok(task)
}

/// The state after a task's first two events; none when they are of other kinds or numbers.
pub fn begin(key: &TaskKey, accepted: &Event, planned: &Event) -> Option<Task> {
    let EventKind::Accepted { request, summary, options, budget_scopes, deadline_at } = &accepted.kind else {
        return None;
    };
    let EventKind::Planned { plan } = &planned.kind else { return None };
    ((accepted.seq, planned.seq) == (1, 2)).then(|| Task {
        schema: SCHEMA,
        key: key.clone(),
        version: 2,
        request: request.clone(),
        summary: summary.clone(),
        options: options.clone(),
        budget_scopes: budget_scopes.clone(),
        accepted_at: accepted.at,
        deadline_at: *deadline_at,
        updated_at: planned.at,
        plan: Plan::clone(plan),
        steps: vec![Step::default(); plan.steps().len()],
        end: None,
    })
}

/// Folds one more event in. The caller has made sure that it is the next one.
pub fn apply(task: &mut Task, event: &Event) {
    let at = event.at;
    task.version = event.seq;
    task.updated_at = at;
    match &event.kind {
        // A task's beginning is folded by `begin`.
        EventKind::Accepted { .. } | EventKind::Planned { .. } => {}
        EventKind::StepPlaced { step, agent, incarnation, reason, timeout_at, .. } => {
            let attempt = Attempt {
                agent: agent.clone(),
                incarnation: incarnation.clone(),
                placed_at: at,
                reason: reason.clone(),
                ended: None,
            };
            let step = enter(task, *step, StepState::Running { timeout_at: *timeout_at });
            step.attempts.push(attempt);
        }
        EventKind::StepQueued { step, since, agent_absent, recheck_at } => {
            let state = StepState::Queued { since: *since, agent_absent: *agent_absent, recheck_at: *recheck_at };
            enter(task, *step, state);
        }
        EventKind::StepBackedOff { step, until } => {
            enter(task, *step, StepState::BackingOff { until: *until });
        }
        EventKind::AttemptEnded { step, attempt, end } => attempt_ended(task, *step, *attempt, end, at),
        EventKind::StepSucceeded { step, attempt, output, .. } => {
            let state = StepState::Succeeded { at, attempt: *attempt, output: output.clone() };
            let step = enter(task, *step, state);
            if let Some(counted) = attempt_mut(step, *attempt) {
                counted.ended = None;
            }
        }
        EventKind::StepFailed { step, failure } => {
            enter(task, *step, StepState::Failed { at, failure: failure.clone() });
        }
        EventKind::StepSkipped { step, reason } => {
            enter(task, *step, StepState::Skipped { at, reason: reason.clone() });
        }
        EventKind::TaskSucceeded { final_step } => end(task, at, TaskOutcome::Succeeded(*final_step)),
        EventKind::TaskFailed { failure } => end(task, at, TaskOutcome::Failed(failure.clone())),
        EventKind::TaskCancelled { reason } => end(task, at, TaskOutcome::Cancelled(reason.clone())),
    }
}

/// Puts a step into a state of a new epoch.
fn enter(task: &mut Task, step: StepIndex, state: StepState) -> &mut Step {
    let step = &mut task.steps[step.position()];
    step.state = state;
    step.epoch += 1;
    step
}

fn attempt_mut(step: &mut Step, no: AttemptNo) -> Option<&mut Attempt> {
    step.attempts.get_mut((no.0 as usize).checked_sub(1)?)
}

fn attempt_ended(task: &mut Task, index: StepIndex, no: AttemptNo, how: &AttemptEnd, at: At) {
    let step = enter(task, index, StepState::Pending);
    match how {
        AttemptEnd::Failed(_) | AttemptEnd::Fatal(_) | AttemptEnd::TimedOut => step.failures += 1,
        AttemptEnd::Crashed(_) => step.crashes += 1,
        AttemptEnd::Lost(_) => step.losses += 1,
        AttemptEnd::Superseded => {}
    }
    if let Some(attempt) = attempt_mut(step, no) {
        attempt.ended = Some((at, how.clone()));
    }
}

/// Ends the task and cancels whatever was open.
fn end(task: &mut Task, at: At, outcome: TaskOutcome) {
    task.end = Some(End { at, outcome });
    for index in task.plan.indices() {
        if !task.steps[index.position()].state.ended() {
            enter(task, index, StepState::Cancelled { at });
        }
    }
}
