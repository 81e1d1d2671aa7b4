//! The pure core: the life of a task as a deterministic state machine. No I/O, clock, randomness, async or actor; it is
//! tested by the hundred thousand schedules.
//!
//! `accept` and `decide` turn a submission or an input into events, `apply` folds events into the state, `effects` says
//! what a change of state means for queues, timers, leases and agents.

mod apply;
mod broken_log;
mod decide;
mod effects;
mod event;
mod failure;
mod fleet;
mod id;
mod json;
mod plan;
mod state;
mod submission;

pub use apply::{apply, replay, resume};
pub use broken_log::BrokenLog;
pub use decide::{Decision, Input, Outcome, Refusal, Report, World, accept, decide};
pub use effects::{
    Effects, Lease, QueueEntry, Timer, TimerId, UNACCEPTED_LEASE_MS, UnknownTimer, accepted_lease_ms, effects, leases,
    listed_lease_ms, queue_entries, timers,
};
pub use event::{AttemptEnd, Event, EventKind, Loss, SCHEMA};
pub use failure::{ErrorCode, Failure};
pub use fleet::{Choice, Fleet, Member, Record, Rest, Trial, Verdict, Wanted};
pub use id::*;
pub use json::{INLINE_BYTES, Json, Payload};
pub use plan::{InvalidPlan, Limits, MAX_STEPS, Pipeline, Plan, Stage, StepSpec};
pub use state::{Attempt, End, Status, Step, StepState, Task, TaskOutcome, UnknownStatus};
pub use submission::{
    Budget, DEFAULT_DEADLINE_MS, Digest, MAX_DEADLINE_MS, MIN_DEADLINE_MS, Options, Priority, Request, Submission,
};
