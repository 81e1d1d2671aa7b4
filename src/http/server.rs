//! The listener and its threads: binds, serves, and stops within a grace period. What it serves is the app's business.

use super::{Readiness, Services, create_app};
use actix_web::HttpServer;
use actix_web::dev;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How to listen.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where; port 0 takes any free one.
    pub addr: SocketAddr,
    /// Threads that serve.
    pub workers: usize,
    /// Connections at once, over all workers; more wait in the backlog.
    pub max_connections: usize,
    /// Connections that wait to be taken; past them the system refuses.
    pub backlog: u32,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long a request's head may take to arrive.
    pub head_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 8000)),
            workers: 2,
            max_connections: 10_000,
            backlog: 2048,
            // Longer than the idle time-out of the usual load balancers, so that they close first.
            keep_alive: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
        }
    }
}

/// A server that listens. It takes connections from its binding on, and ends when it is dropped or [`Server::serve`]
/// returns.
pub struct Server {
    addr: SocketAddr,
    running: dev::Server,
    stop: StopHandle,
    stopped: watch::Receiver<Option<Duration>>,
}

/// Stops a server from anywhere. Clones share it.
#[derive(Debug, Clone)]
pub struct StopHandle {
    readiness: Readiness,
    stop: Arc<watch::Sender<Option<Duration>>>,
}

/// How long a closed connection may take to say goodbye.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What actix may take to stop by itself; ours is the grace period of [`StopHandle::stop`].
const NEVER_S: u64 = 24 * 3600;

/// An address that was taken. Connections wait until it is served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Bound {
    /// Takes an address.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn take(options: &ServerOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(options.addr), Type::STREAM, Some(Protocol::TCP))?;
        // A process that starts again must not wait for its predecessor's last connections to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&options.addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from(socket);
        Ok(Self { addr: listener.local_addr()?, listener })
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Server {
    /// Takes an address and serves it, from inside [`crate::actors::run`].
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(services: Services, options: &ServerOptions) -> io::Result<Self> {
        Self::serving(Bound::take(options)?, services, options)
    }

    /// Serves an address that was taken, from inside [`crate::actors::run`].
    ///
    /// # Errors
    /// When the server's threads cannot be started.
    pub fn serving(bound: Bound, services: Services, options: &ServerOptions) -> io::Result<Self> {
        let readiness = services.site.readiness.clone();
        let server = HttpServer::new(move || create_app(services.clone()))
            .workers(options.workers.max(1))
            .backlog(options.backlog)
            // Each worker counts its own.
            .max_connections(options.max_connections.div_ceil(options.workers.max(1)))
            .keep_alive(options.keep_alive)
            .client_request_timeout(options.head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            // On by default: a handler would then outlive its client, and its wait would hold its place for nobody.
            .h1_allow_half_closed(false)
            .shutdown_timeout(NEVER_S)
            .disable_signals()
            .listen(bound.listener)?;
        let addr = bound.addr;
        let running = server.run();
        let (stop, stopped) = watch::channel(None);
        Ok(Self { addr, running, stop: StopHandle { readiness, stop: Arc::new(stop) }, stopped })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stops it.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Serves until it is stopped, or fails.
    ///
    /// # Errors
    /// When a listener or worker cannot go on.
    pub async fn serve(self) -> io::Result<()> {
        let Self { running, mut stopped, stop, .. } = self;
        let handle = running.handle();
        tokio::pin!(running);
        let grace = tokio::select! {
            ended = &mut running => return ended,
            // `stop` is alive until the end, so there is a sender.
            Ok(grace) = stopped.wait_for(Option::is_some) => grace.unwrap_or_default(),
        };
        // Sends its command at once; the future only waits for what is awaited below anyway.
        drop(handle.stop(true));
        let ended = tokio::time::timeout(grace, &mut running).await;
        drop(stop);
        // Past the grace period, dropping the server ends what is left.
        ended.unwrap_or(Ok(()))
    }
}

impl StopHandle {
    /// Drains and stops: no new connection is taken, whoever waits for a task is answered, and what is not done within
    /// the grace period is cut off. Returns at once; [`Server::serve`] returns when it is done.
    pub fn stop(&self, grace: Duration) {
        self.readiness.drain();
        self.stop.send_replace(Some(grace));
    }
}
