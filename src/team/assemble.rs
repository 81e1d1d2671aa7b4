//! A team's file becomes a team: its parts fit together, its prompts are compiled, its documents are there. Agents that
//! search the same documents share one index, with those of the team before it, too.

use super::file::{AgentSpec, Kind, Prompt, StageSpec, TeamFile};
use super::limits::Choices;
use super::problem::Place;
use super::table::Notes;
use super::{Kinds, Libraries, Team, TeamError, TeamFileError, TeamMember, TeamSource};
use crate::agents::{Agent, Corpus, OWN_DOCUMENTS, PromptAgent, Retriever};
use crate::llm::ProviderKind;
use crate::settings::{Settings, nearest};
use crate::task::{Capability, Pipeline, Stage, TaskId};
use std::path::PathBuf;
use std::sync::Arc;

/// What a team is put together with.
pub(super) struct Workshop<'a> {
    pub settings: &'a Settings,
    pub own: &'a Kinds,
    /// The documents that an earlier team has read already.
    pub earlier: Option<&'a Libraries>,
}

impl Workshop<'_> {
    /// Puts it together.
    pub fn assemble(&self, file: TeamFile, source: TeamSource, mut notes: Notes<'_>) -> Result<Team, TeamError> {
        check(&file, &mut notes);
        let warnings = spare(&file, &mut notes);
        let stage = |stage: &StageSpec| Stage {
            capability: stage.capability.clone(),
            optional: stage.optional,
            limits: stage.limits.over(by_agents(&file, &stage.capability)).over(file.limits).on(self.settings.limits),
        };
        let pipeline = Pipeline(file.stages.iter().map(stage).collect());
        let mut libraries = Libraries::default();
        let mut members = Vec::new();
        for spec in &file.agents {
            if let Some(agent) = self.agent(spec, &mut libraries, &mut notes)? {
                members.push(self.member(spec, agent));
            }
        }
        // A team without stages has been refused already.
        if let Err(error) = pipeline.plan(&TaskId::trusted("sample"))
            && !file.stages.is_empty()
        {
            notes.wrong(1, format!("{error}: take stages out"));
        }
        if !notes.problems.is_empty() {
            return Err(TeamFileError::of(notes.problems).into());
        }
        let (name, description) = (file.name.as_deref().unwrap_or("team").into(), file.description.map(Arc::from));
        Ok(Team { name, description, source, pipeline, members, warnings, libraries })
    }

    fn member(&self, spec: &AgentSpec, agent: Arc<dyn Agent>) -> TeamMember {
        let named = || spec.capabilities.iter().map(Capability::as_str).collect::<Vec<_>>().join(", ");
        TeamMember {
            id: spec.id.clone(),
            kind: spec.kind.name().into(),
            capabilities: spec.capabilities.clone(),
            slots: spec.slots.unwrap_or(self.settings.slots),
            profile: spec.profile.as_deref().unwrap_or(spec.id.as_str()).into(),
            description: spec.description.clone().unwrap_or_else(named).into(),
            provider: spec.provider.map(|provider| provider.name().into()),
            agent,
        }
    }

    /// What does an agent's work; none when a problem was noted.
    fn agent(
        &self,
        spec: &AgentSpec,
        libraries: &mut Libraries,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Arc<dyn Agent>>, TeamError> {
        // A benchmark or a script of faults meets the same kind of step everywhere.
        let is_mock = spec.provider.unwrap_or(self.settings.models.provider) == ProviderKind::Mock;
        match &spec.kind {
            Kind::Retriever if !is_mock => self.retriever(spec, libraries, notes),
            Kind::Prompt | Kind::Retriever => Ok(prompt_agent(spec, notes)),
            Kind::Own(name) => Ok(self.own.find(name)),
        }
    }

    fn retriever(
        &self,
        spec: &AgentSpec,
        libraries: &mut Libraries,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Arc<dyn Agent>>, TeamError> {
        let own = spec.docs.as_ref().map(|docs| &docs.value);
        let folder: Option<PathBuf> = own.or(self.settings.docs.as_ref()).cloned();
        let read =
            [Some(&*libraries), self.earlier].into_iter().flatten().find_map(|read| read.0.get(&folder).cloned());
        // An empty or missing folder is told also where it has been read before.
        let corpus = match &folder {
            Some(folder) => Corpus::open(folder),
            None => Ok(Corpus::embedded(OWN_DOCUMENTS)),
        };
        match (corpus, &spec.docs) {
            (Ok(corpus), _) => {
                let retriever = read.unwrap_or_else(|| Arc::new(Retriever::new(corpus)));
                libraries.0.insert(folder, retriever.clone());
                Ok(Some(retriever))
            }
            (Err(error), Some(docs)) => {
                notes.wrong(docs.line, format!("agent {}: docs: {error}", spec.id));
                Ok(None)
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

fn prompt_agent(spec: &AgentSpec, notes: &mut Notes<'_>) -> Option<Arc<dyn Agent>> {
    let text = |prompt: &Option<Prompt>| prompt.as_ref().map(|prompt| prompt.text.clone());
    let profile = spec.profile.as_deref().unwrap_or(spec.id.as_str());
    let made = PromptAgent::new(profile).and_then(|agent| {
        if spec.system.is_none() && spec.user.is_none() {
            return Ok(agent);
        }
        let with =
            |agent: PromptAgent, capability| agent.with_prompts(capability, text(&spec.system), text(&spec.user));
        spec.capabilities.iter().try_fold(agent, with)
    });
    match made {
        Ok(agent) => Some(Arc::new(agent)),
        Err(error) => {
            let prompt = if error.role == "user" { &spec.user } else { &spec.system };
            let place = prompt.as_ref().map_or_else(
                || Place { file: notes.file.clone(), line: spec.line },
                |Prompt { place, .. }| Place {
                    file: place.file.clone(),
                    line: place.line + error.line.map_or(0, |line| line.saturating_sub(1)),
                },
            );
            let fault = format!("agent {}: {error}", spec.id);
            notes.problems.push(super::Problem { place, fault });
            None
        }
    }
}

// === Whether the parts fit together ===

/// What to do about a stage without an agent.
const NOBODY: &str = "give an agent that capability, or say optional = true; elsewhere = true where one joins from another \
                      process";

fn check(file: &TeamFile, notes: &mut Notes<'_>) {
    // Where something could not be read, what seems to be missing may be what is wrong.
    if !notes.problems.is_empty() {
        return;
    }
    if file.stages.is_empty() {
        notes.wrong(1, "a task has nothing to pass through: add a [[stages]] with a capability");
    }
    for (nth, spec) in file.agents.iter().enumerate() {
        if let Some(first) = file.agents[..nth].iter().find(|earlier| earlier.id == spec.id) {
            let fault = format!("agent {}: line {} has one of that id already: give it another", spec.id, first.line);
            notes.wrong(spec.line, fault);
        }
        for earlier in &file.agents[..nth] {
            quarrel(file, earlier, spec, notes);
        }
    }
    for stage in file.stages.iter().filter(|stage| !stage.optional && !stage.elsewhere) {
        if !able(file, &stage.capability) {
            let can = file.agents.iter().flat_map(|agent| &agent.capabilities).map(Capability::as_str);
            let remedy = nearest(stage.capability.as_str(), can)
                .map_or_else(|| NOBODY.to_owned(), |near| format!("did you mean {near}?"));
            notes.wrong(stage.line, format!("stage {}: no agent can do it: {remedy}", stage.capability));
        }
    }
}

/// Two agents for one stage whose steps would have two limits.
fn quarrel(file: &TeamFile, one: &AgentSpec, other: &AgentSpec, notes: &mut Notes<'_>) {
    let Some(limit) = one.limits.quarrel(&other.limits) else { return };
    let both = |stage: &&StageSpec| [one, other].iter().all(|agent| agent.capabilities.contains(&stage.capability));
    if let Some(stage) = file.stages.iter().find(both) {
        let fault = format!(
            "agent {}: its {limit} differs from {}'s, who can do {} too: a stage has one, so write it under that stage",
            other.id, one.id, stage.capability
        );
        notes.wrong(other.line, fault);
    }
}

fn able(file: &TeamFile, capability: &Capability) -> bool {
    file.agents.iter().any(|agent| agent.capabilities.contains(capability))
}

/// What those who can do a stage say of its limits.
fn by_agents(file: &TeamFile, capability: &Capability) -> Choices {
    let able = file.agents.iter().filter(|agent| agent.capabilities.contains(capability));
    able.fold(Choices::default(), |choices, agent| choices.over(agent.limits))
}

/// Capabilities that no stage asks for: no fault, and often a slip.
fn spare(file: &TeamFile, notes: &mut Notes<'_>) -> Vec<super::Problem> {
    let is_asked = |capability: &Capability| file.stages.iter().any(|stage| stage.capability == *capability);
    let mut warnings = Vec::new();
    for spec in &file.agents {
        for capability in spec.capabilities.iter().filter(|capability| !is_asked(capability)) {
            let stages = file.stages.iter().map(|stage| stage.capability.as_str());
            let near = nearest(capability.as_str(), stages);
            let remedy = near.map_or_else(String::new, |near| format!(": did you mean {near}?"));
            let place = Place { file: notes.file.clone(), line: spec.line };
            warnings.push(super::Problem {
                place,
                fault: format!("agent {}: no stage asks for {capability}{remedy}", spec.id),
            });
        }
    }
    warnings
}
