//! What a master is told and asked: submissions, results, what fell due, cancels. The answers say what became of it.

use super::{Lane, Message};
use crate::task::{AgentId, AttemptNo, Capability, Failure, Json, Loss, StepId, Submission, Task, TaskKey, TimerId};
use std::sync::Arc;

/// Take a task.
#[derive(Debug)]
pub struct Submit(pub Submission);

/// A task was taken, now or earlier.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The task as committed.
    pub task: Arc<Task>,
    /// True when an equal submission had already made it.
    pub repeated: bool,
}

impl Message for Submit {
    const NAME: &'static str = "submit";
    type Reply = Result<Submitted, MasterError>;
}

/// Take one step of the caller's own, outside of any pipeline, if an agent can begin with it now. It is a task of its own.
#[derive(Debug)]
pub struct Dispatch {
    /// The task that it is.
    pub submission: Submission,
    /// Its only step.
    pub step: StepId,
    /// What an agent must be able to do to take it.
    pub capability: Capability,
}

/// Who has a dispatched step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    /// The agent.
    pub agent: AgentId,
    /// In words.
    pub reason: Arc<str>,
    /// Those that were looked at, with their scores: the higher, the better.
    pub scores: Vec<(AgentId, f64)>,
}

impl Message for Dispatch {
    const NAME: &'static str = "dispatch";
    type Reply = Result<Dispatched, MasterError>;
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub enum StepOutcome {
    /// The step's output, a JSON object.
    Succeeded(Json),
    /// It may work another time; costs an attempt.
    RetryableFailure(Failure),
    /// It never will; fails the step.
    FatalFailure(Failure),
    /// It panicked; costs no attempt, counts in `max_crashes`.
    Crashed(Failure),
    /// It ended for no fault of its own; counts in `max_losses`.
    Lost(Loss),
}

/// An agent's answer to work. It implies that the work had been accepted.
#[derive(Debug, Clone)]
pub struct StepResult {
    /// Whose.
    pub key: TaskKey,
    /// Which step.
    pub step: StepId,
    /// Who did it.
    pub agent: AgentId,
    /// Which attempt; without it the newest one assigned to that agent.
    pub attempt: Option<AttemptNo>,
    /// What came out.
    pub outcome: StepOutcome,
    /// How the agent came to it, step by step, where it says so: JSON objects.
    pub trace: Vec<Json>,
}

/// What the master made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It changed the task, durably.
    Counted,
    /// It came too late or twice; nothing changed, and nothing is owed.
    Dropped,
}

impl Message for StepResult {
    const NAME: &'static str = "step_result";
    // A flood of submissions must not keep the results of what was accepted out.
    const LANE: Lane = Lane::Control;
    type Reply = Result<Receipt, MasterError>;
}

/// End a task at once.
#[derive(Debug)]
pub struct Cancel {
    /// Which.
    pub key: TaskKey,
    /// Why, in the log.
    pub reason: Arc<str>,
}

impl Message for Cancel {
    const NAME: &'static str = "cancel";
    const LANE: Lane = Lane::Control;
    type Reply = Result<Arc<Task>, MasterError>;
}

/// Something fell due: the dispatcher's part in a task's life.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Which task.
    pub key: TaskKey,
    /// What fell due.
    pub due: Due,
}

/// What can fall due in a task.
#[derive(Debug, Clone)]
pub enum Due {
    /// A queued step's turn has come.
    Claim(StepId),
    /// A timer's time has come.
    Timer(TimerId),
    /// An attempt's lease ran out.
    Lost(StepId, AttemptNo, Loss),
}

impl Message for Advance {
    const NAME: &'static str = "advance";
    const LANE: Lane = Lane::Control;
    type Reply = Result<Receipt, MasterError>;
}

/// How many steps wait for each capability that any waits for, as the store counts them.
#[derive(Debug, Clone)]
pub struct QueueDepths(
    /// Per priority, from low to high.
    pub Vec<(Capability, [u32; 3])>,
);

impl Message for QueueDepths {
    const NAME: &'static str = "queue_depths";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Why the master did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MasterError {
    /// Contradicts what is there.
    #[error("{0}")]
    Conflict(Arc<str>),
    /// No such task or step.
    #[error("{0}")]
    NotFound(Arc<str>),
    /// Too much is open; try again after that many seconds.
    #[error("{message}")]
    Overloaded {
        /// What is full.
        message: Arc<str>,
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// The store cannot be written or read just now; nothing was lost.
    #[error("{0}")]
    StoreUnavailable(Arc<str>),
    /// No agent for a capability is alive.
    #[error("{0}")]
    NoAgent(Arc<str>),
    /// The process is on its way out.
    #[error("this process is shutting down: send it to another, or again after the restart")]
    Draining,
    /// A fault of ours.
    #[error("{0}")]
    Internal(Arc<str>),
}
