//! What a gateway is asked: one completion, and how a call does.

use super::{Answer, Completion, Embedded, Embedding, Lane, Message, Piece, Trouble};
use crate::task::{CallId, Loss};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A passage of a document, as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The document, relative to the searched folder.
    pub file: Arc<str>,
    /// The first line, from 1; of a document in pages (PDF), the page.
    pub line: u32,
    /// The titles above it, outermost first: `Chapter 2 > 2.1 apt`. Absent where there are none, and from senders that
    /// know of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<Arc<str>>,
    /// The words.
    pub text: Arc<str>,
}

impl Passage {
    /// A passage without titles above it.
    pub fn new(file: impl Into<Arc<str>>, line: u32, text: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), line, heading: None, text: text.into() }
    }
}

/// One completion by a model.
#[derive(Debug, Clone)]
pub struct Generate {
    /// The call's name, for dropping it and asking after it.
    pub call: CallId,
    /// What is asked.
    pub completion: Completion,
    /// Which provider; the gateway's own when none.
    pub provider: Option<Arc<str>>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// Which provider answered.
    pub provider: Arc<str>,
    /// Which model.
    pub model: Arc<str>,
    /// The words.
    pub text: Arc<str>,
    /// The passages that the words rest on, in the order in which they are cited (`[1]` is the first).
    pub citations: Vec<Passage>,
    /// Tokens in and out, where the provider counts them.
    pub usage: Option<Usage>,
}

impl From<Answer> for Generated {
    fn from(answer: Answer) -> Self {
        let Answer { provider, model, text, citations, usage, .. } = answer;
        Self { provider, model, text, citations, usage }
    }
}

/// What a call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Why a model gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// May work another time.
    #[error("{0}")]
    Retryable(Arc<str>),
    /// Never will.
    #[error("{0}")]
    Fatal(Arc<str>),
    /// The provider's code panicked: no failure of the question, so it costs no attempt.
    #[error("{0}")]
    Crashed(Arc<str>),
    /// The call never came to a provider, or its gateway is gone.
    #[error("the gateway could not take the call, because of {}", .0.name())]
    Lost(Loss),
}

impl Message for Generate {
    const NAME: &'static str = "generate";
    type Reply = Result<Generated, ModelError>;
}

/// One answer with all that a model can say, for callers that speak to models themselves.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The call's name.
    pub call: CallId,
    /// What is asked.
    pub completion: Completion,
    /// Which provider; the gateway's own when none.
    pub provider: Option<Arc<str>>,
}

impl Message for Chat {
    const NAME: &'static str = "chat";
    type Reply = Result<Answer, Trouble>;
}

/// An answer as it comes; after an error nothing more does, and the last piece is [`Piece::End`]. Dropped, it ends the call.
pub type Pieces = BoxStream<'static, Result<Piece, Trouble>>;

/// The same, as it comes. The reply is there with the first word.
#[derive(Debug, Clone)]
pub struct ChatStream(pub Chat);

impl Message for ChatStream {
    const NAME: &'static str = "chat_stream";
    type Reply = Result<Pieces, Trouble>;
}

/// Vectors for texts.
#[derive(Debug, Clone)]
pub struct Embed {
    /// The call's name.
    pub call: CallId,
    /// The texts.
    pub embedding: Embedding,
    /// Which provider; the gateway's own when none.
    pub provider: Option<Arc<str>>,
}

impl Message for Embed {
    const NAME: &'static str = "embed";
    type Reply = Result<Embedded, Trouble>;
}

/// Ask how the providers do.
#[derive(Debug, Clone, Copy)]
pub struct ProviderStates;

/// A provider as calls may name it, and whoever answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderState {
    /// Its name.
    pub name: Arc<str>,
    /// Where its calls go, by whom is asked first; one for each key.
    pub places: Vec<PlaceState>,
}

/// A provider with one of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceState {
    /// Which provider.
    pub provider: Arc<str>,
    /// Whether calls go there.
    pub available: bool,
    /// For how many milliseconds it is left alone.
    pub rests_ms: Option<u64>,
    /// How it failed last, if it has not answered since.
    pub last_failure: Option<Arc<str>>,
}

impl Message for ProviderStates {
    const NAME: &'static str = "provider_states";
    const LANE: Lane = Lane::Control;
    type Reply = Vec<ProviderState>;
}

/// Drop a running call, best effort: nobody wants its answer.
#[derive(Debug, Clone)]
pub struct DropCall(pub CallId);

impl Message for DropCall {
    const NAME: &'static str = "drop_call";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Ask after a running call.
#[derive(Debug, Clone)]
pub struct CallStatus(pub CallId);

/// How a running call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallAge {
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// Milliseconds since the provider last said anything.
    pub silent_ms: u64,
}

impl Message for CallStatus {
    const NAME: &'static str = "call_status";
    const LANE: Lane = Lane::Control;
    type Reply = Option<CallAge>;
}
