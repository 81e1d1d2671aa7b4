//! HTTP, and the only room that names actix-web types: the public API of the master. It reads the store, writes by
//! messages, and answers everything that is not a success with one envelope.
//!
//! | file | what it holds |
//! |---|---|
//! | `server` | listening, stopping |
//! | `front` | what every request passes: panics, log, metrics |
//! | `auth` | API keys, and whose tasks a caller sees |
//! | `error` | the envelope, and which status each failure has |
//! | `request` | reading bodies, queries, paths, waits |
//! | `task/` | `POST /task`, `GET` and `DELETE /task/{id}`, its result, its events |
//! | `tasks`, `agents`, `team`, `supervision` | the lists |
//! | `health`, `metrics` | for operators and their tools |
//! | `openapi`, `docs` | this API described, for programs and for people |
//! | `refusals`, `fixed` | what several routes answer: refusals as described, texts that never change |
//! | `time` | moments in words |

mod agents;
mod auth;
mod docs;
mod error;
mod fixed;
mod front;
mod health;
mod metrics;
mod openapi;
mod refusals;
mod request;
mod server;
mod supervision;
mod task;
mod tasks;
mod team;
mod time;

pub use auth::{ApiKeys, InvalidKeys};
pub use error::ApiError;
pub use health::Readiness;
pub use metrics::Metrics;
pub use server::{Server, ServerOptions, StopHandle};
pub use team::{Reload, TeamAgent, TeamStage, TeamView};

use crate::actors::{ActorRef, Tree};
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

/// What the public API works with.
pub struct Api {
    store: Arc<dyn Store>,
    submit: ActorRef<Submit>,
    cancel: ActorRef<Cancel>,
    tree: Tree,
    options: ApiOptions,
    readiness: Readiness,
    metrics: Metrics,
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
    /// Who may call; all, as tenant `default`, when none.
    pub keys: Option<ApiKeys>,
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
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How deep a body's JSON may be nested, at most 120.
    pub max_json_depth: usize,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            keys: None,
            task_wait: Duration::ZERO,
            max_wait: Duration::from_secs(300),
            answer_within: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            max_watchers: 10_000,
            max_body_bytes: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            max_json_depth: 100,
        }
    }
}

impl Api {
    /// An API over a store to read from and a master to write through.
    pub fn new(
        store: Arc<dyn Store>,
        submit: ActorRef<Submit>,
        cancel: ActorRef<Cancel>,
        tree: Tree,
        options: ApiOptions,
    ) -> Self {
        let watchers = Arc::new(Semaphore::new(options.max_watchers.min(Semaphore::MAX_PERMITS)));
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        // Its sender is gone: the team that is shown until there is one never changes.
        let (_, team) = watch::channel(Arc::default());
        let (document, page) = (OnceLock::new(), OnceLock::new());
        Self { store, submit, cancel, tree, options, readiness, metrics, team, watchers, document, page }
    }

    /// The same with a readiness that others hold too.
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        Self { readiness, ..self }
    }

    /// The same with metrics that hold the numbers of others too.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same with a team to show. A capability that one of its stages must have and no live agent has makes readiness
    /// `degraded`.
    #[must_use]
    pub fn with_team(self, team: watch::Receiver<Arc<TeamView>>) -> Self {
        Self { team, ..self }
    }

    /// What tells this API that the process is on its way out.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

/// The whole app, as the server and tests use it.
pub fn create_app(
    api: Arc<Api>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
> {
    App::new().configure(|config| configure(config, api)).wrap(from_fn(front::front))
}

/// The routes of the public API.
pub fn configure(config: &mut web::ServiceConfig, api: Arc<Api>) {
    config.app_data(web::Data::from(api));
    for routes in [
        task::configure,
        tasks::configure,
        agents::configure,
        team::configure,
        supervision::configure,
        health::configure,
        metrics::configure,
        openapi::configure,
        docs::configure,
    ] {
        config.configure(routes);
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
