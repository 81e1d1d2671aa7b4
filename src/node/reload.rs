//! Another team while tasks run: read anew, tried out, and only then put in place of the one before. What is wrong with it
//! changes nothing.

use super::Callboard;
use crate::http::{Reload, TeamAgent, TeamStage, TeamView};
use crate::settings::Settings;
use crate::task::{AgentId, At};
use crate::team::{Kinds, Team, TeamError};
use std::fmt;
use std::sync::Arc;

/// What a change of the team changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Who is new.
    pub added: Vec<AgentId>,
    /// Who stays, with the duties of the new team.
    pub kept: Vec<AgentId>,
    /// Who finishes what it has and goes.
    pub retired: Vec<AgentId>,
    /// New tasks pass other stages, or with other limits.
    pub other_stages: bool,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |agents: &[AgentId]| agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ");
        for (what, agents) in [("added", &self.added), ("retired", &self.retired)] {
            if !agents.is_empty() {
                write!(f, "{what}: {}; ", names(agents))?;
            }
        }
        let stages = if self.other_stages { "other stages for new tasks" } else { "the same stages" };
        write!(f, "{} stay; {stages}", self.kept.len())
    }
}

impl Callboard {
    /// The team at work.
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// Reads the team's files again and goes on with what they say now. Steps that run are finished as they began; tasks
    /// keep the plan that they were accepted with; new tasks get the new stages. It comes back when the new agents have
    /// joined.
    ///
    /// # Errors
    /// [`TeamError`]; the team stays as it was, and `GET /team` shows what was wrong.
    pub async fn reload(&mut self, settings: &Settings, kinds: &Kinds) -> Result<Changes, TeamError> {
        let (team, settings, kinds) = (self.team.clone(), settings.clone(), kinds.clone());
        let read = tokio::task::spawn_blocking(move || team.again(&settings, &kinds)).await;
        // A panic in there has been logged, and the team is as it was.
        let Ok(read) = read else { return Ok(Changes::default()) };
        match read {
            Ok(team) => Ok(self.adopt(team).await),
            Err(error) => {
                let outcome = Reload { at: self.store.now(), fault: Some(error.to_string()) };
                self.shown.send_modify(|view| Arc::make_mut(view).last_reload = Some(outcome));
                Err(error)
            }
        }
    }

    /// Goes on with another team.
    pub async fn adopt(&mut self, team: Team) -> Changes {
        for warning in &team.warnings {
            tracing::warn!("{warning}");
        }
        let mut changes = self.staff.employ(&team.members);
        // Before anybody needs them: an optional stage is skipped while nobody can do it.
        if let Err(error) = self.staff.joined(&self.roster).await {
            tracing::warn!(%error, "the new team is not complete yet; it goes on joining");
        }
        changes.other_stages = self.pipeline.send_if_modified(|pipeline| {
            let is_other = **pipeline != team.pipeline;
            *pipeline = Arc::new(team.pipeline.clone());
            is_other
        });
        changes.retired = self.staff.retire(&team.members, &self.tree);
        let outcome = Reload { at: self.store.now(), fault: None };
        self.shown.send_replace(Arc::new(TeamView { last_reload: Some(outcome), ..view(&team, self.store.now()) }));
        self.team = team;
        changes
    }
}

/// A team as `GET /team` shows it.
pub fn view(team: &Team, loaded_at: At) -> TeamView {
    let stage = |stage: &crate::task::Stage| TeamStage {
        capability: stage.capability.clone(),
        optional: stage.optional,
        limits: stage.limits,
    };
    let agent = |member: &crate::team::TeamMember| TeamAgent {
        agent_id: member.id.clone(),
        kind: member.kind.clone(),
        capabilities: member.capabilities.clone(),
        ag2_profile: member.profile.clone(),
        description: member.description.clone(),
        slots: member.slots,
        provider: member.provider.clone(),
    };
    TeamView {
        name: team.name.clone(),
        description: team.description.clone(),
        source: team.source.to_string().into(),
        loaded_at,
        stages: team.pipeline.0.iter().map(stage).collect(),
        agents: team.members.iter().map(agent).collect(),
        last_reload: None,
    }
}
