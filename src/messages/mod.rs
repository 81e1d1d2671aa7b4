//! Every typed message between actors, with its reply. No actor framework here: a message is data that may cross
//! processes by an edge, and whoever sends it cannot tell whether it does.

mod agent;
mod completion;
mod dispatcher;
mod gateway;
mod master;
mod registry;
mod trouble;

pub use agent::*;
pub use completion::*;
pub use dispatcher::*;
pub use gateway::*;
pub use master::*;
pub use registry::*;
pub use trouble::*;

use crate::task::{AttemptNo, ErrorCode, Priority, Scope, StepId, TaskKey};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Instant;

/// A message that expects an answer.
pub trait Message: Send + 'static {
    /// Its name in logs and errors.
    const NAME: &'static str;
    /// Which lane of the addressee it takes.
    const LANE: Lane = Lane::Work;
    /// What comes back.
    type Reply: Send + 'static;
}

/// A way to an addressee in another process, for one type of message: what is sent, how it is asked, and what each answer
/// means. An answer that does not come is no verdict: the message may have been carried out.
pub trait Edge<M: Message>: Send + Sync + 'static {
    /// Sends it, and waits for the answer until the context's deadline. Dropped, it lets the other side know where that
    /// can be done, by closing the connection.
    fn call(&self, message: M, context: CallContext) -> BoxFuture<'static, Result<M::Reply, CallError>>;
}

/// The two queues of an addressee; each has its own bound, so a flood of work never keeps a cancel out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Whatever takes time or room.
    Work,
    /// Cancel, status, drain, heartbeat.
    Control,
}

/// What rides along with every message, near or far: whose work it is, how urgent, and until when it matters.
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// The task it is done for.
    pub task: Option<TaskKey>,
    /// The step.
    pub step: Option<StepId>,
    /// The attempt at the step.
    pub attempt: Option<AttemptNo>,
    /// When the answer stops mattering; on the wire as remaining milliseconds, never as wall time.
    pub deadline: Option<Instant>,
    /// How urgent.
    pub priority: Priority,
    /// What its spending is charged to.
    pub budget_scopes: Arc<[Scope]>,
    /// W3C `traceparent`.
    pub trace: Option<Arc<str>>,
}

/// Why a message got no answer. A remote call that failed may still have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The addressee is gone.
    #[error("the actor is not running")]
    Unavailable,
    /// The addressee crashed while it had this message.
    #[error("the actor crashed while handling the message and was restarted")]
    Crashed,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The addressee's lane is full.
    #[error("the actor has too much to do")]
    Overloaded,
    /// The addressee cannot take this message, now or ever: it is too large, or not of the form that it knows.
    #[error("the addressee cannot take this message")]
    Rejected,
}

impl CallError {
    /// The public code of this error.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Unavailable => ErrorCode::WorkerUnavailable,
            Self::Crashed => ErrorCode::Crashed,
            Self::Timeout => ErrorCode::Timeout,
            Self::Overloaded => ErrorCode::Overloaded,
            Self::Rejected => ErrorCode::DispatchFailed,
        }
    }
}
