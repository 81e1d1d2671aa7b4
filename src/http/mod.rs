//! HTTP, and the only room that names actix-web types: the public API of the master, and the edges by which Callboard's
//! processes talk. It reads the store, writes by messages, and answers everything that is not a success with one envelope.
//!
//! | file | what it holds |
//! |---|---|
//! | `server` | listening, stopping |
//! | `site` | what every listener has, whatever roles run behind it |
//! | `front` | what every request passes: panics, log, metrics |
//! | `auth` | API keys, and whose tasks a caller sees |
//! | `error` | the envelope, and which status each failure has |
//! | `request` | reading bodies, queries, paths, waits |
//! | `edge/` | what crosses between processes, one file per edge |
//! | `task/` | `POST /task`, `GET` and `DELETE /task/{id}`, its result, its events |
//! | `tasks`, `agents`, `team`, `supervision` | the lists |
//! | `health`, `metrics` | for operators and their tools |
//! | `openai/` | the models for clients that speak OpenAI's language |
//! | `openapi`, `docs` | this API described, for programs and for people |
//! | `refusals`, `fixed` | what several routes answer: refusals as described, texts that never change |
//! | `time` | moments in words |

mod agents;
mod auth;
mod docs;
mod edge;
mod error;
mod fixed;
mod front;
mod health;
mod metrics;
mod openai;
mod openapi;
mod refusals;
mod request;
mod server;
mod site;
mod supervision;
mod task;
mod tasks;
mod team;
mod time;

pub use auth::{ApiKeys, InternalToken, InvalidKeys, TokenRule};
pub use edge::{
    ColleagueUrl, DispatchPort, GatewayPort, GenerateEdge, HostedAgent, HttpClient, InvalidNetworks, InvalidUrl, Keys,
    Networks, NotAllowed, RegisterEdge, RegisterPort, ResultEdge, ResultPort, WorkEdge, WorkPort,
};
pub use error::ApiError;
pub use health::Readiness;
pub use metrics::Metrics;
pub use openai::ChatPort;
pub use server::{Bound, Server, ServerOptions, StopHandle};
pub use site::{Site, SiteOptions};
pub use team::{Reload, TeamAgent, TeamStage, TeamView};

use crate::actors::ActorRef;
use crate::messages::{Cancel, Submit};
use crate::store::Store;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, Resource, web};
use fixed::Fixed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What a listener serves: its site, and the routes of each role that runs behind it.
#[derive(Clone)]
pub struct Services {
    /// What every listener has.
    pub site: Arc<Site>,
    /// The master's public API.
    pub api: Option<Arc<Api>>,
    /// The edge of those who join a master.
    pub register: Option<Arc<RegisterPort>>,
    /// The edge of results to a master.
    pub result: Option<Arc<ResultPort>>,
    /// The edge of single steps to a master.
    pub dispatch: Option<Arc<DispatchPort>>,
    /// The edge to agents.
    pub worker: Option<Arc<WorkPort>>,
    /// The edge to a gateway.
    pub gateway: Option<Arc<GatewayPort>>,
    /// The models for clients that speak OpenAI's language.
    pub chat: Option<Arc<ChatPort>>,
}

impl Services {
    /// A site without any role's routes.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site, api: None, register: None, result: None, dispatch: None, worker: None, gateway: None, chat: None }
    }
}

/// What the public API works with.
pub struct Api {
    site: Arc<Site>,
    store: Arc<dyn Store>,
    submit: ActorRef<Submit>,
    cancel: ActorRef<Cancel>,
    options: ApiOptions,
    team: watch::Receiver<Arc<TeamView>>,
    /// One permit for each client that waits for a task or streams its events.
    watchers: Arc<Semaphore>,
    /// This API described for programs, and for people: each made when it is first asked for, or why it cannot be.
    document: OnceLock<Result<Fixed, Arc<str>>>,
    page: OnceLock<Result<Fixed, Arc<str>>>,
}

/// The choices of an operator.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// How long `POST /task` waits for the task when the client does not say.
    pub task_wait: Duration,
    /// The longest wait that a client may ask for.
    pub max_wait: Duration,
    /// How long the master may take to answer.
    pub answer_within: Duration,
    /// How long an event stream stays silent before it gives a sign of life.
    pub heartbeat: Duration,
    /// How many clients may wait for tasks and stream events at once.
    pub max_watchers: usize,
    /// `POST /task` says which steps there are, and runs none.
    pub is_routing: bool,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            task_wait: Duration::ZERO,
            max_wait: Duration::from_secs(300),
            answer_within: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            max_watchers: 10_000,
            is_routing: false,
        }
    }
}

impl Api {
    /// An API over a store to read from and a master to write through.
    pub fn new(
        site: Arc<Site>,
        store: Arc<dyn Store>,
        submit: ActorRef<Submit>,
        cancel: ActorRef<Cancel>,
        options: ApiOptions,
    ) -> Self {
        let watchers = Arc::new(Semaphore::new(options.max_watchers.min(Semaphore::MAX_PERMITS)));
        // Its sender is gone: the team that is shown until there is one never changes.
        let (_, team) = watch::channel(Arc::default());
        let (document, page) = (OnceLock::new(), OnceLock::new());
        Self { site, store, submit, cancel, options, team, watchers, document, page }
    }

    /// The same with a team to show. A capability that one of its stages must have and no live agent has makes readiness
    /// `degraded`.
    #[must_use]
    pub fn with_team(self, team: watch::Receiver<Arc<TeamView>>) -> Self {
        Self { team, ..self }
    }
}

/// The whole app, as the server and tests use it.
pub fn create_app(
    services: Services,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
> {
    App::new().configure(|config| configure(config, &services)).wrap(from_fn(front::front))
}

/// The routes of what runs here.
fn configure(config: &mut web::ServiceConfig, services: &Services) {
    config.app_data(web::Data::from(services.site.clone()));
    for routes in [health::configure, metrics::configure, supervision::configure] {
        config.configure(routes);
    }
    if let Some(api) = &services.api {
        config.app_data(web::Data::from(api.clone()));
        for routes in
            [task::configure, tasks::configure, agents::configure, team::configure, openapi::configure, docs::configure]
        {
            config.configure(routes);
        }
    }
    if let Some(port) = &services.register {
        config.app_data(web::Data::from(port.clone())).configure(edge::configure_register);
    }
    if let Some(port) = &services.result {
        config.app_data(web::Data::from(port.clone())).configure(edge::configure_result);
    }
    if let Some(port) = &services.dispatch {
        config.app_data(web::Data::from(port.clone())).configure(edge::configure_dispatch);
    }
    if let Some(port) = &services.worker {
        config.app_data(web::Data::from(port.clone())).configure(edge::configure_work).configure(edge::configure_watch);
    }
    if let Some(port) = &services.gateway {
        config.app_data(web::Data::from(port.clone())).configure(edge::configure_generate);
    }
    if let Some(port) = &services.chat {
        config.app_data(web::Data::from(port.clone())).configure(openai::configure);
    }
    config.default_service(web::to(no_such_path));
}

/// The path that a request was routed by, for log and metrics. Asking actix for it would match the path once more.
#[derive(Clone, Copy)]
struct Route(&'static str);

/// A path that has these methods and answers any other with the envelope.
fn resource(path: &'static str, allow: &'static str) -> Resource {
    web::resource(path)
        .app_data(Route(path))
        .default_service(web::to(move || async move { Err::<String, _>(ApiError::method_not_allowed(allow)) }))
}

async fn no_such_path() -> Result<String, ApiError> {
    Err(ApiError::not_found("there is no such path: see the list of routes in the documentation"))
}
