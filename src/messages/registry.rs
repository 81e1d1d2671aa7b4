//! What a registry is told of agents: that they join, live and leave.

use super::{DropAttempt, Lane, Message};
use crate::task::{AgentId, At, AttemptNo, CallId, Capability, Incarnation, StepId, TaskKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What an agent says of itself on joining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// Its name.
    pub agent: AgentId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// The predecessor's word for an agent's kind.
    pub profile: Arc<str>,
    /// What it is, for people.
    pub description: Option<Arc<str>>,
    /// Where it is reached; none when only its own process can.
    pub url: Option<Arc<str>>,
    /// It knows only the predecessor's part of the contract: it names no life of its own, and shows that it lives by a
    /// key of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// It reads each earlier output where the stages are listed, so that each need be sent once only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_stages: bool,
}

/// An agent joins.
#[derive(Debug, Clone)]
pub struct Register(pub Declaration);

impl Message for Register {
    const NAME: &'static str = "register";
    const LANE: Lane = Lane::Control;
    type Reply = Result<(), RegistryError>;
}

/// An agent leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deregister {
    /// Who.
    pub agent: AgentId,
    /// Which life of it: a newer one stays. None where that is not known; then whichever lives.
    pub incarnation: Option<Incarnation>,
}

impl Message for Deregister {
    const NAME: &'static str = "deregister";
    const LANE: Lane = Lane::Control;
    type Reply = Result<(), RegistryError>;
}

/// What an attempt is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The agent's own code.
    Thinking,
    /// A model call.
    Model,
    /// A tool.
    Tool,
}

/// One running attempt in a heartbeat.
#[derive(Debug, Clone)]
pub struct ActiveAttempt {
    /// Whose.
    pub key: TaskKey,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: AttemptNo,
    /// What it is busy with.
    pub phase: Phase,
    /// Milliseconds since it last moved.
    pub progress_age_ms: u64,
    /// The model call it waits for.
    pub call: Option<CallId>,
}

/// An agent is alive, and this is what it works on.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// Who.
    pub agent: AgentId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Busy slots over slots, 0 to 1.
    pub load: f64,
    /// What runs.
    pub active: Vec<ActiveAttempt>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Default)]
pub struct HeartbeatAnswer {
    /// Attempts that no longer count: stop them.
    pub drop: Vec<DropAttempt>,
    /// False when the registry does not know this agent's life: register again.
    pub known: bool,
}

impl Message for Heartbeat {
    const NAME: &'static str = "heartbeat";
    const LANE: Lane = Lane::Control;
    type Reply = Result<HeartbeatAnswer, RegistryError>;
}

/// A foreign agent is alive, and works on these steps, as far as it says. It answers for no attempt by its number.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignBeat {
    /// Who.
    pub agent: AgentId,
    /// Busy slots over slots, 0 to 1.
    pub load: f64,
    /// What runs.
    pub active: Vec<StepId>,
}

impl Message for ForeignBeat {
    const NAME: &'static str = "foreign_beat";
    const LANE: Lane = Lane::Control;
    type Reply = Result<HeartbeatAnswer, RegistryError>;
}

/// Nobody listens any more where this life of an agent was reached.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// Who.
    pub agent: AgentId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

impl Message for Unreachable {
    const NAME: &'static str = "unreachable";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Why the registry did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The store cannot be reached just now.
    #[error("{0}")]
    StoreUnavailable(Arc<str>),
    /// It takes no such agent, and says why.
    #[error("{0}")]
    Refused(Arc<str>),
    /// A newer life has this one's name, and lives.
    #[error("{0}")]
    Replaced(Arc<str>),
}

/// When an agent was last seen and how it stands, as kept by the store and shown at `GET /agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// What it said on joining.
    pub declaration: Declaration,
    /// Its last heartbeat.
    pub last_heartbeat: At,
    /// Busy slots over slots, 0 to 1.
    pub load: f64,
    /// How many attempts it reported as running.
    pub active: u32,
    /// The lives of its name that it is known to have come after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Incarnation>,
}
