//! What went wrong, in the wire contract's words: a code that programs branch on and a sentence that people read.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The public error codes; every non-2xx answer and every failed step carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request does not have the right form.
    ValidationError,
    /// No agent for a capability.
    RoutingError,
    /// An agent could not be reached, or was lost too often.
    WorkerUnavailable,
    /// Work could not be sent.
    DispatchFailed,
    /// A fault of ours.
    InternalError,
    /// No or a wrong key.
    Unauthorized,
    /// No such thing.
    NotFound,
    /// It contradicts what is already there.
    Conflict,
    /// Too many requests from this caller.
    RateLimited,
    /// Full; try again later.
    Overloaded,
    /// Cancelled on request.
    Cancelled,
    /// The task's deadline passed.
    DeadlineExceeded,
    /// The budget is spent.
    BudgetExceeded,
    /// The step's code panicked.
    Crashed,
    /// A step took longer than it may.
    Timeout,
}

/// A failure with its cause in words, as kept in events and shown to users. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What programs branch on.
    pub code: ErrorCode,
    /// What happened, why, and what to do next.
    pub message: Arc<str>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl Into<Arc<str>>) -> Self {
        Self { code, message: message.into() }
    }
}
