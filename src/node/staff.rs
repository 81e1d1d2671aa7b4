//! The agents of a process as its team says: started, told of other duties, retired. A step that runs is never taken from
//! an agent by a change of the team, and a task keeps the plan that it was accepted with.

use super::{Changes, DRAIN_POLL, FAREWELL_TIMEOUT, JOIN_TIMEOUT, ROOT_RESTARTS, StartError, ms};
use crate::actors::{
    ActorRef, Address, AgentActor, AgentLines, AgentParts, Directory, Duties, Gateway, Master, Node, Place, Registry,
    Roster, Spec, Tree, spawn_task, supervise,
};
use crate::messages::{CallContext, Deregister, Drain, Generate, Heartbeat, Register, StepResult};
use crate::settings::Settings;
use crate::task::{AgentId, Capability};
use crate::team::TeamMember;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Whom every agent talks to.
#[derive(Clone)]
pub(super) struct Neighbours {
    results: ActorRef<StepResult>,
    thoughts: ActorRef<Generate>,
    register: ActorRef<Register>,
    deregister: ActorRef<Deregister>,
    heartbeat: ActorRef<Heartbeat>,
}

impl Neighbours {
    pub fn new(master: &Address<Master>, registry: &Address<Registry>, gateway: &Address<Gateway>) -> Self {
        Self {
            results: master.actor_ref(),
            thoughts: gateway.actor_ref(),
            register: registry.actor_ref(),
            deregister: registry.actor_ref(),
            heartbeat: registry.actor_ref(),
        }
    }
}

/// The agents at work.
pub(super) struct Staff {
    group: Node,
    neighbours: Neighbours,
    directory: Directory,
    place: Place,
    heartbeat_ttl_ms: u64,
    roster: watch::Receiver<Arc<Roster>>,
    posts: BTreeMap<AgentId, Post>,
}

/// One agent.
struct Post {
    duties: watch::Sender<Option<Arc<Duties>>>,
    node: Node,
    lines: Arc<AgentLines>,
}

impl Staff {
    /// Nobody yet. `place` is away from the master's thread: what an agent computes must not hold up those who hand out
    /// work.
    pub fn new(
        settings: &Settings,
        tree: &Tree,
        neighbours: Neighbours,
        directory: Directory,
        place: Place,
        roster: watch::Receiver<Arc<Roster>>,
    ) -> Self {
        let group = tree.root().group("agents", ROOT_RESTARTS);
        let heartbeat_ttl_ms = ms(settings.heartbeat_ttl);
        Self { group, neighbours, directory, place, heartbeat_ttl_ms, roster, posts: BTreeMap::new() }
    }

    /// Starts those who are new, and tells the others what they are to do from now on. Those who are in no team any more
    /// stay until [`retire`](Self::retire).
    pub fn employ(&mut self, members: &[TeamMember]) -> Changes {
        let mut changes = Changes::default();
        for member in members {
            let duties = Arc::new(duties(member));
            match self.posts.get(&member.id) {
                Some(post) => {
                    post.duties.send_replace(Some(duties));
                    changes.kept.push(member.id.clone());
                }
                None => {
                    self.start(member, duties);
                    changes.added.push(member.id.clone());
                }
            }
        }
        changes
    }

    fn start(&mut self, member: &TeamMember, duties: Arc<Duties>) {
        let (told, duties) = watch::channel(Some(duties));
        let parts = AgentParts {
            id: member.id.clone(),
            duties,
            master: self.neighbours.results.clone(),
            gateway: self.neighbours.thoughts.clone(),
            register: self.neighbours.register.clone(),
            heartbeat: self.neighbours.heartbeat.clone(),
            heartbeat_ttl_ms: self.heartbeat_ttl_ms,
        };
        // Room for refusals: the slots are what bounds the work.
        let bounds = (member.slots.saturating_mul(4).max(256), member.slots.saturating_mul(4).max(256));
        let spec = Spec::new(member.id.as_str(), move || AgentActor::create(parts.clone()));
        let actor = supervise(&self.group, spec.bounds(bounds.0, bounds.1).place(self.place.clone()));
        let lines =
            Arc::new(AgentLines { work: actor.actor_ref(), drop_attempt: actor.actor_ref(), drain: actor.actor_ref() });
        self.directory.enter(member.id.clone(), lines.clone());
        self.posts.insert(member.id.clone(), Post { duties: told, node: actor.node().clone(), lines });
    }

    /// Waits until the registry knows all of them, as they are now.
    ///
    /// # Errors
    /// [`StartError::Agents`] when it does not come to that.
    pub async fn joined(&mut self, members: &[TeamMember]) -> Result<(), StartError> {
        let is_known = |roster: &Roster, member: &TeamMember| {
            let same = |known: &[Capability]| known == member.capabilities;
            roster.get(&member.id).is_some_and(|entry| entry.slots == member.slots && same(&entry.capabilities))
        };
        let all = |roster: &Arc<Roster>| members.iter().all(|member| is_known(roster, member));
        let waited = tokio::time::timeout(JOIN_TIMEOUT, self.roster.wait_for(all)).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        drop(waited);
        let roster = self.roster.borrow();
        let joined = members.iter().filter(|member| is_known(&roster, member)).count();
        Err(StartError::Agents { joined, expected: members.len() })
    }

    /// Lets go of those whom the team does not name: each finishes what it has, takes nothing new, and ends.
    pub fn retire(&mut self, members: &[TeamMember], tree: &Tree) -> Vec<AgentId> {
        let wanted: BTreeSet<_> = members.iter().map(|member| &member.id).collect();
        let gone: Vec<_> = self.posts.keys().filter(|agent| !wanted.contains(agent)).cloned().collect();
        for agent in &gone {
            let Some(post) = self.posts.remove(agent) else { continue };
            let retiring = farewell(agent.clone(), post, self.neighbours.deregister.clone(), self.directory.clone());
            // Nobody waits for it: it ends with its agent, or with the tree.
            drop(spawn_task(&tree.root(), format!("retire {agent}"), retiring));
        }
        gone
    }
}

/// An agent's last days: no new work, then, when nothing is left, its end.
async fn farewell(agent: AgentId, post: Post, deregister: ActorRef<Deregister>, directory: Directory) {
    post.duties.send_replace(None);
    let drain = || post.lines.drain.ask(Drain { hand_back: false }, CallContext::default(), FAREWELL_TIMEOUT);
    // First, or it would join again with its next heartbeat.
    let mut left = drain().await;
    let signed_off = deregister.ask(Deregister(agent.clone()), CallContext::default(), FAREWELL_TIMEOUT).await;
    if let Ok(Err(error)) = signed_off {
        tracing::warn!(agent = %agent, %error, "an agent could not be signed off");
    }
    // Bounded by its steps' time-outs: each ends, and a lost answer is asked for again.
    while left.is_err() || left.is_ok_and(|left| left > 0) {
        tokio::time::sleep(DRAIN_POLL).await;
        left = drain().await;
    }
    directory.leave(&agent, &post.lines);
    post.node.retired().await;
    tracing::info!(agent = %agent, "an agent retired");
}

fn duties(member: &TeamMember) -> Duties {
    Duties {
        capabilities: member.capabilities.clone(),
        slots: member.slots,
        profile: member.profile.clone(),
        description: member.description.clone(),
        provider: member.provider.clone(),
        agent: member.agent.clone(),
    }
}
