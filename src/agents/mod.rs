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
pub use own_documents::OWN_DOCUMENTS;
pub use prompt::{PromptAgent, TemplateError};
pub use retriever::{CorpusSize, Retriever};

use crate::messages::{Generated, ModelError, Passage, Phase, Work};
use crate::task::{Failure, Json, Loss};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// An agent: performs one step at a time per slot, holds no state between steps.
pub trait Agent: Send + Sync + 'static {
    /// Does one attempt at one step. The output is a JSON object with at least the keys `profile`, `provider`, `text`,
    /// `raw_response`, `metadata`, `input` and `context`; the last two hold references only. The future is dropped
    /// when the attempt is cancelled, so it must not leave anything half done behind an await.
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

#[cfg(test)]
mod testing {
    use super::*;
    use crate::messages::Earlier;
    use crate::task::{AgentId, AttemptNo, Capability, Incarnation, StepId, TaskId, TaskKey, Tenant};
    use parking_lot::Mutex;

    /// A port that answers with what it was given and remembers what it was asked.
    pub(super) struct Recorder {
        answer: Result<Generated, ModelError>,
        phases: Mutex<Vec<Phase>>,
        thoughts: Mutex<Vec<Thought>>,
    }

    impl Default for Recorder {
        fn default() -> Self {
            Self::answering(Err(ModelError::Fatal("no model was expected to be called".into())))
        }
    }

    impl Recorder {
        pub(super) fn answering(answer: Result<Generated, ModelError>) -> Self {
            Self { answer, phases: Mutex::default(), thoughts: Mutex::default() }
        }

        /// Answers with these words and citations.
        pub(super) fn saying(text: &str, citations: Vec<Passage>) -> Self {
            let (provider, model) = ("scripted".into(), "scripted-1".into());
            Self::answering(Ok(Generated { provider, model, text: text.into(), citations, usage: None }))
        }

        pub(super) fn phases(&self) -> Vec<Phase> {
            self.phases.lock().clone()
        }

        pub(super) fn thought(&self) -> Thought {
            self.thoughts.lock().last().cloned().unwrap()
        }
    }

    impl Think for Recorder {
        fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
            self.thoughts.lock().push(thought);
            Box::pin(async { self.answer.clone() })
        }

        fn progress(&self, phase: Phase) {
            self.phases.lock().push(phase);
        }
    }

    pub(super) fn work(capability: &str, objective: &str, earlier: Vec<Earlier>) -> Work {
        Work {
            key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
            step: StepId::trusted(format!("t-1-P{}", earlier.len() + 1)),
            attempt: AttemptNo(1),
            agent: AgentId::trusted("agent-1"),
            incarnation: Incarnation::trusted("life-1"),
            deadline_ms: 60_000,
            capability: Capability::trusted(capability),
            objective: objective.into(),
            context: Json::from_text("{}".into()).unwrap(),
            earlier,
        }
    }

    pub(super) fn earlier(capability: &str, output: serde_json::Value) -> Earlier {
        Earlier {
            step: StepId::trusted(format!("t-1-{capability}")),
            capability: Capability::trusted(capability),
            output: Json::of(&output).unwrap(),
        }
    }

    pub(super) fn passage(file: &str, line: u32, text: &str) -> Passage {
        Passage::new(file, line, text)
    }

    pub(super) fn output_of(json: &Json) -> serde_json::Value {
        json.parse().unwrap()
    }
}
