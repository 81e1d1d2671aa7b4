//! One agent by itself: work for it as the master would send it, and a port to a scripted model that notes what the agent
//! asks and what it says it is doing. No actor runs.

use super::Scripted;
use crate::agents::{Agent, AgentError, BoxFuture, Think, Thought};
use crate::llm::Provider;
use crate::messages::{Earlier, Generated, ModelError, Passage, Phase, Work};
use crate::task::{AgentId, AttemptNo, Capability, Incarnation, Json, StepId, TaskId, TaskKey, Tenant};
use parking_lot::Mutex;
use std::sync::Arc;

/// The port of an agent that works alone.
#[derive(Default)]
pub struct Alone {
    /// Without one, a call is an error that no attempt mends.
    model: Option<Arc<dyn Provider>>,
    /// What the agent is doing now, for the model's script.
    capability: Mutex<Option<Capability>>,
    phases: Mutex<Vec<Phase>>,
    thoughts: Mutex<Vec<Thought>>,
}

impl Alone {
    /// With a scripted model to think with.
    pub fn with(model: Scripted) -> Self {
        Self::thinking_with(Arc::new(model))
    }

    /// With any other.
    pub fn thinking_with(model: Arc<dyn Provider>) -> Self {
        Self { model: Some(model), ..Self::default() }
    }

    /// Lets an agent do one attempt, and gives its output.
    ///
    /// # Errors
    /// The agent's.
    ///
    /// # Panics
    /// When the output is no JSON object.
    pub async fn perform(&self, agent: &dyn Agent, work: &Work) -> Result<serde_json::Value, AgentError> {
        *self.capability.lock() = Some(work.capability.clone());
        let output: serde_json::Value = agent.perform(work, self).await?.parse().expect("an output is JSON");
        assert!(output.is_object(), "an output is a JSON object, and this is none: {output}");
        Ok(output)
    }

    /// What the agent said it was doing, in order.
    pub fn phases(&self) -> Vec<Phase> {
        self.phases.lock().clone()
    }

    /// What the agent asked the model, in order.
    pub fn thoughts(&self) -> Vec<Thought> {
        self.thoughts.lock().clone()
    }
}

impl Think for Alone {
    fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
        let mut thoughts = self.thoughts.lock();
        thoughts.push(thought.clone());
        let capability = self.capability.lock().clone().unwrap_or_else(|| Capability::trusted("unknown"));
        let completion = thought.completion(capability);
        Box::pin(async move {
            match &self.model {
                Some(model) => Ok(model.complete(&completion).await?.into()),
                None => Err(ModelError::Fatal("no model was expected to be called".into())),
            }
        })
    }

    fn progress(&self, phase: Phase) {
        self.phases.lock().push(phase);
    }
}

/// The first attempt at a task's first step. What comes before it is pushed to [`Work::earlier`].
pub fn work(capability: &str, objective: &str) -> Work {
    Work {
        key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
        step: StepId::trusted("t-1-P1"),
        attempt: AttemptNo(1),
        agent: AgentId::trusted("agent-1"),
        incarnation: Some(Incarnation::trusted("life-1")),
        deadline_ms: 60_000,
        capability: Capability::trusted(capability),
        objective: objective.into(),
        context: Json::empty(),
        earlier: Vec::new(),
    }
}

/// An earlier step's output.
///
/// # Panics
/// When the output has no JSON form.
pub fn earlier(capability: &str, output: serde_json::Value) -> Earlier {
    Earlier {
        step: StepId::trusted(format!("t-1-{capability}")),
        capability: Capability::trusted(capability),
        output: Json::of(&output).expect("a value is JSON"),
    }
}

/// A passage of a document.
pub fn passage(file: &str, line: u32, text: &str) -> Passage {
    Passage::new(file, line, text)
}
