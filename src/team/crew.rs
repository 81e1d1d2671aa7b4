//! Which of a team's agents work in this process, and under which names: all of them, those that its settings choose, or one
//! that does it all. Where others see them too, their names say where they are, so that no two are the same.

use super::TeamMember;
use crate::agents::{Agent, AgentError, BoxFuture, PromptAgent, Think};
use crate::messages::Work;
use crate::settings::{Crew, Settings};
use crate::task::{AgentId, Capability, Json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a process's agents work, and who they are.
pub struct Berth {
    crew: Crew,
    slots: u32,
    url: Option<Arc<str>>,
    /// That one agent's system prompt, read when the process starts.
    prompt: Option<Arc<str>>,
}

impl Berth {
    /// The settings' choice, for agents that others reach at `url`.
    pub fn new(settings: &Settings, url: Option<String>) -> Self {
        let crew = settings.crew.clone();
        let prompt = crew.prompt.as_ref().and_then(|path| match std::fs::read_to_string(path) {
            Ok(text) => Some(text.into()),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the prompt cannot be read: the team's own is used");
                None
            }
        });
        Self { crew, slots: settings.slots, url: url.map(Into::into), prompt }
    }

    /// Where others reach the agents; none when nobody else does.
    pub fn url(&self) -> Option<Arc<str>> {
        self.url.clone()
    }

    /// The agents of this process, out of a team.
    pub fn members(&self, team: &[TeamMember]) -> Vec<TeamMember> {
        if let Some(agent) = &self.crew.agent {
            return vec![self.only(agent, team)];
        }
        let chosen = |member: &&TeamMember| match &self.crew.capabilities {
            Some(chosen) => member.capabilities.iter().any(|capability| chosen.contains(capability)),
            None => true,
        };
        let mut members: Vec<_> = team.iter().filter(chosen).cloned().collect();
        for member in &mut members {
            if let Some(chosen) = &self.crew.capabilities {
                member.capabilities.retain(|capability| chosen.contains(capability));
            }
            if let Some(place) = self.place() {
                // An agent's name and a host's and port's are within an id's bounds; what is not stays as it is.
                member.id = AgentId::parse(&format!("{}@{place}", member.id)).unwrap_or(member.id.clone());
            }
        }
        members
    }

    /// Host and port of the URL.
    fn place(&self) -> Option<&str> {
        let (_, rest) = self.url.as_deref()?.split_once("://")?;
        let authority = rest.split('/').next()?;
        Some(authority.rsplit_once('@').map_or(authority, |(_, place)| place))
    }

    /// One agent that does what several of the team's do.
    fn only(&self, agent: &AgentId, team: &[TeamMember]) -> TeamMember {
        let of_team = team.iter().flat_map(|member| &member.capabilities).cloned();
        let mut capabilities: Vec<_> = match &self.crew.capabilities {
            Some(chosen) => chosen.to_vec(),
            None => of_team.collect(),
        };
        let mut seen = std::collections::BTreeSet::new();
        capabilities.retain(|capability| seen.insert(capability.clone()));
        let profile = self.crew.profile.clone().unwrap_or_else(|| agent.as_str().into());
        let able = |capability: &Capability| team.iter().find(|member| member.capabilities.contains(capability));
        let by_capability = capabilities.iter().map(|capability| {
            let own = || able(capability).map(|member| member.agent.clone());
            let does = self.prompted(&profile, capability).or_else(own).or_else(|| plain(&profile));
            (capability.clone(), does)
        });
        let by_capability = by_capability.filter_map(|(capability, does)| Some((capability, does?))).collect();
        let names = capabilities.iter().map(Capability::as_str).collect::<Vec<_>>().join(", ");
        TeamMember {
            id: agent.clone(),
            kind: "several".into(),
            slots: self.slots,
            profile,
            description: names.into(),
            provider: capabilities.first().and_then(able).and_then(|member| member.provider.clone()),
            capabilities,
            agent: Arc::new(Several(by_capability)),
        }
    }

    /// An agent with the settings' prompt, where they name one that can be used.
    fn prompted(&self, profile: &str, capability: &Capability) -> Option<Arc<dyn Agent>> {
        let prompt = self.prompt.as_ref()?;
        let agent = PromptAgent::new(profile);
        let agent = agent.and_then(|agent| agent.with_prompts(capability, Some(prompt.to_string()), None));
        match agent {
            Ok(agent) => Some(Arc::new(agent)),
            Err(error) => {
                tracing::warn!(%error, "the prompt cannot be used: the team's own is");
                None
            }
        }
    }
}

fn plain(profile: &str) -> Option<Arc<dyn Agent>> {
    PromptAgent::new(profile).ok().map(|agent| Arc::new(agent) as Arc<dyn Agent>)
}

/// One agent for each capability, as one.
struct Several(BTreeMap<Capability, Arc<dyn Agent>>);

impl Agent for Several {
    fn perform<'a>(&'a self, work: &'a Work, think: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        match self.0.get(&work.capability) {
            Some(agent) => agent.perform(work, think),
            None => Box::pin(async move {
                Err(AgentError::fatal(format!("this agent cannot {}: check its CAPABILITIES", work.capability)))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::Team;

    fn members(choices: &[(&'static str, &str)], url: Option<&str>) -> Vec<TeamMember> {
        let settings = Settings::with(choices).unwrap();
        let team = Team::of(&settings).unwrap();
        Berth::new(&settings, url.map(str::to_owned)).members(&team.members)
    }

    fn names(members: &[TeamMember]) -> Vec<&str> {
        members.iter().map(|member| member.id.as_str()).collect()
    }

    #[test]
    fn a_whole_team_works_under_its_own_names_where_nobody_else_sees_it() {
        assert_eq!(names(&members(&[], None)), ["agent-analyze", "agent-retrieve", "agent-evaluate", "agent-finalize"]);
    }

    #[test]
    fn those_whom_others_see_say_where_they_are() {
        let seen = members(&[("capabilities", "analyze,finalize")], Some("http://me:secret@10.0.0.7:5000/x"));
        assert_eq!(names(&seen), ["agent-analyze@10.0.0.7:5000", "agent-finalize@10.0.0.7:5000"]);
    }

    #[test]
    fn one_agent_can_do_it_all_or_what_nobody_in_the_team_does() {
        let all = members(&[("agent_id", "worker-a")], Some("http://worker-a:5000"));
        assert_eq!((names(&all), all[0].capabilities.len()), (vec!["worker-a"], 4));
        let own = members(&[("agent_id", "worker-a"), ("capabilities", r#"["paint", "paint"]"#)], None);
        assert_eq!(own[0].capabilities, [Capability::trusted("paint")]);
        assert_eq!(&*own[0].profile, "worker-a");
    }
}
