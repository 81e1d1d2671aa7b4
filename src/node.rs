//! One process of Callboard with a master: opens the store, starts the actors in an order in which nobody misses anybody,
//! and ends them so that nothing accepted is lost. Roles that are not here are reached over edges; a process without a
//! master is an [`Outpost`].

mod ask;
mod elsewhere;
mod listener;
mod opening;
mod outpost;
mod reload;
mod retention;
mod sign;
mod staff;

pub use ask::{Answer, AskError};
pub use opening::open_store;
pub use outpost::Outpost;
pub use reload::{Changes, view};

use crate::actors::{
    ActorRef, ActorThread, Address, ChildDown, Directory, Dispatcher, DispatcherParts, Gateway, GatewayParts, Master,
    MasterOptions, MasterParts, Place, Registry, RegistryParts, Restarts, Root, Roster, Spec, Tree, Watchdog,
    WatchdogOptions, supervise,
};
use crate::http::{
    Api, ApiOptions, Bound, ChatPort, DispatchPort, GatewayPort, InvalidUrl, Keys, Readiness, RegisterPort, ResultPort,
    Services, TeamView, WorkPort,
};
use crate::llm::{Models, Provider};
use crate::messages::{Cancel, Submit};
use crate::settings::{MasterMode, Settings};
use crate::store::{Store, StoreError};
use crate::task::Pipeline;
use crate::team::{Team, TeamError};
use crate::telemetry::Counters;
use elsewhere::{Elsewhere, FarAgents};
use listener::Listening;
use staff::{Neighbours, Staff};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The team cannot be put together.
    #[error(transparent)]
    Team(#[from] TeamError),
    /// HTTP cannot be served.
    #[error(
        "cannot listen on {address} ({error}): choose another address with --listen, such as 127.0.0.1:0, or end what has it"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The system's TLS cannot be had.
    #[error("calls to other processes cannot be made: {0}")]
    Client(reqwest::Error),
    /// The model providers cannot be called.
    #[error("{0}")]
    Models(String),
    /// A colleague's URL is none.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The agents' thread cannot be started.
    #[error("the agents' thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The watchdog's thread cannot be started.
    #[error("the watchdog cannot be started: {0}")]
    Watchdog(std::io::Error),
    /// Agents did not join.
    #[error("only {joined} of {expected} agents joined within {} s", JOIN_TIMEOUT.as_secs())]
    Agents {
        /// How many did.
        joined: usize,
        /// How many should have.
        expected: usize,
    },
}

/// Whether a process serves HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// At the settings' address.
    Http,
    /// It does not: whoever started it holds its references.
    Nothing,
}

/// How long the agents may take to join at the start.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one control message may take at the end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long actors and store may take to end: a disk that hangs must not keep a process that is to go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether the steps have ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// Messages in flight to a master, per lane: well above what its agents' slots and its web server's connections make.
const MASTER_BOUNDS: (u32, u32) = (16_384, 16_384);
/// Model calls in flight.
const GATEWAY_BOUNDS: (u32, u32) = (65_536, 1_024);
/// How often the team's actors may be restarted in a minute before the process gives up.
const ROOT_RESTARTS: Restarts = Restarts { max: 3, within: Duration::from_secs(60) };

/// What a process uses instead of what its settings name; by default it uses that.
#[derive(Clone, Default)]
pub struct Replacements {
    /// Where tasks are kept. It is closed when the process stops.
    pub store: Option<Arc<dyn Store>>,
    /// Who answers the model calls.
    pub provider: Option<Arc<dyn Provider>>,
    /// Agents and gateway live on the caller's thread instead of one of their own, so that one clock counts for all.
    pub on_one_thread: bool,
}

/// A running process.
pub struct Callboard {
    store: Arc<dyn Store>,
    submit: ActorRef<Submit>,
    cancel: ActorRef<Cancel>,
    tree: Tree,
    root: Root,
    thread: Option<ActorThread>,
    team: Team,
    staff: Staff,
    roster: watch::Receiver<Arc<Roster>>,
    pipeline: watch::Sender<Arc<Pipeline>>,
    shown: watch::Sender<Arc<TeamView>>,
    counters: Arc<Counters>,
    draining: Arc<AtomicBool>,
    readiness: Readiness,
    server: Option<Listening>,
    _watchdog: Watchdog,
}

impl Callboard {
    /// Starts everything, and returns when work can be taken.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is stopped again.
    pub async fn start(settings: &Settings, team: Team, serve: Serve) -> Result<Self, StartError> {
        Self::start_with(settings, team, serve, Replacements::default()).await
    }

    /// Starts everything with parts of the caller's own.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is stopped again.
    pub async fn start_with(
        settings: &Settings,
        team: Team,
        serve: Serve,
        own: Replacements,
    ) -> Result<Self, StartError> {
        let store = match own.store {
            Some(store) => store,
            None => opening::open_patiently(settings).await?,
        };
        let models = settings.roles.gateway.then(|| settings.models.models(own.provider.as_ref())).transpose();
        let models = models.map_err(StartError::Models)?;
        let (tree, root) = Tree::new(ROOT_RESTARTS);
        let thread = (!own.on_one_thread).then(ActorThread::start).transpose().map_err(StartError::Thread)?;
        let parts = (store.clone(), models);
        let started = Self::assemble(settings, team, serve, parts, (tree.clone(), root), thread).await;
        if started.is_err() {
            tree.root().stopped().await;
            // The first error is the one that matters.
            let _ = store.close().await;
        }
        started
    }

    async fn assemble(
        settings: &Settings,
        team: Team,
        serve: Serve,
        (store, models): (Arc<dyn Store>, Option<Models>),
        (tree, root): (Tree, Root),
        thread: Option<ActorThread>,
    ) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::default());
        let draining = Arc::new(AtomicBool::new(false));
        let directory = Directory::default();
        let (told, roster) = watch::channel(Arc::new(Roster::new()));
        let links = Links::default();
        let (pipeline, plans) = watch::channel(Arc::new(team.pipeline.clone()));
        let (shown, view) = watch::channel(Arc::new(view(&team, store.now())));
        for warning in &team.warnings {
            tracing::warn!("{warning}");
        }
        let bound = (serve == Serve::Http).then(|| listener::bind(settings)).transpose()?;

        let place = thread.as_ref().map_or(Place::Here, ActorThread::place);
        let elsewhere = Elsewhere::new(&tree, &settings.colleagues, place.clone())?;
        let names = models.as_ref().map(Models::names).unwrap_or_default();
        let gateway = models.map(|models| start_gateway(Arc::new(models), &tree, place.clone()));
        let far_gateway = match (&gateway, &settings.colleagues.gateway) {
            (None, Some(url)) => Some(elsewhere.gateway(url, settings.colleagues.gateway_timeout)?),
            _ => None,
        };
        let keys = Keys::new(store.clone());
        let connect = Arc::new(FarAgents::new(&tree, &settings.colleagues, keys.clone())?);
        let parts = RegistryParts {
            store: store.clone(),
            roster: Arc::new(told),
            directory: directory.clone(),
            connect,
            master: links.advance.clone(),
            dispatcher: links.due_now.clone(),
            gateway: links.call_status.clone(),
            heartbeat_ttl_ms: ms(settings.heartbeat_ttl),
            stall_timeout_ms: ms(settings.stall_timeout),
        };
        let registry = start_registry(parts, &tree);
        let parts = MasterParts {
            store: store.clone(),
            pipeline: plans,
            directory: directory.clone(),
            roster: roster.clone(),
            registry: links.unreachable.clone(),
            dispatcher: links.dispatcher.clone(),
            draining: draining.clone(),
            counters: counters.clone(),
            options: master_options(settings),
        };
        let spec = Spec::new("master", move || Master::create(parts.clone())).bounds(MASTER_BOUNDS.0, MASTER_BOUNDS.1);
        let master = supervise(&tree.root(), spec);
        // Set once each, here: nobody else holds the cells yet.
        let _ = links.advance.set(master.actor_ref());
        let _ = links.unreachable.set(registry.actor_ref());
        let (generate, status) = match (&gateway, &far_gateway) {
            (Some(here), _) => (Some(here.actor_ref()), Some(here.actor_ref())),
            (None, Some(far)) => (Some(far.generate.clone()), Some(far.status.clone())),
            (None, None) => {
                tracing::warn!(
                    "this master knows no gateway, so it can ask after no model call: one that hangs lasts until its \
                     step's time-out. Set gateway_url (LLM_GATEWAY_URL) to the workers' gateway"
                );
                (None, None)
            }
        };
        if let Some(status) = status {
            let _ = links.call_status.set(status);
        }
        let neighbours = generate.map(|generate| Neighbours::near(&master, &registry, generate));
        let url = listener::public_url(settings, bound.as_ref());
        let mut staff = Staff::new(settings, &tree, neighbours, directory, place, url);
        staff.employ(&team.members);
        // Whatever an earlier process left behind is looked at only when there is somebody to take it.
        staff.joined(&roster).await?;
        let dispatcher = start_dispatcher(&tree, &store, &master, ms(settings.heartbeat_ttl));
        let _ = links.dispatcher.set(dispatcher.actor_ref());
        let _ = links.due_now.set(dispatcher.actor_ref());

        let site = Arc::new(listener::site(settings, &tree, &counters));
        let readiness = site.readiness().clone();
        let served = |bound: Bound| {
            let api =
                Api::new(site.clone(), store.clone(), master.actor_ref(), master.actor_ref(), api_options(settings));
            let services = Services {
                api: Some(Arc::new(api.with_team(view))),
                register: Some(register_port(settings, &registry, keys.clone())),
                result: Some(Arc::new(ResultPort { master: master.actor_ref(), keys, store: store.clone() })),
                dispatch: Some(Arc::new(DispatchPort { master: master.actor_ref(), store: store.clone() })),
                worker: staff.port(settings),
                gateway: gateway.as_ref().map(gateway_port),
                chat: gateway.as_ref().map(|gateway| chat_port(gateway, names)),
                site,
            };
            listener::serve(settings, &tree, bound, services)
        };
        let server = bound.map(served).transpose()?;
        retention::begin(settings.retention, &tree, &store, &counters);
        let watchdog = watch_turns(settings, &tree).map_err(StartError::Watchdog)?;
        Ok(Self {
            store,
            submit: master.actor_ref(),
            cancel: master.actor_ref(),
            tree,
            root,
            thread,
            team,
            staff,
            roster,
            pipeline,
            shown,
            counters,
            draining,
            readiness,
            server,
            _watchdog: watchdog,
        })
    }

    /// Where HTTP is served, when it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(|server| server.address)
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where tasks are handed in.
    pub fn submit(&self) -> &ActorRef<Submit> {
        &self.submit
    }

    /// Where tasks are cancelled.
    pub fn cancel(&self) -> &ActorRef<Cancel> {
        &self.cancel
    }

    /// Who runs here.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits for a failure that no supervisor could take; for ever when there is none. The process should then stop and
    /// exit non-zero.
    pub async fn failed(&mut self) -> ChildDown {
        self.root.failed().await
    }

    /// Ends the process's work: takes nothing new, lets what runs finish for `grace`, hands the rest back, and closes
    /// the store. Readers are served until the end.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be closed in order.
    pub async fn stop(mut self, grace: Duration) -> Result<(), StoreError> {
        self.draining.store(true, Ordering::Relaxed);
        self.readiness.drain();
        self.staff.ended(grace).await;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let ending = async {
            self.tree.root().stopped().await;
            if let Some(thread) = self.thread {
                thread.join();
            }
            self.store.close().await
        };
        let late = || StoreError::Unavailable("it did not close in time; what was committed is there".into());
        tokio::time::timeout(CLOSE_TIMEOUT, ending).await.unwrap_or_else(|_| Err(late()))
    }
}

/// References that close circles: set once each, when both ends are there.
#[derive(Default)]
struct Links {
    dispatcher: Arc<OnceLock<ActorRef<crate::messages::SlotsFree>>>,
    due_now: Arc<OnceLock<ActorRef<crate::messages::DueNow>>>,
    advance: Arc<OnceLock<ActorRef<crate::messages::Advance>>>,
    call_status: Arc<OnceLock<ActorRef<crate::messages::CallStatus>>>,
    unreachable: Arc<OnceLock<ActorRef<crate::messages::Unreachable>>>,
}

// === Starting ===

fn start_gateway(models: Arc<Models>, tree: &Tree, place: Place) -> Address<Gateway> {
    let parts = GatewayParts { models };
    let spec = Spec::new("gateway", move || Gateway::create(parts.clone()));
    supervise(&tree.root(), spec.bounds(GATEWAY_BOUNDS.0, GATEWAY_BOUNDS.1).place(place))
}

fn start_registry(parts: RegistryParts, tree: &Tree) -> Address<Registry> {
    supervise(&tree.root(), Spec::new("registry", move || Registry::create(parts.clone())).bounds(1024, 4096))
}

fn start_dispatcher(
    tree: &Tree,
    store: &Arc<dyn Store>,
    master: &Address<Master>,
    heartbeat_ttl_ms: u64,
) -> Address<Dispatcher> {
    let parts = DispatcherParts {
        store: store.clone(),
        master: master.actor_ref(),
        estimate: master.actor_ref(),
        heartbeat_ttl_ms,
    };
    supervise(&tree.root(), Spec::new("dispatcher", move || Dispatcher::create(parts.clone())).bounds(64, 4096))
}

fn master_options(settings: &Settings) -> MasterOptions {
    MasterOptions {
        heartbeat_ttl_ms: ms(settings.heartbeat_ttl),
        max_open_tasks: settings.max_open_tasks,
        cached_tasks: settings.cached_tasks,
    }
}

fn api_options(settings: &Settings) -> ApiOptions {
    ApiOptions {
        task_wait: settings.task_wait,
        max_watchers: settings.http.max_watchers,
        is_routing: settings.master_mode == MasterMode::Routing,
        ..ApiOptions::default()
    }
}

/// What hears of agents elsewhere.
fn register_port(settings: &Settings, registry: &Address<Registry>, keys: Keys) -> Arc<RegisterPort> {
    Arc::new(RegisterPort {
        register: registry.actor_ref(),
        deregister: registry.actor_ref(),
        heartbeat: registry.actor_ref(),
        foreign_beat: registry.actor_ref(),
        networks: settings.colleagues.networks.clone(),
        keys,
    })
}

/// What takes model calls from elsewhere.
fn gateway_port(gateway: &Address<Gateway>) -> Arc<GatewayPort> {
    Arc::new(GatewayPort { generate: gateway.actor_ref(), status: gateway.actor_ref(), drop_call: gateway.actor_ref() })
}

fn chat_port(gateway: &Address<Gateway>, providers: Vec<Arc<str>>) -> Arc<ChatPort> {
    Arc::new(ChatPort {
        chat: gateway.actor_ref(),
        stream: gateway.actor_ref(),
        embed: gateway.actor_ref(),
        states: gateway.actor_ref(),
        providers,
    })
}

fn watch_turns(settings: &Settings, tree: &Tree) -> std::io::Result<Watchdog> {
    let options = WatchdogOptions { frozen_exit: settings.frozen_exit, ..WatchdogOptions::default() };
    Watchdog::start(tree, options, |frozen| {
        let reason = format!("callboard: {frozen}; ending the process so that another can take over");
        tracing::error!(actor.path = %frozen.path, "{reason}");
        // The log's thread may not come to write it any more, and nobody is left to tell that this cannot be written.
        let _ = writeln!(std::io::stderr(), "{reason}");
        #[expect(
            clippy::disallowed_methods,
            reason = "a frozen thread cannot be drained; its leases bring its work back"
        )]
        std::process::exit(70);
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
