//! The way to the server: a few connections from a pool that all callers share, so that what they ask at the same time
//! rides in one packet. A broken one is replaced; while the server is away it is looked for again ever more rarely, and
//! whoever asks meanwhile is told at once what happened.

use super::options::RedisOptions;
use super::script::Call;
use super::told::{closed, explain, is_cut, is_useless, too_slow};
use crate::store::StoreError;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, Value, cmd,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

/// How many connections callers share.
const LANES: usize = 2;
/// How often something is asked that may be asked again, when its connection is cut.
const TRIES: u32 = 4;
/// The pause after the first cut, or the first failure to connect; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many commands wait for a connection's turn before callers do.
const QUEUE: usize = 1024;

/// Whether something may be asked again when it is not known whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

/// What is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    One(&'a Cmd),
    Several(&'a Pipeline),
    Script(&'a Call),
}

impl Question<'_> {
    fn commands(self) -> u64 {
        match self {
            Self::One(_) | Self::Script(_) => 1,
            Self::Several(commands) => commands.len() as u64,
        }
    }

    async fn put(self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Several(commands) => commands.query_async(connection).await,
            Self::Script(call) => match call.command().query_async(connection).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    call.with_text().query_async(connection).await
                }
                answer => answer,
            },
        }
    }
}

pub(super) struct Link {
    address: Arc<str>,
    timeout: Duration,
    client: Client,
    pool: Pool,
    lanes: [Lane; LANES],
    turn: AtomicU64,
    /// Where connections are served, whoever asks for one: threads of callers come and go.
    runtime: Handle,
    is_closed: AtomicBool,
    round_trips: AtomicU64,
    commands: AtomicU64,
}

/// A connection that callers share.
#[derive(Default)]
struct Lane {
    kept: Mutex<Option<Kept>>,
    /// Held by the one caller that connects.
    gate: tokio::sync::Mutex<Gate>,
}

struct Kept {
    number: u64,
    connection: Connection,
}

/// How connecting goes.
#[derive(Default)]
struct Gate {
    failures: u32,
    connected: u64,
    failed: Option<(Instant, StoreError)>,
}

impl Link {
    /// Nothing is connected before it is needed. It belongs to the runtime that this is called in.
    pub fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let address: Arc<str> = options.address().into();
        let told = |error: &RedisError| explain(&address, error);
        let info = connection_info(options, &address)?;
        let client = Client::open(info.clone()).map_err(|error| told(&error))?;
        let manager = Manager::new_with_config(info, config(options.timeout)).map_err(|error| told(&error))?;
        let pool = Pool::builder(manager)
            .max_size(options.pool.max(LANES + 1))
            .wait_timeout(Some(options.timeout))
            .recycle_timeout(Some(options.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Refused(format!("{address} cannot be used ({error})").into()))?;
        Ok(Self {
            address,
            timeout: options.timeout,
            client,
            pool,
            lanes: Default::default(),
            turn: AtomicU64::new(0),
            runtime: Handle::current(),
            is_closed: AtomicBool::new(false),
            round_trips: AtomicU64::new(0),
            commands: AtomicU64::new(0),
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Round trips and commands so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.round_trips.load(Ordering::Relaxed), self.commands.load(Ordering::Relaxed))
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for lane in &self.lanes {
            lane.kept.lock().take();
        }
        self.pool.close();
    }

    // === Asking ===

    /// Sends a command over a shared connection.
    pub async fn ask(&self, command: &Cmd, again: Again) -> Result<Value, StoreError> {
        self.persist(Question::One(command), again).await
    }

    /// Sends several at once.
    pub async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        match self.persist(Question::Several(commands), Again::Yes).await? {
            Value::Array(answers) => Ok(answers),
            only => Ok(vec![only]),
        }
    }

    /// Runs a script over a shared connection.
    pub async fn run(&self, call: &Call, again: Again) -> Result<Value, StoreError> {
        self.persist(Question::Script(call), again).await
    }

    /// Runs a script over a connection of its own, and waits until so many replicas have what it wrote. Says how many.
    pub async fn run_and_wait(&self, call: &Call, replicas: u32) -> Result<(Value, u32), StoreError> {
        self.usable()?;
        let mut connection = self.open().await?;
        self.count(2);
        let waits = async {
            let answer = Question::Script(call).put(&mut connection).await?;
            // In less than the time after which no answer would be expected.
            let most_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX) / 2;
            let have: u32 = cmd("WAIT").arg(replicas).arg(most_ms.max(1)).query_async(&mut connection).await?;
            Ok((answer, have))
        };
        match timeout(self.timeout * 2, waits).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                drop(Connection::take(connection));
                Err(explain(&self.address, &error))
            }
            Err(_) => {
                drop(Connection::take(connection));
                Err(too_slow(&self.address, self.timeout))
            }
        }
    }

    async fn persist(&self, question: Question<'_>, again: Again) -> Result<Value, StoreError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            self.usable()?;
            let lane = &self.lanes[self.turn.fetch_add(1, Ordering::Relaxed) as usize % LANES];
            let (number, mut connection) = self.connection(lane).await?;
            self.count(question.commands());
            let error = match timeout(self.timeout, question.put(&mut connection)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    lane.discard(number);
                    return Err(too_slow(&self.address, self.timeout));
                }
            };
            if is_useless(&error) {
                lane.discard(number);
            }
            if again == Again::No || !is_cut(&error) || tries == TRIES {
                return Err(explain(&self.address, &error));
            }
            tokio::time::sleep(jittered(pause)).await;
            pause *= 2;
            tries += 1;
        }
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    fn count(&self, commands: u64) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands, Ordering::Relaxed);
    }

    // === Connecting ===

    async fn connection(&self, lane: &Lane) -> Result<(u64, MultiplexedConnection), StoreError> {
        if let Some(kept) = lane.kept() {
            return Ok(kept);
        }
        let mut gate = lane.gate.lock().await;
        if let Some(kept) = lane.kept() {
            return Ok(kept);
        }
        if let Some((until, error)) = &gate.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(connection) => {
                let number = gate.connected;
                *gate = Gate { connected: number + 1, ..Gate::default() };
                let shared = (*connection).clone();
                *lane.kept.lock() = Some(Kept { number, connection });
                Ok((number, shared))
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << gate.failures.min(8)).min(LONGEST_PAUSE);
                gate.failures += 1;
                gate.failed = Some((Instant::now() + jittered(pause), error.clone()));
                Err(error)
            }
        }
    }

    /// A connection of the caller's own.
    async fn open(&self) -> Result<Connection, StoreError> {
        let pool = self.pool.clone();
        let opening = self.runtime.spawn(async move { pool.get().await });
        let opened = timeout(self.timeout * 2, opening).await.map_err(|_| too_slow(&self.address, self.timeout))?;
        let gone = |_| StoreError::Unavailable("the runtime that served it has ended".into());
        opened.map_err(gone)?.map_err(|error| match error {
            PoolError::Backend(error) => explain(&self.address, &error),
            PoolError::Timeout(_) => too_slow(&self.address, self.timeout),
            PoolError::Closed => closed(),
            other => StoreError::Unavailable(format!("{} gives no connection ({other})", self.address).into()),
        })
    }

    /// A connection apart from the pool, on which an answer may take as long as it likes. To be called in the runtime.
    pub async fn apart(&self) -> Result<MultiplexedConnection, StoreError> {
        self.usable()?;
        let config = config(self.timeout).set_response_timeout(None);
        let connected = self.client.get_multiplexed_async_connection_with_config(&config);
        let connected =
            timeout(self.timeout * 2, connected).await.map_err(|_| too_slow(&self.address, self.timeout))?;
        connected.map_err(|error| explain(&self.address, &error))
    }
}

impl Lane {
    fn kept(&self) -> Option<(u64, MultiplexedConnection)> {
        self.kept.lock().as_ref().map(|kept| (kept.number, (*kept.connection).clone()))
    }

    /// Takes a connection out of use, unless another has taken its place.
    fn discard(&self, number: u64) {
        let mut kept = self.kept.lock();
        if kept.as_ref().is_some_and(|kept| kept.number == number) {
            // Not back to the pool, which would try it.
            drop(kept.take().map(|kept| Connection::take(kept.connection)));
        }
    }
}

/// Half as long to half as long again, so that those who failed together do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

fn config(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_pipeline_buffer_size(QUEUE)
}

fn connection_info(options: &RedisOptions, address: &str) -> Result<ConnectionInfo, StoreError> {
    let told = |error: RedisError| explain(address, &error);
    let mut login = RedisConnectionInfo::default().set_db(i64::from(options.database)).set_skip_set_lib_name();
    if let Some(username) = &options.username {
        login = login.set_username(username);
    }
    if let Some(password) = &options.password {
        login = login.set_password(password.reveal());
    }
    let place = (options.host.clone(), options.port);
    if !options.tls {
        let info = ConnectionAddr::Tcp(place.0, place.1).into_connection_info().map_err(told)?;
        return Ok(info.set_redis_settings(login));
    }
    let addr = ConnectionAddr::TcpTls { host: place.0, port: place.1, insecure: false, tls_params: None };
    let info = addr.into_connection_info().map_err(told)?.set_redis_settings(login);
    let Some(path) = &options.ca else { return Ok(info) };
    let unreadable = |why: &dyn std::fmt::Display| {
        let words = format!("the authority's file {} cannot be used ({why}): see redis_ca", path.display());
        StoreError::Refused(words.into())
    };
    let root = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root) };
    let client = Client::build_with_tls(info, certificates).map_err(|error| unreadable(&error))?;
    Ok(client.get_connection_info().clone())
}
