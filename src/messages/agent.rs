//! What an agent is told: work, and word that it no longer counts.

use super::{Lane, Message, StepResult};
use crate::task::{AgentId, AttemptNo, Capability, Incarnation, Json, StepId, TaskKey};
use std::sync::Arc;

/// Do one attempt at one step.
#[derive(Debug, Clone)]
pub struct Work {
    /// Whose.
    pub key: TaskKey,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: AttemptNo,
    /// Which agent it was assigned to.
    pub agent: AgentId,
    /// Which life of it; whichever it is in when none.
    pub incarnation: Option<Incarnation>,
    /// Milliseconds until the result no longer matters.
    pub deadline_ms: u64,
    /// What is asked of it.
    pub capability: Capability,
    /// The question.
    pub objective: Arc<str>,
    /// The task's context, a JSON object.
    pub context: Json,
    /// The outputs so far, in plan order.
    pub earlier: Vec<Earlier>,
}

/// An earlier step's output.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Which step.
    pub step: StepId,
    /// What it was for.
    pub capability: Capability,
    /// What came out, a JSON object.
    pub output: Json,
}

/// An agent's immediate answer to [`Work`]; the result is a message of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkReply {
    /// It runs.
    Accepted,
    /// No slot is free.
    Overloaded,
    /// On its way out.
    Draining,
    /// It was meant for an earlier life.
    Restarted,
}

impl Message for Work {
    const NAME: &'static str = "work";
    type Reply = WorkReply;
}

/// Do one attempt at one step, and answer with what came out: for whoever waits for it on the spot.
#[derive(Debug)]
pub struct Perform(pub Work);

impl Message for Perform {
    const NAME: &'static str = "perform";
    type Reply = Result<StepResult, WorkReply>;
}

/// Stop an attempt, best effort.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DropAttempt {
    /// Whose.
    pub key: TaskKey,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: AttemptNo,
}

impl Message for DropAttempt {
    const NAME: &'static str = "drop_attempt";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Are you there? For agents that show in no other way that they live.
#[derive(Debug, Clone, Copy)]
pub struct Probe;

impl Message for Probe {
    const NAME: &'static str = "probe";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Say when your process ends. Answered when the connection has ended, in whatever way; it says nothing of why.
#[derive(Debug, Clone, Copy)]
pub struct Watch;

impl Message for Watch {
    const NAME: &'static str = "watch";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Does anything listen where you are reached? Asks the machine there, not the process.
#[derive(Debug, Clone, Copy)]
pub struct Knock;

impl Message for Knock {
    const NAME: &'static str = "knock";
    const LANE: Lane = Lane::Control;
    type Reply = Presence;
}

/// What a knock finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Something listens.
    Listens,
    /// The machine says that nothing does: the process is gone.
    Refuses,
    /// Nobody says anything: a slow network, a machine that is gone, a name that has no address just now.
    Unknown,
}

/// Take no more work.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Stop what runs, and report it as drained.
    pub hand_back: bool,
}

impl Message for Drain {
    const NAME: &'static str = "drain";
    const LANE: Lane = Lane::Control;
    type Reply = Draining;
}

/// How far an agent is with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// How many attempts are still here: running, or with a result not yet taken.
    pub left: usize,
}
