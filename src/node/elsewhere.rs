//! The roles that are in other processes, as seen from this one: each edge joined to a proxy, so that nobody here can tell
//! them from actors of its own.

use super::sign::{Sign, SignedEdge};
use super::{ROOT_RESTARTS, StartError};
use crate::actors::{ActorRef, AgentLines, Connect, FarLines, Node, Place, Proxy, Spec, Tree, supervise};
use crate::http::{
    ColleagueUrl, GenerateEdge, HttpClient, InvalidUrl, Keys, Networks, RegisterEdge, ResultEdge, WorkEdge,
};
use crate::messages::{CallStatus, Declaration, Deregister, Generate, Heartbeat, Register, StepResult};
use crate::settings::Colleagues;
use std::sync::Arc;
use std::time::Duration;

/// Messages on their way to another process at once, per lane.
const BOUNDS: (u32, u32) = (16_384, 16_384);
/// Messages on their way to one agent at once, per lane.
const AGENT_BOUNDS: (u32, u32) = (4_096, 4_096);

/// The other processes.
pub(super) struct Elsewhere {
    group: Node,
    client: HttpClient,
    place: Place,
}

/// A master elsewhere.
pub(super) struct FarMaster {
    pub results: ActorRef<StepResult>,
    pub register: ActorRef<Register>,
    pub deregister: ActorRef<Deregister>,
    pub heartbeat: ActorRef<Heartbeat>,
}

/// A gateway elsewhere.
pub(super) struct FarGateway {
    pub generate: ActorRef<Generate>,
    pub status: ActorRef<CallStatus>,
}

impl Elsewhere {
    /// A way out that shows the settings' token. What stands for the others lives at `place`.
    pub fn new(tree: &Tree, colleagues: &Colleagues, place: Place) -> Result<Self, StartError> {
        let client = HttpClient::new(colleagues.token.clone(), None).map_err(StartError::Client)?;
        Ok(Self { group: tree.root().group("elsewhere", ROOT_RESTARTS), client, place })
    }

    /// The master at a URL, and signs of life for one that hears no heartbeats.
    pub fn master(
        &self,
        url: &ColleagueUrl,
        callback: Option<&ColleagueUrl>,
        sign: Option<Sign>,
    ) -> Result<FarMaster, InvalidUrl> {
        let results = match callback {
            Some(callback) => ResultEdge::of_callback(self.client.clone(), callback.as_str())?,
            None => ResultEdge::of_master(self.client.clone(), url.as_str())?,
        };
        let results = self.proxy("master", results);
        let registry = RegisterEdge::new(self.client.clone(), url.as_str())?;
        let registry = self.proxy("registry", SignedEdge::new(registry, sign));
        Ok(FarMaster {
            results: results.actor_ref(),
            register: registry.actor_ref(),
            deregister: registry.actor_ref(),
            heartbeat: registry.actor_ref(),
        })
    }

    /// The gateway at a URL.
    pub fn gateway(&self, url: &ColleagueUrl, silence: Duration) -> Result<FarGateway, InvalidUrl> {
        let edge = GenerateEdge::new(self.client.clone(), url.as_str(), silence)?;
        let gateway = self.proxy("gateway", edge);
        Ok(FarGateway { generate: gateway.actor_ref(), status: gateway.actor_ref() })
    }

    fn proxy<E: Send + Sync + 'static>(&self, name: &str, edge: E) -> crate::actors::Address<Proxy<E>> {
        let edge = Arc::new(edge);
        let spec = Spec::new(name, move || Proxy::create(edge.clone()));
        supervise(&self.group, spec.bounds(BOUNDS.0, BOUNDS.1).place(self.place.clone()))
    }
}

/// Makes lines to agents in other processes.
pub(super) struct FarAgents {
    group: Node,
    client: HttpClient,
    networks: Networks,
    keys: Keys,
}

impl FarAgents {
    /// A way out that goes where workers may be and nowhere else.
    pub fn new(tree: &Tree, colleagues: &Colleagues, keys: Keys) -> Result<Self, StartError> {
        let networks = colleagues.networks.clone();
        let client = HttpClient::new(colleagues.token.clone(), Some(networks.clone())).map_err(StartError::Client)?;
        Ok(Self { group: tree.root().group("far agents", ROOT_RESTARTS), client, networks, keys })
    }

    fn edge(&self, declaration: &Declaration, url: &str) -> Result<WorkEdge, InvalidUrl> {
        let agent = (declaration.agent.clone(), declaration.reads_stages);
        WorkEdge::new(self.client.clone(), url, agent, &self.networks, self.keys.clone())
    }
}

impl Connect for FarAgents {
    fn connect(&self, declaration: &Declaration, url: &str) -> Option<(Arc<AgentLines>, Node)> {
        let agent = &declaration.agent;
        let edge = match self.edge(declaration, url) {
            Ok(edge) => Arc::new(edge),
            Err(error) => {
                tracing::warn!(agent = %agent, %error, "an agent is recorded at a place that cannot be reached");
                return None;
            }
        };
        let spec = Spec::new(agent.as_str(), move || Proxy::create(edge.clone()));
        let proxy = supervise(&self.group, spec.bounds(AGENT_BOUNDS.0, AGENT_BOUNDS.1));
        let far = FarLines { probe: proxy.actor_ref(), watch: proxy.actor_ref(), knock: proxy.actor_ref() };
        let lines = AgentLines { work: proxy.actor_ref(), drop_attempt: proxy.actor_ref(), far: Some(far) };
        Some((Arc::new(lines), proxy.node().clone()))
    }
}
