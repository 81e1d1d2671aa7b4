//! `callboard serve`: the process that stays. It says where it listens, drains when it is told to end, and leaves with
//! another code than 0 only when it had to.

use super::args::ServeArgs;
use super::environment::{Environment, Talk};
use super::exit::{Exit, Outcome};
use super::output::print;
use super::signals::{Hangups, Signals};
use callboard::actors::ChildDown;
use callboard::actors::run;
use callboard::node::{Callboard, Changes, Outpost, Serve, StartError};
use callboard::settings::Settings;
use callboard::store::StoreError;
use callboard::team::{Kinds, Team, TeamError};
use std::net::SocketAddr;
use std::time::Duration;

/// How long what runs may finish after a failure that no supervisor could take: long enough to hand it back.
const GRACE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Runs it.
pub fn serve(args: &ServeArgs, environment: &Environment) -> Outcome {
    let settings = environment.settings(args.team.config.as_deref(), &args.overrides(), Talk::Usual)?;
    let team = Team::of(&settings).map_err(StartError::from)?;
    let whole = async {
        let mut signals = Signals::listen()?;
        let callboard = tokio::select! {
            started = Process::start(&settings, team) => started?,
            signal = signals.next() => signal.exit_at_once(),
        };
        stay(callboard, &settings, &mut signals).await
    };
    run(whole).map_err(|error| Exit::internal(format!("the runtime cannot be started: {error}")))?
}

/// What runs: a process with a master, or one for a master elsewhere.
enum Process {
    Callboard(Box<Callboard>),
    Outpost(Box<Outpost>),
}

impl Process {
    async fn start(settings: &Settings, team: Team) -> Result<Self, StartError> {
        if settings.roles.master {
            Ok(Self::Callboard(Box::new(Callboard::start(settings, team, Serve::Http).await?)))
        } else {
            Ok(Self::Outpost(Box::new(Outpost::start(settings, team).await?)))
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Callboard(callboard) => callboard.address(),
            Self::Outpost(outpost) => Some(outpost.address()),
        }
    }

    fn team(&self) -> &Team {
        match self {
            Self::Callboard(callboard) => callboard.team(),
            Self::Outpost(outpost) => outpost.team(),
        }
    }

    async fn failed(&mut self) -> ChildDown {
        match self {
            Self::Callboard(callboard) => callboard.failed().await,
            Self::Outpost(outpost) => outpost.failed().await,
        }
    }

    async fn reload(&mut self, settings: &Settings, kinds: &Kinds) -> Result<Changes, TeamError> {
        match self {
            Self::Callboard(callboard) => callboard.reload(settings, kinds).await,
            Self::Outpost(outpost) => outpost.reload(settings, kinds).await,
        }
    }

    async fn stop(self, grace: Duration) -> Result<(), StoreError> {
        match self {
            Self::Callboard(callboard) => callboard.stop(grace).await,
            Self::Outpost(outpost) => outpost.stop(grace).await,
        }
    }
}

async fn stay(mut callboard: Process, settings: &Settings, signals: &mut Signals) -> Outcome {
    if let Some(address) = callboard.address() {
        tracing::info!(%address, roles = %settings.roles, store = %settings.store, "ready");
        print(&format!("listening on http://{address}"))?;
    }
    let mut hangups = Hangups::listen()?;
    let (grace, ended) = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal = signal.name(), grace = ?settings.drain_grace, "draining; again to end at once");
                break (settings.drain_grace, Ok(()));
            }
            down = callboard.failed() => {
                tracing::error!(actor.path = %down.path, reason = %down.reason, "no supervisor could take this failure: stopping");
                break (GRACE_AFTER_FAILURE, Err(Exit::internal(down)));
            }
            () = hangups.next() => {}
        }
        let kinds = Kinds::default();
        let reloaded = tokio::select! {
            reloaded = callboard.reload(settings, &kinds) => reloaded,
            signal = signals.next() => {
                tracing::info!(signal = signal.name(), grace = ?settings.drain_grace, "draining; again to end at once");
                break (settings.drain_grace, Ok(()));
            }
        };
        match reloaded {
            Ok(changes) => tracing::info!(team = %callboard.team().name, "the team was read again: {changes}"),
            Err(error) => tracing::error!("the team stays as it was, because its file cannot be used: {error}"),
        }
    };
    let stopped = tokio::select! {
        stopped = callboard.stop(grace) => stopped,
        signal = signals.next() => signal.exit_at_once(),
    };
    ended?;
    stopped.map_err(|error| Exit::internal(format!("the store could not be closed in order: {error}")))?;
    tracing::info!("stopped in order");
    Ok(())
}
