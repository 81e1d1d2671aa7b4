//! The durable store of one process: a SQLite file with a write-ahead log, one thread that writes in batches, one
//! that waits for the disk, one that copies the log, two that read, and the index in memory. No caller's thread ever waits for the disk.

mod agents;
mod commit;
mod disk;
mod error;
mod faults;
mod fold;
mod log;
mod open;
mod reader;
mod retention;
mod schema;
mod shared;
mod shelf;
mod transfer;
mod writer;

pub use faults::Faults;

use super::index::Held;
use super::ledger;
use super::watchers::Watchers;
use super::{
    Balance, Clock, Commit, Committed, DuePage, ExportPage, ExportPlace, ExportQuery, Imported, ListPage, ListQuery,
    Record, Removed, Reservation, RetentionQuery, Spend, Stats, Store, StoreError, StoreFuture, SystemClock, Waiting,
    Woken,
};
use crate::messages::{AgentRecord, ForeignBeat};
use crate::task::{
    AgentId, At, CallId, Capability, Event, Incarnation, Json, Lease, Scope, Task, TaskId, TaskKey, Tenant, Timer,
};
use agents::{forget_agent, put_agent};
use commit::CommitWork;
use disk::Disk;
use error::Fault;
use lru::LruCache;
use parking_lot::Mutex;
use retention::RemovalWork;
use rusqlite::Connection;
use shared::{Counts, Shared};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use transfer::ImportWork;
use writer::{Desk, Job, Piece, Setup, Writer};

/// How many pieces of work wait for the writer, and queries for the readers, before callers wait to hand theirs over.
const QUEUE: usize = 1024;
/// How many threads read.
const READERS: usize = 2;

/// What reaches the disk before a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A task's acceptance and its end; a power loss may cut what lies between. A crash of the process loses nothing.
    #[default]
    Relaxed,
    /// Every commit.
    Strict,
}

/// How a SQLite store is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The database file; its folder must exist.
    pub path: PathBuf,
    /// What reaches the disk when.
    pub durability: Durability,
    /// The clock that due-ness is judged by.
    pub clock: Arc<dyn Clock>,
    /// How many states are kept in memory for quick loading.
    pub recent_tasks: NonZeroUsize,
    /// The write-ahead log's length, in pages of 4 KiB, from which it is copied into the database.
    pub checkpoint_pages: u32,
    /// How long a transaction waits for another program's lock.
    pub busy_timeout: Duration,
    /// The most pages that the database may have; past it the store answers as on a full disk.
    pub max_pages: Option<u32>,
    /// Failures on purpose, for tests.
    pub faults: Faults,
}

impl SqliteOptions {
    /// The usual choices for this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            clock: Arc::new(SystemClock::default()),
            recent_tasks: NonZeroUsize::new(8192).unwrap_or(NonZeroUsize::MIN),
            checkpoint_pages: 1024,
            busy_timeout: Duration::from_secs(2),
            max_pages: None,
            faults: Faults::default(),
        }
    }
}

/// A store in a SQLite file.
pub struct SqliteStore {
    shared: Arc<Shared>,
    durability: Durability,
    /// To the writer; none once the store is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens or makes the file, and builds the index anew from its open tasks.
    ///
    /// # Errors
    /// [`StoreError`] saying which file, why, and what to do: another process has it, it cannot be written, it is no
    /// database of ours, or a newer version's.
    pub fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        let path = options.path.as_path();
        let lock = open::lock(path)?;
        let conn = open::connect(&options)?;
        let told = |fault: Fault| fault.told(path);
        let found = open::look_around(&conn, options.clock.now(), options.recent_tasks.get()).map_err(told)?;
        let mut recent = LruCache::new(options.recent_tasks);
        for task in found.recent {
            recent.put(task.key.clone(), task);
        }
        let (queries, readers) = reader::start(path, READERS, QUEUE).map_err(told)?;
        let shared = Arc::new(Shared {
            clock: options.clock.clone(),
            path: options.path.clone(),
            strange: found.strange,
            index: Mutex::new(found.index),
            recent: Mutex::new(recent),
            watchers: Watchers::default(),
            roster: Mutex::new(found.roster),
            accepted: Mutex::new(found.accepted),
            kinds: Mutex::new(HashSet::new()),
            counts: Counts { open: found.open.into(), ..Counts::default() },
            disk: Disk::default(),
            readers: Mutex::new(Some(queries)),
        });
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let setup = Setup {
            strict: options.durability == Durability::Strict,
            checkpoint_pages: options.checkpoint_pages,
            faults: options.faults.clone(),
            lock,
            readers,
        };
        let writer = Writer::new(conn, shared.clone(), setup, receiver).map_err(told)?;
        let writer = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run());
        let writer = writer.map_err(|error| told(error.into()))?;
        Ok(Self {
            shared,
            durability: options.durability,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands a job to the writer, waiting while its queue is full.
    async fn hand_over(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.lock().clone().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_| closed())
    }

    async fn write_then<T: Send + 'static>(
        &self,
        todo: impl FnOnce(&mut Desk<'_>) -> Result<T, Fault> + Send + 'static,
        after: impl FnOnce(&Shared, At) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.hand_over(Job::Work(Box::new(Piece::new(todo, after, reply)))).await?;
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    }

    fn write<T: Send + 'static>(
        &self,
        todo: impl FnOnce(&mut Desk<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.write_then(todo, |_, _| ()))
    }

    async fn read_now<T: Send + 'static>(
        &self,
        todo: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let shared = self.shared.clone();
        let query = Box::new(move |conn: &Connection| {
            let read = todo(conn).map_err(|fault| fault.told(&shared.path));
            // What was read may be newer than what is on the disk.
            let read = shared.disk.wait().and(read);
            // Whoever asked may have stopped waiting.
            let _ = reply.send(read);
        });
        let readers = self.shared.readers.lock().clone().ok_or_else(closed)?;
        readers.send(query).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    }

    fn read<T: Send + 'static>(
        &self,
        todo: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.read_now(todo))
    }

    /// Does something in memory when it is awaited.
    fn at_once<T: Send + 'static>(&self, todo: impl FnOnce(&Shared, At) -> T + Send + 'static) -> StoreFuture<'_, T> {
        Box::pin(async move {
            if self.jobs.lock().is_none() {
                return Err(closed());
            }
            Ok(todo(&self.shared, self.shared.clock.now()))
        })
    }

    /// Records which leases of remote agents are accepted, once each, so that they outlive this process.
    async fn note_accepted(&self, leases: Vec<Held>) -> Result<(), StoreError> {
        let (reply, _) = oneshot::channel();
        let noted = leases.clone();
        let todo = move |desk: &mut Desk<'_>| {
            for (key, lease) in &leases {
                let row = (key.id.as_str(), lease.step.as_str(), lease.attempt.0);
                desk.run("INSERT OR IGNORE INTO accepted_leases SELECT ordinal, ?2, ?3 FROM tasks WHERE id = ?1", row)?;
            }
            Ok(())
        };
        let after = move |shared: &Shared, _| shared.accepted.lock().extend(noted);
        self.hand_over(Job::Work(Box::new(Piece::new(todo, after, reply)))).await
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it was closed".into())
}

fn unanswered() -> StoreError {
    StoreError::Unavailable("it gave no answer because it was closed or hit a fault of its own; try again".into())
}

// === impl Store ===

impl Store for SqliteStore {
    fn describe(&self) -> String {
        let durability = match self.durability {
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        format!("sqlite {} ({durability})", self.shared.path.display())
    }

    fn now(&self) -> At {
        self.shared.clock.now()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            commit.check()?;
            let (reply, answer) = oneshot::channel();
            self.hand_over(Job::Work(Box::new(CommitWork { commit, reply, committed: None }))).await?;
            answer.await.unwrap_or_else(|_| Err(unanswered()))
        })
    }

    fn load(&self, key: &TaskKey) -> StoreFuture<'_, Option<Arc<Task>>> {
        let key = key.clone();
        Box::pin(async move {
            if let Some(task) = self.shared.recent.lock().get(&key) {
                return Ok(Some(task.clone()));
            }
            let strange = self.shared.strange;
            let task = self.read_now(move |conn| reader::load(conn, &key, strange)).await?;
            // One that has ended never changes, so no newer one can be overwritten here.
            if let Some(task) = task.as_ref().filter(|task| task.end.is_some()) {
                self.shared.recent.lock().put(task.key.clone(), task.clone());
            }
            Ok(task)
        })
    }

    fn key_of(&self, id: &TaskId) -> StoreFuture<'_, Option<TaskKey>> {
        let id = id.clone();
        self.read(move |conn| reader::key_of(conn, &id))
    }

    fn payload(&self, key: &TaskKey, name: &str) -> StoreFuture<'_, Option<Json>> {
        let (key, name) = (key.clone(), name.to_owned());
        self.read(move |conn| reader::payload(conn, &key, &name))
    }

    fn events(&self, key: &TaskKey, after: u64, limit: usize) -> StoreFuture<'_, Option<Vec<Event>>> {
        let key = key.clone();
        self.read(move |conn| reader::events(conn, &key, after, limit))
    }

    fn wake(&self, key: &TaskKey) -> watch::Receiver<Woken> {
        let version = self.shared.recent.lock().peek(key).map_or(0, |task| task.version);
        self.shared.watchers.listen(key, version)
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, ListPage> {
        self.read(move |conn| reader::list(conn, &query))
    }

    fn waiting(&self, capability: &Capability, limit: usize) -> StoreFuture<'_, Waiting> {
        let capability = capability.clone();
        self.at_once(move |shared, _| shared.index.lock().waiting(&capability, limit))
    }

    fn waiting_capabilities(&self) -> StoreFuture<'_, Vec<Capability>> {
        self.at_once(|shared, _| shared.index.lock().waiting_capabilities())
    }

    fn due_timers(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Timer>> {
        self.at_once(move |shared, now| shared.index.lock().due_timers(now, limit, claim_ms))
    }

    fn expired_leases(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Lease>> {
        self.at_once(move |shared, now| shared.index.lock().expired_leases(now, limit, claim_ms))
    }

    fn leases(&self) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.at_once(|shared, _| shared.index.lock().leases())
    }

    fn leases_of(&self, agent: &AgentId) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        let agent = agent.clone();
        self.at_once(move |shared, _| shared.index.lock().leases_of(&agent))
    }

    fn renew(&self, leases: Vec<(TaskKey, Lease)>, ttl_ms: u64) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        Box::pin(async move {
            let asked = leases.clone();
            let renew = move |shared: &Shared, now: At| shared.index.lock().renew(leases, now.plus(ttl_ms));
            let gone = self.at_once(renew).await?;
            let new = self.shared.newly_accepted(asked, &gone);
            if !new.is_empty() {
                self.note_accepted(new).await?;
            }
            Ok(gone)
        })
    }

    fn expire_leases_of(&self, agent: &AgentId, incarnation: &Incarnation) -> StoreFuture<'_, ()> {
        let (agent, incarnation) = (agent.clone(), incarnation.clone());
        self.at_once(move |shared, now| shared.index.lock().expire_leases_of(&agent, &incarnation, now))
    }

    fn put_agent(&self, record: AgentRecord, ttl_ms: u64) -> StoreFuture<'_, ()> {
        let written = record.clone();
        let todo = move |desk: &mut Desk<'_>| put_agent(desk, &written, ttl_ms);
        Box::pin(self.write_then(todo, move |shared, now| {
            if shared.roster.lock().put(record, now, now.plus(ttl_ms)) {
                shared.watchers.wake_for_agents();
            }
        }))
    }

    fn remove_agent(&self, agent: &AgentId) -> StoreFuture<'_, ()> {
        let (agent, forgotten) = (agent.clone(), agent.clone());
        let todo = move |desk: &mut Desk<'_>| forget_agent(desk, &agent);
        Box::pin(self.write_then(todo, move |shared, _| {
            if shared.roster.lock().remove(&forgotten) {
                shared.watchers.wake_for_agents();
            }
        }))
    }

    fn agents_changed(&self) -> watch::Receiver<()> {
        self.shared.watchers.listen_to_agents()
    }

    fn agents(&self) -> StoreFuture<'_, Vec<AgentRecord>> {
        self.at_once(|shared, now| shared.roster.lock().live(now))
    }

    fn foreign_beats(&self) -> StoreFuture<'_, Vec<ForeignBeat>> {
        self.at_once(|_, _| Vec::new())
    }

    fn capabilities_seen(&self) -> StoreFuture<'_, Vec<(Capability, At)>> {
        self.at_once(|shared, _| shared.roster.lock().seen())
    }

    fn set_context(&self, tenant: &Tenant, field: &str, value: Option<Json>) -> StoreFuture<'_, ()> {
        let (tenant, field) = (tenant.clone(), field.to_owned());
        self.write(move |desk| {
            let (tenant, field) = (tenant.as_str(), field.as_str());
            match value {
                Some(value) => {
                    desk.run("INSERT OR REPLACE INTO context VALUES (?1, ?2, ?3)", (tenant, field, value.text()))?
                }
                None => desk.run("DELETE FROM context WHERE tenant = ?1 AND field = ?2", (tenant, field))?,
            };
            Ok(())
        })
    }

    fn context(&self, tenant: &Tenant) -> StoreFuture<'_, Vec<(Arc<str>, Json)>> {
        let tenant = tenant.clone();
        self.read(move |conn| reader::context(conn, &tenant))
    }

    fn append_trace(&self, key: &TaskKey, agent: &AgentId, steps: Vec<Json>) -> StoreFuture<'_, ()> {
        let (key, agent) = (key.clone(), agent.clone());
        self.write(move |desk| {
            for step in &steps {
                let row = (key.tenant.as_str(), key.id.as_str(), agent.as_str(), step.text());
                desk.run("INSERT INTO traces (tenant, task, agent, value) VALUES (?1, ?2, ?3, ?4)", row)?;
            }
            Ok(())
        })
    }

    fn trace(&self, key: &TaskKey, agent: &AgentId) -> StoreFuture<'_, Vec<Json>> {
        let (key, agent) = (key.clone(), agent.clone());
        self.read(move |conn| reader::trace(conn, &key, &agent))
    }

    fn set_budget(&self, scope: &Scope, limit: Option<Spend>) -> StoreFuture<'_, ()> {
        let scope = scope.clone();
        self.write(move |desk| ledger::set_budget(desk, &scope, limit))
    }

    fn reserve(&self, call: &CallId, scopes: &[Scope], upper: Spend, expires_ms: u64) -> StoreFuture<'_, Reservation> {
        let (call, scopes) = (call.clone(), scopes.to_vec());
        self.write(move |desk| {
            let times = (desk.now, desk.now.plus(expires_ms));
            ledger::reserve(desk, &call, &scopes, upper, times)
        })
    }

    fn settle(&self, call: &CallId, actual: Spend) -> StoreFuture<'_, bool> {
        let call = call.clone();
        self.write(move |desk| {
            let now = desk.now;
            ledger::settle(desk, &call, actual, now)
        })
    }

    fn balance(&self, scope: &Scope) -> StoreFuture<'_, Balance> {
        let scope = scope.clone();
        self.write(move |desk| {
            let now = desk.now;
            ledger::balance(desk, &scope, now)
        })
    }

    fn count_finished(&self, query: RetentionQuery) -> StoreFuture<'_, u64> {
        self.read(move |conn| retention::count(conn, &query))
    }

    fn remove_finished(&self, query: RetentionQuery, limit: usize) -> StoreFuture<'_, Removed> {
        Box::pin(async move {
            let mut meant = self.read_now(move |conn| retention::meant(conn, &query, limit.saturating_add(1))).await?;
            let more = meant.len() > limit;
            meant.truncate(limit);
            let (reply, answer) = oneshot::channel();
            self.hand_over(Job::Work(Box::new(RemovalWork::new(meant, reply)))).await?;
            let tasks = answer.await.unwrap_or_else(|_| Err(unanswered()))?;
            Ok(Removed { tasks, more })
        })
    }

    fn export(&self, query: ExportQuery, from: ExportPlace) -> StoreFuture<'_, ExportPage> {
        self.read(move |conn| transfer::export(conn, &query, &from))
    }

    fn import(&self, record: Record, dry_run: bool) -> StoreFuture<'_, Imported> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.hand_over(Job::Work(Box::new(ImportWork::new(record, dry_run, reply)))).await?;
            answer.await.unwrap_or_else(|_| Err(unanswered()))
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        self.write(|desk| {
            desk.run("UPDATE store SET checked = checked + 1", [])?;
            Ok(())
        })
    }

    fn stats(&self) -> Stats {
        self.shared.counts.stats()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let Some(jobs) = self.jobs.lock().take() else { return Ok(()) };
            let (done, answer) = oneshot::channel();
            if jobs.send(Job::Close(done)).await.is_ok() {
                // No answer means that the writer has ended already.
                let _ = answer.await;
            }
            Ok(())
        })
    }
}

impl Drop for SqliteStore {
    /// Lets the writer finish, so that whoever opens the file next finds it whole and free.
    fn drop(&mut self) {
        self.jobs.lock().take();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has said so to its callers.
            let _ = writer.join();
        }
    }
}
