//! The agents of a process as its team says: started, told of other duties, retired. A step that runs is never taken from
//! an agent by a change of the team, and a task keeps the plan that it was accepted with.

use super::elsewhere::FarMaster;
use super::{Changes, DRAIN_POLL, FAREWELL_TIMEOUT, JOIN_TIMEOUT, ROOT_RESTARTS, StartError, WorkPort, ms};
use crate::actors::{
    ActorRef, Address, AgentActor, AgentLines, AgentParts, Directory, Duties, Master, Node, Place, Registry, Roster,
    Spec, Tree, spawn_task, supervise,
};
use crate::http::HostedAgent;
use crate::messages::{CallContext, Deregister, Drain, Draining, Generate, Heartbeat, Perform, Register, StepResult};
use crate::settings::Settings;
use crate::task::{AgentId, Capability};
use crate::team::{Berth, TeamMember};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

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
    /// Master and registry of this process.
    pub fn near(master: &Address<Master>, registry: &Address<Registry>, thoughts: ActorRef<Generate>) -> Self {
        Self {
            results: master.actor_ref(),
            thoughts,
            register: registry.actor_ref(),
            deregister: registry.actor_ref(),
            heartbeat: registry.actor_ref(),
        }
    }

    /// Those of another process.
    pub fn far(master: FarMaster, thoughts: ActorRef<Generate>) -> Self {
        let FarMaster { results, register, deregister, heartbeat } = master;
        Self { results, thoughts, register, deregister, heartbeat }
    }
}

/// The agents at work.
pub(super) struct Staff {
    group: Node,
    /// None where no agents are: a process without the role of a worker, or without a gateway to think through.
    neighbours: Option<Neighbours>,
    directory: Directory,
    place: Place,
    heartbeat_ttl_ms: u64,
    berth: Berth,
    /// As work for them arrives over HTTP.
    hosted: watch::Sender<Arc<[HostedAgent]>>,
    posts: BTreeMap<AgentId, Post>,
}

/// One agent.
struct Post {
    duties: watch::Sender<Option<Arc<Duties>>>,
    node: Node,
    lines: Arc<AgentLines>,
    perform: ActorRef<Perform>,
    drain: ActorRef<Drain>,
    capabilities: Vec<Capability>,
    slots: u32,
}

impl Staff {
    /// Nobody yet. `place` is away from the master's thread: what an agent computes must not hold up those who hand out
    /// work. `url` is where others reach them.
    pub fn new(
        settings: &Settings,
        tree: &Tree,
        neighbours: Option<Neighbours>,
        directory: Directory,
        place: Place,
        url: Option<String>,
    ) -> Self {
        let group = tree.root().group("agents", ROOT_RESTARTS);
        let heartbeat_ttl_ms = ms(settings.heartbeat_ttl);
        let berth = Berth::new(settings, url);
        let neighbours = neighbours.filter(|_| settings.roles.worker);
        let hosted = watch::Sender::new(Arc::default());
        Self { group, neighbours, directory, place, heartbeat_ttl_ms, berth, hosted, posts: BTreeMap::new() }
    }

    /// What receives work for them from other processes; none where no agents are.
    pub fn port(&self, settings: &Settings) -> Option<Arc<WorkPort>> {
        let step_timeout = Duration::from_millis(settings.limits.timeout_ms);
        let port = || Arc::new(WorkPort { agents: self.hosted.subscribe(), step_timeout });
        self.neighbours.as_ref().map(|_| port())
    }

    /// Starts those who are new, and tells the others what they are to do from now on. Those who are in no team any more
    /// stay until [`retire`](Self::retire).
    pub fn employ(&mut self, team: &[TeamMember]) -> Changes {
        let mut changes = Changes::default();
        let Some(neighbours) = self.neighbours.clone() else { return changes };
        for member in self.berth.members(team) {
            let duties = Arc::new(duties(&member));
            match self.posts.get_mut(&member.id) {
                Some(post) => {
                    post.duties.send_replace(Some(duties));
                    post.capabilities.clone_from(&member.capabilities);
                    post.slots = member.slots;
                    changes.kept.push(member.id.clone());
                }
                None => {
                    self.start(&member, duties, &neighbours);
                    changes.added.push(member.id.clone());
                }
            }
        }
        self.show();
        changes
    }

    fn start(&mut self, member: &TeamMember, duties: Arc<Duties>, neighbours: &Neighbours) {
        let (told, duties) = watch::channel(Some(duties));
        let parts = AgentParts {
            id: member.id.clone(),
            duties,
            master: neighbours.results.clone(),
            gateway: neighbours.thoughts.clone(),
            register: neighbours.register.clone(),
            heartbeat: neighbours.heartbeat.clone(),
            heartbeat_ttl_ms: self.heartbeat_ttl_ms,
            url: self.berth.url(),
        };
        // Room for refusals: the slots are what bounds the work.
        let bounds = (member.slots.saturating_mul(4).max(256), member.slots.saturating_mul(4).max(256));
        let spec = Spec::new(member.id.as_str(), move || AgentActor::create(parts.clone()));
        let actor = supervise(&self.group, spec.bounds(bounds.0, bounds.1).place(self.place.clone()));
        let lines = Arc::new(AgentLines { work: actor.actor_ref(), drop_attempt: actor.actor_ref(), far: None });
        self.directory.enter(member.id.clone(), lines.clone());
        let post = Post {
            duties: told,
            node: actor.node().clone(),
            lines,
            perform: actor.actor_ref(),
            drain: actor.actor_ref(),
            capabilities: member.capabilities.clone(),
            slots: member.slots,
        };
        self.posts.insert(member.id.clone(), post);
    }

    /// Makes known who is here to whoever brings work over HTTP.
    fn show(&self) {
        let hosted = self.posts.iter().map(|(agent, post)| HostedAgent {
            agent: agent.clone(),
            capabilities: post.capabilities.clone(),
            work: post.lines.work.clone(),
            perform: post.perform.clone(),
            drop_attempt: post.lines.drop_attempt.clone(),
        });
        self.hosted.send_replace(hosted.collect());
    }

    /// Waits until the registry of this process knows all of them, as they are now.
    ///
    /// # Errors
    /// [`StartError::Agents`] when it does not come to that.
    pub async fn joined(&self, roster: &watch::Receiver<Arc<Roster>>) -> Result<(), StartError> {
        let is_known = |roster: &Roster, agent: &AgentId, post: &Post| {
            let same = |known: &[Capability]| known == post.capabilities;
            roster.get(agent).is_some_and(|entry| entry.slots == post.slots && same(&entry.capabilities))
        };
        let all = |roster: &Arc<Roster>| self.posts.iter().all(|(agent, post)| is_known(roster, agent, post));
        let mut roster = roster.clone();
        let waited = tokio::time::timeout(JOIN_TIMEOUT, roster.wait_for(all)).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        drop(waited);
        let roster = roster.borrow();
        let joined = self.posts.iter().filter(|(agent, post)| is_known(&roster, agent, post)).count();
        Err(StartError::Agents { joined, expected: self.posts.len() })
    }

    /// Lets go of those whom the team does not name: each finishes what it has, takes nothing new, and ends.
    pub fn retire(&mut self, team: &[TeamMember], tree: &Tree) -> Vec<AgentId> {
        let Some(neighbours) = self.neighbours.clone() else { return Vec::new() };
        let wanted: BTreeSet<_> = self.berth.members(team).into_iter().map(|member| member.id).collect();
        let gone: Vec<_> = self.posts.keys().filter(|agent| !wanted.contains(*agent)).cloned().collect();
        for agent in &gone {
            let Some(post) = self.posts.remove(agent) else { continue };
            let retiring = farewell(agent.clone(), post, neighbours.deregister.clone(), self.directory.clone());
            // Nobody waits for it: it ends with its agent, or with the tree.
            drop(spawn_task(&tree.root(), format!("retire {agent}"), retiring));
        }
        self.show();
        gone
    }

    // === The end ===

    /// Takes nothing new, signs off, lets what runs finish for `grace`, and hands the rest back.
    pub async fn ended(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let Some(neighbours) = &self.neighbours else { return };
        let posts = self.posts.iter();
        join_all(posts.map(|(agent, post)| sign_off(agent, &post.drain, &neighbours.deregister))).await;
        while self.drain(false).await > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        let last = Instant::now() + FAREWELL_TIMEOUT;
        while self.drain(true).await > 0 && Instant::now() < last {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    /// How many attempts are still with the agents.
    async fn drain(&self, hand_back: bool) -> usize {
        let ask = |post: &Post| post.drain.ask(Drain { hand_back }, CallContext::default(), FAREWELL_TIMEOUT);
        let left = join_all(self.posts.values().map(ask)).await;
        left.into_iter().map(|left| left.map_or(0, |draining| draining.left)).sum()
    }
}

/// An agent's last days: no new work, then, when nothing is left, its end.
async fn farewell(agent: AgentId, post: Post, deregister: ActorRef<Deregister>, directory: Directory) {
    post.duties.send_replace(None);
    let mut draining = sign_off(&agent, &post.drain, &deregister).await;
    // Bounded by its steps' time-outs: each ends, and a lost answer is asked for again.
    while draining.is_none_or(|draining| draining.left > 0) {
        tokio::time::sleep(DRAIN_POLL).await;
        draining = drained(&post.drain).await;
    }
    directory.leave(&agent, &post.lines);
    post.node.retired().await;
    tracing::info!(agent = %agent, "an agent retired");
}

/// Says that this life of an agent is over, and no other of its name. It takes nothing new from then on; how far it is.
async fn sign_off(agent: &AgentId, drain: &ActorRef<Drain>, deregister: &ActorRef<Deregister>) -> Option<Draining> {
    // First, or it would join again with its next heartbeat.
    let draining = drained(drain).await;
    let incarnation = draining.as_ref().map(|draining| draining.incarnation.clone());
    let message = Deregister { agent: agent.clone(), incarnation };
    if let Ok(Err(error)) = deregister.ask(message, CallContext::default(), FAREWELL_TIMEOUT).await {
        tracing::warn!(%agent, %error, "an agent could not be signed off");
    }
    draining
}

async fn drained(drain: &ActorRef<Drain>) -> Option<Draining> {
    drain.ask(Drain { hand_back: false }, CallContext::default(), FAREWELL_TIMEOUT).await.ok()
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
