//! Commands that need no server: a whole Callboard inside this process, on a free port that only this process has the
//! key to. Its client runs on a thread of its own, so that neither slows the other down.

use super::args::TeamArgs;
use super::client::Client;
use super::environment::{Environment, Talk};
use super::exit::{Exit, Outcome};
use super::signals::Signals;
use callboard::actors::run;
use callboard::node::{Callboard, Serve};
use callboard::settings::{Overrides, Settings};
use callboard::team::{Team, TeamMember};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what still runs may finish at the end: the client has what it wanted.
const FAREWELL: Duration = Duration::from_secs(2);

/// A whole Callboard in this process.
pub struct Host {
    /// The process's own.
    pub callboard: Callboard,
    /// A client of its HTTP API.
    pub client: Client,
}

/// What a host's settings are beneath the user's own: in memory, on a free port, for nobody else.
pub fn settings(team: &TeamArgs, beneath: Overrides, environment: &Environment, talk: Talk) -> Result<Settings, Exit> {
    let mut overrides: Overrides = vec![
        ("store", "memory:".to_owned()),
        ("listen", "127.0.0.1:0".to_owned()),
        // A command ends by itself, and somebody watches it.
        ("frozen_exit", "never".to_owned()),
    ];
    overrides.extend(beneath);
    overrides.extend(team.overrides());
    environment.settings(team.config.as_deref(), &overrides, talk)
}

impl Host {
    /// Starts it.
    async fn start(mut settings: Settings, prepare: impl FnOnce(&mut [TeamMember])) -> Result<Self, Exit> {
        let key = uuid::Uuid::now_v7().simple().to_string();
        settings.api_keys = Some(format!("{key}=default").parse().map_err(Exit::internal)?);
        let mut team = Team::of(&settings).map_err(callboard::node::StartError::from)?;
        prepare(&mut team.members);
        let callboard = Callboard::start(&settings, team, Serve::Http).await?;
        let address = callboard.address().ok_or_else(|| Exit::internal("the server has no address"))?;
        let client = Client::new(&format!("http://{address}"), Some(&key))?;
        Ok(Self { callboard, client })
    }
}

/// Starts a Callboard, does some work with it, and stops it. The token tells the work that the user wants out; a second
/// signal does not wait for it.
pub fn hosted<T, W, F>(settings: Settings, work: W) -> Result<T, Exit>
where
    W: FnOnce(&Host, CancellationToken) -> F,
    F: Future<Output = Result<T, Exit>>,
{
    hosted_with(settings, |_| {}, work)
}

/// The same, with a team that was changed before it starts.
pub fn hosted_with<T, W, F>(settings: Settings, prepare: impl FnOnce(&mut [TeamMember]), work: W) -> Result<T, Exit>
where
    W: FnOnce(&Host, CancellationToken) -> F,
    F: Future<Output = Result<T, Exit>>,
{
    let whole = async {
        let mut signals = Signals::listen()?;
        let mut host = tokio::select! {
            host = Host::start(settings, prepare) => host?,
            signal = signals.next() => signal.exit_at_once(),
        };
        let interrupted = CancellationToken::new();
        let working = work(&host, interrupted.clone());
        let worked = accompany(&mut host.callboard, &mut signals, &interrupted, working).await;
        let stopped = tokio::select! {
            stopped = host.callboard.stop(FAREWELL) => stopped,
            signal = signals.next() => signal.exit_at_once(),
        };
        let worked = worked?;
        stopped.map_err(|error| Exit::internal(format!("the store could not be closed in order: {error}")))?;
        Ok(worked)
    };
    run(whole).map_err(|error| Exit::internal(format!("the runtime cannot be started: {error}")))?
}

/// Waits for the work, unless the user or a failure ends it.
async fn accompany<T>(
    callboard: &mut Callboard,
    signals: &mut Signals,
    interrupted: &CancellationToken,
    work: impl Future<Output = Result<T, Exit>>,
) -> Result<T, Exit> {
    tokio::pin!(work);
    tokio::select! {
        worked = &mut work => return worked,
        down = callboard.failed() => return Err(Exit::internal(down)),
        _ = signals.next() => interrupted.cancel(),
    }
    tokio::select! {
        worked = work => worked,
        down = callboard.failed() => Err(Exit::internal(down)),
        signal = signals.next() => signal.exit_at_once(),
    }
}

/// Runs a client on a thread of its own. Dropped, it ends with its next step.
pub async fn on_a_thread<T, F>(client: impl FnOnce() -> F + Send + 'static) -> Result<T, Exit>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Exit>>,
{
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    let thread = tokio::task::spawn_blocking(move || in_a_runtime(ended.run_until_cancelled_owned(client())));
    let worked = thread.await.map_err(Exit::internal)??;
    worked.unwrap_or_else(|| Err(Exit::internal("the client was ended")))
}

/// Runs a client command: no actors, no server.
pub fn client_command(command: impl Future<Output = Outcome>) -> Outcome {
    in_a_runtime(command)?
}

/// Runs a future with a runtime of its own.
pub fn in_a_runtime<F: Future>(future: F) -> Result<F::Output, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Exit::internal(format!("the runtime cannot be started: {error}")))?.block_on(future))
}
