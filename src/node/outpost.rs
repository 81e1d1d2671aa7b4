//! A process without a master: a gateway, or a worker, or both, for a master elsewhere. It keeps nothing, so it starts and
//! ends without anybody's leave; what its agents hold when it goes is handed back.

use super::elsewhere::Elsewhere;
use super::listener::{self, Listening};
use super::sign::Sign;
use super::staff::{Neighbours, Staff};
use super::{CLOSE_TIMEOUT, ROOT_RESTARTS, StartError, chat_port, gateway_port, start_gateway, watch_turns};
use crate::actors::{ActorThread, ChildDown, Directory, Place, Root, Tree, Watchdog};
use crate::http::{Readiness, Services};
use crate::llm::Models;
use crate::settings::Settings;
use crate::store::StoreError;
use crate::team::{Kinds, Team, TeamError};
use crate::telemetry::Counters;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A running process without a master.
pub struct Outpost {
    tree: Tree,
    root: Root,
    thread: ActorThread,
    team: Team,
    staff: Staff,
    readiness: Readiness,
    server: Listening,
    _watchdog: Watchdog,
}

impl Outpost {
    /// Starts everything. The agents join by themselves, again and again until they are let in.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is stopped again.
    pub async fn start(settings: &Settings, team: Team) -> Result<Self, StartError> {
        let (tree, root) = Tree::new(ROOT_RESTARTS);
        let thread = ActorThread::start().map_err(StartError::Thread)?;
        let started = Self::assemble(settings, team, tree.clone(), root, thread);
        if started.is_err() {
            tree.root().stopped().await;
        }
        started
    }

    fn assemble(
        settings: &Settings,
        team: Team,
        tree: Tree,
        root: Root,
        thread: ActorThread,
    ) -> Result<Self, StartError> {
        for warning in &team.warnings {
            tracing::warn!("{warning}");
        }
        let bound = listener::bind(settings)?;
        let elsewhere = Elsewhere::new(&tree, &settings.colleagues, thread.place())?;
        let models = settings.roles.gateway.then(|| settings.models.models(None)).transpose();
        let models = models.map_err(StartError::Models)?;
        let names = models.as_ref().map(Models::names).unwrap_or_default();
        let gateway = models.map(|models| start_gateway(Arc::new(models), &tree, Place::Here));
        let colleagues = &settings.colleagues;
        let generate = match (&gateway, &colleagues.gateway) {
            (Some(here), _) => Some(here.actor_ref()),
            (None, Some(url)) => Some(elsewhere.gateway(url, colleagues.gateway_timeout)?.generate),
            (None, None) => None,
        };
        let sign = || settings.redis.clone().map(Sign::new);
        let master = colleagues.master.as_ref().map(|url| elsewhere.master(url, colleagues.callback.as_ref(), sign()));
        let neighbours = master.transpose()?.zip(generate).map(|(master, thoughts)| Neighbours::far(master, thoughts));
        let url = listener::public_url(settings, Some(&bound));
        let mut staff = Staff::new(settings, &tree, neighbours, Directory::default(), thread.place(), url);

        let site = Arc::new(listener::site(settings, &tree, &Counters::default()));
        let readiness = site.readiness().clone();
        let services = Services {
            worker: staff.port(settings),
            gateway: gateway.as_ref().map(gateway_port),
            chat: gateway.as_ref().map(|gateway| chat_port(gateway, names)),
            ..Services::new(site)
        };
        let server = listener::serve(settings, &tree, bound, services)?;
        // They join once work can reach them.
        staff.employ(&team.members);
        let watchdog = watch_turns(settings, &tree).map_err(StartError::Watchdog)?;
        Ok(Self { tree, root, thread, team, staff, readiness, server, _watchdog: watchdog })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The team whose agents work here.
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// Waits for a failure that no supervisor could take; for ever when there is none.
    pub async fn failed(&mut self) -> ChildDown {
        self.root.failed().await
    }

    /// Reads the team's files again, and goes on with what they say now.
    ///
    /// # Errors
    /// [`TeamError`]; the team stays as it was.
    pub async fn reload(&mut self, settings: &Settings, kinds: &Kinds) -> Result<super::Changes, TeamError> {
        let (team, settings, kinds) = (self.team.clone(), settings.clone(), kinds.clone());
        let read = tokio::task::spawn_blocking(move || team.again(&settings, &kinds)).await;
        // A panic in there has been logged, and the team is as it was.
        let Ok(read) = read else { return Ok(super::Changes::default()) };
        let team = read?;
        let mut changes = self.staff.employ(&team.members);
        changes.retired = self.staff.retire(&team.members, &self.tree);
        self.team = team;
        Ok(changes)
    }

    /// Ends the process's work: takes nothing new, lets what runs finish for `grace`, and hands the rest back.
    ///
    /// # Errors
    /// [`StoreError`], never: there is no store to close. The form is that of [`super::Callboard::stop`].
    pub async fn stop(self, grace: Duration) -> Result<(), StoreError> {
        self.readiness.drain();
        self.staff.ended(grace).await;
        self.server.stop().await;
        let ending = async {
            self.tree.root().stopped().await;
            self.thread.join();
        };
        let late = || StoreError::Unavailable("its actors did not end in time".into());
        tokio::time::timeout(CLOSE_TIMEOUT, ending).await.map_err(|_| late())
    }
}
