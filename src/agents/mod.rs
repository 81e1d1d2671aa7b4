//! What an agent does for a capability, and the port through which it thinks. Nothing here knows actors or HTTP: an
//! agent is a value that turns work into an output.

mod citations;
mod corpus;
mod index;
mod library;
mod output;
mod own_documents;
mod passages;
mod prompt;
mod ranking;
mod reading;
mod retriever;
mod search;

pub use corpus::{Corpus, CorpusError, EmbeddedDocuments};
pub use index::SearchError;
pub use library::CorpusAccount;
pub use output::Output;
pub use own_documents::OWN_DOCUMENTS;
pub use prompt::{PROMPT_FILES, PromptAgent, TemplateError};
pub use reading::Reading;
pub use retriever::{CorpusSize, Retriever};

use crate::messages::{Completion, Generated, ModelError, Passage, Phase, Work};
use crate::task::{Capability, ErrorCode, Failure, Json, Loss};
use std::sync::Arc;

/// The future of an attempt: boxed, so that agents of all kinds can work in one team.
pub use futures_util::future::BoxFuture;

/// An agent: performs one step at a time per slot, holds no state between steps.
///
/// One type with this trait is all that it takes to put one's own code into a team:
///
/// ```
/// use callboard::agents::{Agent, AgentError, BoxFuture, Output, Reading, Think};
/// use callboard::messages::Work;
/// use callboard::task::Json;
/// use callboard::testkit::{Alone, earlier, work};
///
/// /// Counts the words of the answer so far.
/// struct WordCounter;
///
/// impl Agent for WordCounter {
///     fn perform<'a>(&'a self, work: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
///         Box::pin(async move {
///             let earlier = Reading::all(&work.earlier);
///             let answer = earlier.last().ok_or_else(|| AgentError::fatal("there is no answer to count in"))?;
///             let count = answer.text.split_whitespace().count();
///             Output::of(work, "word counter").text(format!("{count} words")).field("count", count).json()
///         })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut work = work("count", "how long is it?");
/// work.earlier.push(earlier("evaluate", serde_json::json!({"text": "as long as it takes"})));
/// let output = Alone::default().perform(&WordCounter, &work).await.unwrap();
/// assert_eq!(output["text"], "5 words");
/// assert_eq!(output["metadata"]["command"], "count");
/// # });
/// ```
///
/// `examples/custom_agent.rs` puts one into a whole team; `docs/testing.md` says how to test it there.
pub trait Agent: Send + Sync + 'static {
    /// Does one attempt at one step. The output is a JSON object with at least the keys `profile`, `provider`, `text`,
    /// `raw_response`, `metadata`, `input` and `context`; the last two hold references only. The future is dropped
    /// when the attempt is cancelled, so it must not leave anything half done behind an await. [`Output`] makes that
    /// object.
    ///
    /// # Errors
    /// [`AgentError`], which says whether another attempt may help.
    fn perform<'a>(&'a self, work: &'a Work, think: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>>;
}

/// Why an agent could not do its step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// Another attempt may succeed.
    #[error("{}", .0.message)]
    Retryable(Failure),
    /// No attempt will.
    #[error("{}", .0.message)]
    Fatal(Failure),
    /// Code that it called panicked; costs no attempt, counts in `max_crashes`.
    #[error("{}", .0.message)]
    Crashed(Failure),
    /// The attempt ended for no fault of its own; counts in `max_losses`.
    #[error("the attempt was lost, because of {}", .0.name())]
    Lost(Loss),
}

impl AgentError {
    /// A failure that another attempt may mend, such as a service that is busy. The words say what happened, why, and
    /// what to do next.
    pub fn retryable(message: impl Into<Arc<str>>) -> Self {
        Self::Retryable(Failure::new(ErrorCode::InternalError, message))
    }

    /// A failure that no attempt will mend, such as a question that cannot be answered at all.
    pub fn fatal(message: impl Into<Arc<str>>) -> Self {
        Self::Fatal(Failure::new(ErrorCode::InternalError, message))
    }

    /// What a model's failure means for the attempt that needed its answer.
    pub fn of_model(work: &Work, error: ModelError) -> Self {
        let failed = |code| Failure::new(code, format!("{}: {error}", work.capability));
        match error {
            ModelError::Retryable(_) => Self::Retryable(failed(ErrorCode::InternalError)),
            ModelError::Fatal(_) => Self::Fatal(failed(ErrorCode::InternalError)),
            ModelError::Crashed(_) => Self::Crashed(failed(ErrorCode::Crashed)),
            ModelError::Lost(loss) => Self::Lost(loss),
        }
    }
}

/// What an agent asks of a model.
#[derive(Debug, Clone)]
pub struct Thought {
    /// The rendered system prompt.
    pub system_prompt: Arc<str>,
    /// The rendered user prompt.
    pub user_prompt: Arc<str>,
    /// The question itself.
    pub question: Arc<str>,
    /// The evidence, best first.
    pub passages: Vec<Passage>,
}

impl Thought {
    /// The question to a model that it is, for this capability.
    pub fn completion(self, capability: Capability) -> Completion {
        let Self { system_prompt, user_prompt, question, passages } = self;
        Completion { question, passages, ..Completion::prompted(capability, system_prompt, user_prompt) }
    }
}

/// The port of the agents to the models. Dropping the future drops the model call.
pub trait Think: Send + Sync {
    /// One completion.
    ///
    /// # Errors
    /// [`ModelError`] when the provider gave no usable answer.
    fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>>;

    /// Says that the agent moved on to another kind of work, for the heartbeat and the stall detector.
    fn progress(&self, phase: Phase);
}

/// Short ways into the test kit, for the tests of this room.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::messages::Earlier;
    use crate::testkit::{Alone, Line, Scripted, always};

    pub(super) use crate::testkit::{earlier, passage};

    /// A port whose model always gives one answer.
    #[derive(Default)]
    pub(super) struct Recorder(Alone);

    impl Recorder {
        pub(super) fn playing(line: Line) -> Self {
            Self(Alone::with(Scripted::default().line(line)))
        }

        /// Answers with these words and citations.
        pub(super) fn saying(text: &str, citations: Vec<Passage>) -> Self {
            Self(Alone::with(Scripted::default().line(always().says(text).citing(citations))))
        }

        pub(super) fn phases(&self) -> Vec<Phase> {
            self.0.phases()
        }

        pub(super) fn thought(&self) -> Thought {
            self.0.thoughts().pop().unwrap()
        }
    }

    impl Think for Recorder {
        fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
            self.0.think(thought)
        }

        fn progress(&self, phase: Phase) {
            self.0.progress(phase);
        }
    }

    pub(super) fn work(capability: &str, objective: &str, earlier: Vec<Earlier>) -> Work {
        let step = crate::task::StepId::trusted(format!("t-1-P{}", earlier.len() + 1));
        Work { step, earlier, ..crate::testkit::work(capability, objective) }
    }

    pub(super) fn output_of(json: &Json) -> serde_json::Value {
        json.parse().unwrap()
    }
}
