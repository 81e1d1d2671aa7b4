//! The only memory: tasks with their events, queue, timers, leases, agents, shared context, traces and the budget
//! ledger, behind one trait. Every store passes one conformance suite, so nobody above can tell which one it has.

mod admission;
mod clock;
mod entry;
mod index;
mod ledger;
mod memory;
mod redis;
mod retention;
mod roster;
mod search;
mod sqlite;
mod transfer;
mod watchers;

pub use clock::{Clock, SystemClock};
pub use entry::Entry;
pub use ledger::{Reserved, Stand};
pub use memory::MemoryStore;
pub use redis::{Beacon, RedisOptions, RedisStore};
pub use retention::{Removed, Retention, RetentionQuery};
pub use search::{Filter, search};
pub use sqlite::{Durability, Faults, SqliteOptions, SqliteStore};
pub use transfer::{
    BudgetRecord, ContextRecord, Differs, ExportError, ExportPage, ExportPlace, ExportQuery, FORMAT, Header,
    ImportError, ImportReport, Imported, Importer, KeptSubmission, Line, Lines, Record, Refused, ReservationRecord,
    TaskRecord, Totals, Unsound,
};

use crate::messages::{AgentRecord, ForeignBeat};
use crate::task::{
    AgentId, At, CallId, Capability, CommitId, Digest, Effects, Event, IdempotencyKey, Incarnation, Json, Lease,
    Priority, QueueEntry, Scope, Status, Task, TaskId, TaskKey, Tenant, Timer,
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// A store. Every method that waits may fail with [`StoreError::Unavailable`]; nothing is half done then, but a write
/// may have happened without its answer arriving, which a repeated commit id finds out.
pub trait Store: Send + Sync + 'static {
    /// Its name in settings, answers and logs, without any secret in it.
    fn describe(&self) -> String;

    /// Now, by the clock that due-ness is judged by.
    fn now(&self) -> At;

    // === Tasks ===

    /// Writes one commit whole or not at all.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, Committed>;

    /// A task's folded state.
    fn load(&self, key: &TaskKey) -> StoreFuture<'_, Option<Arc<Task>>>;

    /// The key of the task with this id, whoever's it is: ids are unique over all tenants, and other processes name tasks
    /// without their tenant.
    fn key_of(&self, id: &TaskId) -> StoreFuture<'_, Option<TaskKey>>;

    /// A payload that is kept beside its task.
    fn payload(&self, key: &TaskKey, name: &str) -> StoreFuture<'_, Option<Json>>;

    /// Events with a number above `after`, in order, at most `limit`; none when there is no such task.
    fn events(&self, key: &TaskKey, after: u64, limit: usize) -> StoreFuture<'_, Option<Vec<Event>>>;

    /// Wakes whenever the task has events above the version seen last. A reader reads from its own cursor, so a missed
    /// wake-up loses nothing.
    fn wake(&self, key: &TaskKey) -> watch::Receiver<Woken>;

    /// One page of tasks, newest first.
    fn list(&self, query: ListQuery) -> StoreFuture<'_, ListPage>;

    // === What falls due ===

    /// The head of a capability's queue, in order, with how many wait.
    fn waiting(&self, capability: &Capability, limit: usize) -> StoreFuture<'_, Waiting>;

    /// The capabilities that any step waits for.
    fn waiting_capabilities(&self) -> StoreFuture<'_, Vec<Capability>>;

    /// Timers that are due, claimed for `claim_ms`: until then nobody else is given them.
    fn due_timers(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Timer>>;

    /// Leases that ran out, claimed likewise.
    fn expired_leases(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Lease>>;

    /// All leases that stand, whether they run or have run out.
    fn leases(&self) -> StoreFuture<'_, Vec<(TaskKey, Lease)>>;

    /// Those of one agent, in all its lives.
    fn leases_of(&self, agent: &AgentId) -> StoreFuture<'_, Vec<(TaskKey, Lease)>>;

    /// Lets leases run for `ttl_ms` from now; answers those that no longer stand. Not a commit and not synced.
    fn renew(&self, leases: Vec<(TaskKey, Lease)>, ttl_ms: u64) -> StoreFuture<'_, Vec<(TaskKey, Lease)>>;

    /// Lets all leases of one life of an agent run out now.
    fn expire_leases_of(&self, agent: &AgentId, incarnation: &Incarnation) -> StoreFuture<'_, ()>;

    /// Drops something that came up for a task whose state does not hold it, as a server leaves it that lost a part of what
    /// it had; answers whether it was such a thing. Where the index is built from the states there is none.
    fn drop_stray(&self, _key: &TaskKey, _entry: Entry) -> StoreFuture<'_, bool> {
        Box::pin(async { Ok(false) })
    }

    // === Agents ===

    /// Keeps an agent's record for `ttl_ms`.
    fn put_agent(&self, record: AgentRecord, ttl_ms: u64) -> StoreFuture<'_, ()>;

    /// Forgets an agent.
    fn remove_agent(&self, agent: &AgentId) -> StoreFuture<'_, ()>;

    /// Wakes when an agent was recorded that was not there or otherwise than it had declared itself, or was forgotten; not
    /// for each beat, and not when a record runs out.
    fn agents_changed(&self) -> watch::Receiver<()>;

    /// The live agents, by name.
    fn agents(&self) -> StoreFuture<'_, Vec<AgentRecord>>;

    /// What foreign agents' own keys say, where this store is one that they write to; otherwise nothing.
    fn foreign_beats(&self) -> StoreFuture<'_, Vec<ForeignBeat>>;

    /// When an agent for each capability was last recorded.
    fn capabilities_seen(&self) -> StoreFuture<'_, Vec<(Capability, At)>>;

    // === Shared context and traces ===

    /// Sets one field of a tenant's shared context; none removes it.
    fn set_context(&self, tenant: &Tenant, field: &str, value: Option<Json>) -> StoreFuture<'_, ()>;

    /// A tenant's shared context, by field.
    fn context(&self, tenant: &Tenant) -> StoreFuture<'_, Vec<(Arc<str>, Json)>>;

    /// Appends steps of an agent's reasoning.
    fn append_trace(&self, key: &TaskKey, agent: &AgentId, steps: Vec<Json>) -> StoreFuture<'_, ()>;

    /// An agent's reasoning in a task, in order.
    fn trace(&self, key: &TaskKey, agent: &AgentId) -> StoreFuture<'_, Vec<Json>>;

    // === Budget ledger ===

    /// Limits what a scope may spend in all; none lifts the limit.
    fn set_budget(&self, scope: &Scope, limit: Option<Spend>) -> StoreFuture<'_, ()>;

    /// Sets an upper bound aside in every scope or in none. The same call id again changes nothing. A reservation that
    /// is not settled within `expires_ms` counts as spent.
    fn reserve(&self, call: &CallId, scopes: &[Scope], upper: Spend, expires_ms: u64) -> StoreFuture<'_, Reservation>;

    /// Replaces a reservation by what was spent; answers false when there is none to replace.
    fn settle(&self, call: &CallId, actual: Spend) -> StoreFuture<'_, bool>;

    /// How a scope stands.
    fn balance(&self, scope: &Scope) -> StoreFuture<'_, Balance>;

    // === Retention ===

    /// How many finished tasks a query means.
    fn count_finished(&self, query: RetentionQuery) -> StoreFuture<'_, u64>;

    /// Removes finished tasks, those that ended first before the others and at most `limit`, with all that belongs to
    /// them: log, payloads, traces, their own budget, and the names by which their submission was known. From then on
    /// there is no such task, and its id is free. It waits behind what is being written, so many small calls hold nobody
    /// up where one large one would.
    fn remove_finished(&self, query: RetentionQuery, limit: usize) -> StoreFuture<'_, Removed>;

    // === Moving ===

    /// One page of what a query means. Each task is as it stood at one moment; tasks taken while an export runs may be
    /// in it or not.
    fn export(&self, query: ExportQuery, from: ExportPlace) -> StoreFuture<'_, ExportPage>;

    /// Writes a record whole or not at all, unless the store has it or something else in its place. An open task goes on
    /// here: the leases of its attempts have run out, as after a restart. A task is only taken as sound: see
    /// [`TaskRecord::check`]. A dry run changes nothing and says what would become of it.
    fn import(&self, record: Record, dry_run: bool) -> StoreFuture<'_, Imported>;

    // === The store itself ===

    /// Whether it can be written just now.
    fn check(&self) -> StoreFuture<'_, ()>;

    /// What it has done since it was opened, and holds.
    fn stats(&self) -> Stats;

    /// Finishes what is under way and closes; later calls fail.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// What a wake-up tells of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Woken {
    /// The version that it is at, as far as is known; 0 when that is not known.
    pub version: u64,
    /// False when it was still open at that version: whoever waits for its end need not look.
    pub may_have_ended: bool,
}

impl Woken {
    /// By a task that stands so.
    fn at(task: &Task) -> Self {
        Self { version: task.version, may_have_ended: task.end.is_some() }
    }
}

/// What every waiting method of a store returns.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or written just now; try again.
    #[error("the store cannot be used just now: {0}")]
    Unavailable(Arc<str>),
    /// More is asked of it than it answers. It was not told of this, which is therefore not done; try again, later.
    #[error("the store is busy: {0}")]
    Busy(Arc<str>),
    /// It is there, and cannot be had as it is set up: opening it again changes nothing.
    #[error("the store cannot be used: {0}")]
    Refused(Arc<str>),
    /// Written by a newer version of this program; this one leaves it alone.
    #[error("{0} was written by a newer version of callboard; this one leaves it alone")]
    Newer(Arc<str>),
    /// It holds what cannot be.
    #[error("the store holds what cannot be: {0}")]
    Corrupt(Arc<str>),
}

/// Everything that one decision changes.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its name: the same twice is the same commit.
    pub id: CommitId,
    /// Whose.
    pub key: TaskKey,
    /// The version that it builds on; 0 for a task's first.
    pub expected: u64,
    /// The moment of that version's last event, [`Task::updated_at`]. A version alone tells no histories apart: a fail-over
    /// may have cut events off that others have taken the numbers of, and an id may have been used again.
    pub expected_at: At,
    /// The new events, numbered from `expected + 1`; at least one.
    pub events: Arc<[Event]>,
    /// The state with them folded in.
    pub task: Arc<Task>,
    /// What the change means for queue, timers and leases.
    pub effects: Arc<Effects>,
    /// The most leases that each agent may have of which this makes one. A store that several masters share holds them to
    /// it, since none knows what the others place ([`Committed::NoSlot`]).
    pub slots: Vec<(AgentId, u32)>,
    /// Large payloads, by name, which state and events refer to.
    pub payloads: Vec<(Arc<str>, Json)>,
    /// What makes a repeated submission recognisable; with a task's first commit only.
    pub submission: Option<SubmissionRecord>,
}

/// What makes a repeated submission recognisable.
#[derive(Debug, Clone)]
pub struct SubmissionRecord {
    /// Of objective, context and options.
    pub digest: Digest,
    /// Whether the client chose the task's id.
    pub id_given: bool,
    /// The client's own name for the submission.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The most tasks that may be open in the store; past it the commit is refused.
    pub max_open: u64,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// It is written.
    Applied,
    /// It had been written before: a lost answer, harmless.
    AlreadyApplied,
    /// The task has moved on; decide anew.
    Conflict,
    /// An equal submission had made this task.
    Repeated(TaskKey),
    /// A different submission has the id or the key.
    Clash(Clash),
    /// As many tasks are open as may be.
    Full,
    /// An agent would get more leases than it may have; these are those that it has. Decide anew.
    NoSlot(Vec<(TaskKey, Lease)>),
}

/// How a submission contradicts an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// The task id is another submission's.
    #[error(
        "this task_id was already used for a different submission: choose another, or send the same body to get its answer"
    )]
    TaskId,
    /// The idempotency key is another submission's.
    #[error(
        "this Idempotency-Key was already used for a different submission: choose another, or send the same body to get its answer"
    )]
    IdempotencyKey,
    /// Both are known, but of two different tasks, or only one is.
    #[error("task_id and Idempotency-Key do not belong to the same earlier submission")]
    Disagree,
}

/// Which tasks to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Whose; all tenants' when none.
    pub tenant: Option<Tenant>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those accepted before the one that this cursor names; from [`ListPage::next`].
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// One page of tasks.
#[derive(Debug, Clone)]
pub struct ListPage {
    /// Newest first.
    pub tasks: Vec<Listed>,
    /// The cursor of the next page; none on the last.
    pub next: Option<u64>,
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its place in the list, which grows with each task that is accepted and never changes.
    pub place: u64,
    /// Its key.
    pub key: TaskKey,
    /// Its status.
    pub status: Status,
    /// The objective's beginning.
    pub summary: Arc<str>,
    /// How urgent.
    pub priority: Priority,
    /// When it was taken.
    pub accepted_at: At,
    /// When it last changed.
    pub updated_at: At,
}

impl Listed {
    /// What lists show of a task.
    fn of(task: &Task, place: u64) -> Self {
        Self {
            place,
            key: task.key.clone(),
            status: task.status(),
            summary: task.summary.clone(),
            priority: task.options.priority,
            accepted_at: task.accepted_at,
            updated_at: task.updated_at,
        }
    }
}

/// The head of a queue.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// In order.
    pub entries: Vec<(TaskKey, QueueEntry)>,
    /// How many wait, per priority from low to high.
    pub counts: [u32; 3],
}

/// Things that are due.
#[derive(Debug, Clone)]
pub struct DuePage<T> {
    /// Earliest first.
    pub due: Vec<(TaskKey, T)>,
    /// When the next one that is not among them falls due, as far as the store can tell cheaply.
    pub next: Option<At>,
}

/// An amount, spent or to be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spend {
    /// Tokens, in and out together.
    pub tokens: u64,
    /// Money, in millionths of a US dollar.
    pub micro_usd: u64,
}

/// The answer to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// Set aside.
    Granted,
    /// This scope would go over its limit; nothing was set aside anywhere.
    Exceeded(Scope),
}

/// How a scope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Its limit, if it has one.
    pub limit: Option<Spend>,
    /// Spent, expired reservations included.
    pub spent: Spend,
    /// Set aside.
    pub reserved: Spend,
}

/// What a store has done since it was opened, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Commits applied.
    pub commits: u64,
    /// Transactions that waited for the disk.
    pub synced_transactions: u64,
    /// All calls that made the disk write through: those of synced transactions and of checkpoints.
    pub fsyncs: u64,
    /// Tasks that have not ended.
    pub open_tasks: u64,
    /// How often a server was asked, where there is one.
    pub round_trips: u64,
    /// With how many commands.
    pub commands: u64,
}
