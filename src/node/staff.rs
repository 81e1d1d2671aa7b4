//! Who works here: the default team of four, and what a member of any team is. It makes values only; the node starts
//! them.

use crate::agents::{Agent, Corpus, CorpusError, OWN_DOCUMENTS, PromptAgent, Retriever, TemplateError};
use crate::llm::ProviderKind;
use crate::settings::Settings;
use crate::task::{AgentId, Capability, InvalidId};
use std::sync::Arc;

/// Steps at once of an agent that says nothing else, as in the settings.
const SLOTS: u32 = 4;

/// One agent of a team.
#[derive(Clone)]
pub struct TeamMember {
    /// Its name.
    pub id: AgentId,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// What kind it is, as its outputs say.
    pub profile: Arc<str>,
    /// What it is, for people.
    pub description: Arc<str>,
    /// What it does.
    pub agent: Arc<dyn Agent>,
}

impl TeamMember {
    /// An agent of the caller's own: its name, what it can do, and what does it. It gets four slots, and its name for
    /// a profile; the fields say more where that is not right.
    ///
    /// # Errors
    /// [`InvalidId`] when the name or the capability is too short or too long.
    pub fn new(id: &str, capability: &str, agent: impl Agent) -> Result<Self, InvalidId> {
        Ok(Self {
            id: AgentId::parse(id)?,
            capabilities: vec![Capability::parse(capability)?],
            slots: SLOTS,
            profile: id.trim().into(),
            description: capability.trim().into(),
            agent: Arc::new(agent),
        })
    }
}

/// Why a team cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The documents cannot be searched.
    #[error("docs: {0}")]
    Corpus(#[from] CorpusError),
    /// A prompt is broken.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The predecessor's four: one agent for each stage. With `mock` nothing is searched either, so that a benchmark or a
/// script of faults meets the same kind of step four times.
///
/// # Errors
/// [`TeamError`] when the documents' folder cannot be used.
pub fn default_team(settings: &Settings) -> Result<Vec<TeamMember>, TeamError> {
    let retriever: Arc<dyn Agent> = match (settings.provider, &settings.docs) {
        (ProviderKind::Mock, _) => Arc::new(PromptAgent::new("retriever")?),
        (_, Some(folder)) => Arc::new(Retriever::new(Corpus::open(folder)?)),
        (_, None) => Arc::new(Retriever::new(Corpus::embedded(OWN_DOCUMENTS))),
    };
    let member = |capability: &'static str, profile: &'static str, description: &'static str, agent| TeamMember {
        id: AgentId::trusted(format!("agent-{capability}")),
        capabilities: vec![Capability::trusted(capability)],
        slots: settings.slots,
        profile: profile.into(),
        description: description.into(),
        agent,
    };
    Ok(vec![
        member(
            "analyze",
            "analyst",
            "says what is asked, and what to search for",
            Arc::new(PromptAgent::new("analyst")?),
        ),
        member("retrieve", "retriever", "finds the passages that may answer", retriever),
        member("evaluate", "evaluator", "judges what the passages say", Arc::new(PromptAgent::new("evaluator")?)),
        member("finalize", "writer", "writes the answer, with its sources", Arc::new(PromptAgent::new("writer")?)),
    ])
}
