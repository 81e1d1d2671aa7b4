//! What can go wrong with a model call, in one word and in many. What follows from each is the gateway's business.

use super::{ModelError, Usage};
use crate::task::Loss;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a provider gave no answer, or no whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it is.
    pub kind: TroubleKind,
    /// In words: what happened, and what the provider says of it. Never a key, never the question.
    pub message: Arc<str>,
    /// How long the provider asks to be left alone.
    pub wait: Option<Duration>,
    /// The provider says that asking again is of no use.
    pub is_final: bool,
    /// What was used until then, as far as it is known.
    pub usage: Option<Usage>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// No connection, a 5xx, an answer that broke off before its first word.
    Unavailable,
    /// No answer in time.
    TimedOut,
    /// Too much is asked just now: a 429 that passes.
    Throttled,
    /// What may be used is used up, for the day or until somebody pays.
    Exhausted,
    /// The question cannot be answered as it is: malformed, unknown model, too long.
    Invalid,
    /// The question, or the answer, is one that the provider does not give.
    Filtered,
    /// The key is not let in.
    Unauthorized,
    /// The answer broke off after its first word.
    Broken,
    /// The gateway itself takes no more calls just now.
    Full,
}

impl TroubleKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unavailable,
        Self::TimedOut,
        Self::Throttled,
        Self::Exhausted,
        Self::Invalid,
        Self::Filtered,
        Self::Unauthorized,
        Self::Broken,
        Self::Full,
    ];
}

impl Trouble {
    /// Trouble of a kind, in words.
    pub fn new(kind: TroubleKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, message: message.into(), wait: None, is_final: false, usage: None }
    }

    /// With the time that the provider asks for.
    #[must_use]
    pub fn after(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }

    /// With what was used.
    #[must_use]
    pub fn having_used(self, usage: Option<Usage>) -> Self {
        Self { usage, ..self }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

/// What it means for the step whose agent asked.
impl From<Trouble> for ModelError {
    fn from(trouble: Trouble) -> Self {
        match trouble.kind {
            TroubleKind::Unavailable | TroubleKind::TimedOut | TroubleKind::Throttled | TroubleKind::Broken => {
                Self::Retryable(trouble.message)
            }
            TroubleKind::Exhausted | TroubleKind::Invalid | TroubleKind::Filtered | TroubleKind::Unauthorized => {
                Self::Fatal(trouble.message)
            }
            TroubleKind::Full => Self::Lost(Loss::Refused),
        }
    }
}
