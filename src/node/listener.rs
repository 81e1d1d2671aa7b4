//! The process's listener: its address is taken first, so that the agents can say where they are reached, and it is served
//! once there is something to serve.

use super::{FAREWELL_TIMEOUT, StartError};
use crate::actors::{TaskHandle, Tree, spawn_task};
use crate::http::{Bound, Metrics, Server, ServerOptions, Services, Site, SiteOptions, StopHandle, TokenRule};
use crate::settings::{Roles, Settings};
use crate::telemetry::Counters;
use std::net::SocketAddr;

/// A web server at work.
pub(super) struct Listening {
    pub address: SocketAddr,
    stop: StopHandle,
    served: TaskHandle<std::io::Result<()>>,
}

/// Takes the settings' address.
pub(super) fn bind(settings: &Settings) -> Result<Bound, StartError> {
    let options = server_options(settings);
    Bound::take(&options).map_err(|error| StartError::Listen { address: settings.listen, error })
}

/// Serves at an address that was taken.
pub(super) fn serve(
    settings: &Settings,
    tree: &Tree,
    bound: Bound,
    services: Services,
) -> Result<Listening, StartError> {
    let server = Server::serving(bound, services, &server_options(settings))
        .map_err(|error| StartError::Listen { address: settings.listen, error })?;
    let (address, stop) = (server.addr(), server.stop_handle());
    Ok(Listening { address, stop, served: spawn_task(&tree.root(), "http", server.serve()) })
}

impl Listening {
    /// Lets what is under way finish, for a moment.
    pub async fn stop(self) {
        self.stop.stop(FAREWELL_TIMEOUT);
        // Longer than the server gives its connections; what is left then ends with the tree.
        let _ = tokio::time::timeout(2 * FAREWELL_TIMEOUT, self.served).await;
    }
}

/// What the listener has, whatever is served.
pub(super) fn site(settings: &Settings, tree: &Tree, counters: &Counters) -> Site {
    let mut metrics = prometheus_client::registry::Registry::with_prefix("callboard");
    counters.register(&mut metrics);
    let options = SiteOptions {
        keys: settings.api_keys.clone(),
        internal: token_rule(settings),
        max_body_bytes: settings.http.max_body_bytes,
        body_timeout: settings.http.body_timeout,
        max_json_depth: settings.http.max_json_depth,
    };
    Site::new(tree.clone(), options).with_metrics(Metrics::new(metrics))
}

/// What a colleague must show. A whole Callboard that is open to other machines, and was given no token, has none.
fn token_rule(settings: &Settings) -> TokenRule {
    match &settings.colleagues.token {
        Some(token) => TokenRule::Required(token.clone()),
        None if settings.listen.ip().is_loopback() || settings.colleagues.insecure => TokenRule::Free,
        None => TokenRule::Closed,
    }
}

fn server_options(settings: &Settings) -> ServerOptions {
    ServerOptions {
        addr: settings.listen,
        workers: settings.http_workers.get(),
        max_connections: settings.http.max_connections.get(),
        keep_alive: settings.http.keep_alive,
        head_timeout: settings.http.head_timeout,
        ..ServerOptions::default()
    }
}

/// Where others reach this process's agents; none when only it does.
pub(super) fn public_url(settings: &Settings, bound: Option<&Bound>) -> Option<String> {
    if let Some(url) = &settings.colleagues.public_url {
        return Some(url.as_str().to_owned());
    }
    let address = bound?.addr();
    // A whole Callboard whose store is its own has no others.
    let is_shared = settings.store.is_shared() || settings.roles != Roles::ALL;
    if !settings.roles.worker || !is_shared {
        return None;
    }
    if !address.ip().is_unspecified() {
        return Some(format!("http://{address}"));
    }
    // As the predecessor has it: a container is reached by its service's name.
    let host = settings.crew.agent.as_ref().map(ToString::to_string).or_else(host_name);
    Some(format!("http://{}:{}", host.unwrap_or_else(|| "localhost".to_owned()), address.port()))
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}
