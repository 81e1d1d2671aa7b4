//! One typed `Settings`: defaults, then a file, then the environment, then flags, each over the one before. Everything
//! is parsed and checked here, before anything starts; the rest of the program trusts it.

mod names;
mod problem;
mod roles;
mod sources;
mod store_url;
mod values;

pub use names::{SETTINGS, Setting, nearest};
pub use problem::{Problem, SettingsError, Source};
pub use roles::{Colleagues, Crew, MasterMode, Roles, UnknownRole};
pub use sources::Overrides;
pub use store_url::{InvalidStoreUrl, RedisUrl, StoreUrl};
pub use values::{Shown, Survey, load, survey};

pub(crate) use values::duration;

use crate::http::ApiKeys;
use crate::llm::ModelSettings;
use crate::store::{Durability, RedisOptions, Retention};
use crate::task::Limits;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

impl Settings {
    /// The defaults with these choices, by setting name, for a program that runs Callboard inside itself: neither a
    /// file nor the environment is read.
    ///
    /// ```
    /// let settings = callboard::settings::Settings::with(&[("store", "memory:"), ("slots", "8")]).unwrap();
    /// assert_eq!(settings.slots, 8);
    /// ```
    ///
    /// # Errors
    /// [`SettingsError`], as for a setting on the command line.
    pub fn with(choices: &[(&'static str, &str)]) -> Result<Self, SettingsError> {
        let overrides = choices.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        load(None, &HashMap::new(), &overrides)
    }
}

/// What the HTTP listener bears from its clients.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at once, over all threads; more wait to be taken.
    pub max_connections: NonZeroUsize,
    /// Clients at once that wait for a task or stream its events.
    pub max_watchers: usize,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How deep JSON may be nested.
    pub max_json_depth: usize,
    /// How long a request's head may take to arrive.
    pub head_timeout: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
}

/// Everything that can be chosen, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What runs in this process.
    pub roles: Roles,
    /// Where the other roles are.
    pub colleagues: Colleagues,
    /// Which agents a worker hosts.
    pub crew: Crew,
    /// How the master answers to a task.
    pub master_mode: MasterMode,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where tasks are kept.
    pub store: StoreUrl,
    /// The Redis server that is named; the store when that says so.
    pub redis: Option<RedisOptions>,
    /// How long a start waits for a Redis server that is not there yet.
    pub redis_start_wait: Duration,
    /// What a commit waits for.
    pub durability: Durability,
    /// The folder of documents to search; the project's own documentation when none.
    pub docs: Option<PathBuf>,
    /// The team's file; the default team when none.
    pub team: Option<PathBuf>,
    /// Who answers the model calls.
    pub models: ModelSettings,
    /// How long `POST /task` waits for the answer when the client does not say.
    pub task_wait: Duration,
    /// Who may call, and as which tenant; none: everybody who reaches the listener.
    pub api_keys: Option<ApiKeys>,
    /// Steps each agent runs at once.
    pub slots: u32,
    /// What each step may cost.
    pub limits: Limits,
    /// How long a heartbeat counts.
    pub heartbeat_ttl: Duration,
    /// How long an attempt may show no progress outside a confirmed model call.
    pub stall_timeout: Duration,
    /// The most tasks open at once.
    pub max_open_tasks: u64,
    /// The most task states kept in memory.
    pub cached_tasks: NonZeroUsize,
    /// How long finished tasks are kept.
    pub retention: Retention,
    /// How long running steps may finish after SIGTERM.
    pub drain_grace: Duration,
    /// After how long a frozen actor ends the process; never when none.
    pub frozen_exit: Option<Duration>,
    /// Threads that serve HTTP.
    pub http_workers: NonZeroUsize,
    /// What the HTTP listener bears.
    pub http: HttpLimits,
    /// Which log lines are written, as a `tracing` filter.
    pub log: String,
}
