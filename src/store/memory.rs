//! The store that forgets: everything in this process's memory, for the demo and for tests. It holds states and events as
//! they are and serialises nothing.

mod retention;
mod transfer;

use super::admission::{Known, turned_away};
use super::index::Index;
use super::ledger::{self, MemoryShelf};
use super::roster::Roster;
use super::watchers::Watchers;
use super::{
    Balance, Clock, Commit, Committed, DuePage, ExportPage, ExportPlace, ExportQuery, Imported, ListPage, ListQuery,
    Listed, Record, Removed, Reservation, RetentionQuery, Spend, Stats, Store, StoreError, StoreFuture, Waiting, Woken,
};
use crate::messages::{AgentRecord, ForeignBeat};
use crate::task::{
    AgentId, At, CallId, Capability, CommitId, Digest, Event, IdempotencyKey, Incarnation, Json, Lease, Scope, Status,
    Task, TaskId, TaskKey, Tenant, Timer,
};
use foldhash::HashMap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// A store in memory.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    tasks: Mutex<Tasks>,
    beside: Mutex<Beside>,
    watchers: Watchers,
    closed: AtomicBool,
}

/// Tasks and what follows from them.
#[derive(Default)]
struct Tasks {
    kept: HashMap<TaskKey, Box<Kept>>,
    /// Ids are unique over all tenants.
    ids: HashMap<TaskId, TaskKey>,
    submissions: HashMap<(Tenant, IdempotencyKey), TaskKey>,
    lists: Lists,
    index: Index,
    open: u64,
    commits: u64,
}

/// One task with all that belongs to it.
struct Kept {
    task: Arc<Task>,
    ordinal: u64,
    digest: Option<Digest>,
    idempotency_key: Option<IdempotencyKey>,
    commits: Vec<KeptCommit>,
    payloads: HashMap<Arc<str>, Json>,
}

/// The events of one commit, as they came.
struct KeptCommit {
    id: CommitId,
    events: Arc<[Event]>,
}

/// What is kept beside the tasks.
#[derive(Default)]
struct Beside {
    roster: Roster,
    context: BTreeMap<Tenant, BTreeMap<Arc<str>, Json>>,
    traces: BTreeMap<(TaskKey, AgentId), Vec<Json>>,
    ledger: MemoryShelf,
}

impl MemoryStore {
    /// An empty store that goes by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            tasks: Mutex::default(),
            beside: Mutex::default(),
            watchers: Watchers::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Does something with the tasks when it is awaited.
    fn tasks<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tasks, At) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            self.open()?;
            work(&mut self.tasks.lock(), self.clock.now())
        })
    }

    /// Likewise with what is kept beside them.
    fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Beside, At) -> T + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            self.open()?;
            Ok(work(&mut self.beside.lock(), self.clock.now()))
        })
    }

    /// Likewise with the agents, and wakes whoever listens when it says that they are others.
    fn roster(&self, work: impl FnOnce(&mut Roster, At) -> bool + Send + 'static) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.beside(|beside, now| work(&mut beside.roster, now)).await? {
                self.watchers.wake_for_agents();
            }
            Ok(())
        })
    }

    fn open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("it was closed".into()));
        }
        Ok(())
    }
}

// === impl Store ===

impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory".into()
    }

    fn now(&self) -> At {
        self.clock.now()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            self.open()?;
            commit.check()?;
            let task = commit.task.clone();
            let committed = self.tasks.lock().commit(commit, self.clock.now());
            if committed == Committed::Applied {
                self.watchers.wake(&task.key, Woken::at(&task));
            }
            Ok(committed)
        })
    }

    fn load(&self, key: &TaskKey) -> StoreFuture<'_, Option<Arc<Task>>> {
        let key = key.clone();
        self.tasks(move |tasks, _| Ok(tasks.kept.get(&key).map(|kept| kept.task.clone())))
    }

    fn key_of(&self, id: &TaskId) -> StoreFuture<'_, Option<TaskKey>> {
        let id = id.clone();
        self.tasks(move |tasks, _| Ok(tasks.ids.get(&id).cloned()))
    }

    fn payload(&self, key: &TaskKey, name: &str) -> StoreFuture<'_, Option<Json>> {
        let (key, name) = (key.clone(), name.to_owned());
        self.tasks(move |tasks, _| Ok(tasks.kept.get(&key).and_then(|kept| kept.payloads.get(name.as_str()).cloned())))
    }

    fn events(&self, key: &TaskKey, after: u64, limit: usize) -> StoreFuture<'_, Option<Vec<Event>>> {
        let key = key.clone();
        self.tasks(move |tasks, _| {
            Ok(tasks.kept.get(&key).map(|kept| kept.events(after).take(limit).cloned().collect()))
        })
    }

    fn wake(&self, key: &TaskKey) -> watch::Receiver<Woken> {
        // The tasks stay locked, so that no commit comes between reading the version and listening.
        let tasks = self.tasks.lock();
        self.watchers.listen(key, tasks.kept.get(key).map_or(0, |kept| kept.task.version))
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, ListPage> {
        self.tasks(move |tasks, _| Ok(tasks.list(&query)))
    }

    fn waiting(&self, capability: &Capability, limit: usize) -> StoreFuture<'_, Waiting> {
        let capability = capability.clone();
        self.tasks(move |tasks, _| Ok(tasks.index.waiting(&capability, limit)))
    }

    fn waiting_capabilities(&self) -> StoreFuture<'_, Vec<Capability>> {
        self.tasks(|tasks, _| Ok(tasks.index.waiting_capabilities()))
    }

    fn due_timers(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Timer>> {
        self.tasks(move |tasks, now| Ok(tasks.index.due_timers(now, limit, claim_ms)))
    }

    fn expired_leases(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Lease>> {
        self.tasks(move |tasks, now| Ok(tasks.index.expired_leases(now, limit, claim_ms)))
    }

    fn leases(&self) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.tasks(|tasks, _| Ok(tasks.index.leases()))
    }

    fn leases_of(&self, agent: &AgentId) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        let agent = agent.clone();
        self.tasks(move |tasks, _| Ok(tasks.index.leases_of(&agent)))
    }

    fn renew(&self, leases: Vec<(TaskKey, Lease)>, ttl_ms: u64) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.tasks(move |tasks, now| Ok(tasks.index.renew(leases, now.plus(ttl_ms))))
    }

    fn expire_leases_of(&self, agent: &AgentId, incarnation: &Incarnation) -> StoreFuture<'_, ()> {
        let (agent, incarnation) = (agent.clone(), incarnation.clone());
        self.tasks(move |tasks, now| {
            tasks.index.expire_leases_of(&agent, &incarnation, now);
            Ok(())
        })
    }

    fn put_agent(&self, record: AgentRecord, ttl_ms: u64) -> StoreFuture<'_, ()> {
        self.roster(move |roster, now| roster.put(record, now, now.plus(ttl_ms)))
    }

    fn remove_agent(&self, agent: &AgentId) -> StoreFuture<'_, ()> {
        let agent = agent.clone();
        self.roster(move |roster, _| roster.remove(&agent))
    }

    fn agents_changed(&self) -> watch::Receiver<()> {
        self.watchers.listen_to_agents()
    }

    fn agents(&self) -> StoreFuture<'_, Vec<AgentRecord>> {
        self.beside(|beside, now| beside.roster.live(now))
    }

    fn foreign_beats(&self) -> StoreFuture<'_, Vec<ForeignBeat>> {
        self.beside(|_, _| Vec::new())
    }

    fn capabilities_seen(&self) -> StoreFuture<'_, Vec<(Capability, At)>> {
        self.beside(|beside, _| beside.roster.seen())
    }

    fn set_context(&self, tenant: &Tenant, field: &str, value: Option<Json>) -> StoreFuture<'_, ()> {
        let (tenant, field) = (tenant.clone(), Arc::from(field));
        self.beside(move |beside, _| {
            let fields = beside.context.entry(tenant).or_default();
            match value {
                Some(value) => fields.insert(field, value),
                None => fields.remove(&field),
            };
        })
    }

    fn context(&self, tenant: &Tenant) -> StoreFuture<'_, Vec<(Arc<str>, Json)>> {
        let tenant = tenant.clone();
        self.beside(move |beside, _| {
            let fields = beside.context.get(&tenant).into_iter().flatten();
            fields.map(|(field, value)| (field.clone(), value.clone())).collect()
        })
    }

    fn append_trace(&self, key: &TaskKey, agent: &AgentId, steps: Vec<Json>) -> StoreFuture<'_, ()> {
        let whose = (key.clone(), agent.clone());
        self.beside(move |beside, _| beside.traces.entry(whose).or_default().extend(steps))
    }

    fn trace(&self, key: &TaskKey, agent: &AgentId) -> StoreFuture<'_, Vec<Json>> {
        let whose = (key.clone(), agent.clone());
        self.beside(move |beside, _| beside.traces.get(&whose).cloned().unwrap_or_default())
    }

    fn set_budget(&self, scope: &Scope, limit: Option<Spend>) -> StoreFuture<'_, ()> {
        let scope = scope.clone();
        self.beside(move |beside, _| {
            let Ok(()) = ledger::set_budget(&mut beside.ledger, &scope, limit);
        })
    }

    fn reserve(&self, call: &CallId, scopes: &[Scope], upper: Spend, expires_ms: u64) -> StoreFuture<'_, Reservation> {
        let (call, scopes) = (call.clone(), scopes.to_vec());
        self.beside(move |beside, now| {
            let times = (now, now.plus(expires_ms));
            let Ok(reservation) = ledger::reserve(&mut beside.ledger, &call, &scopes, upper, times);
            reservation
        })
    }

    fn settle(&self, call: &CallId, actual: Spend) -> StoreFuture<'_, bool> {
        let call = call.clone();
        self.beside(move |beside, now| {
            let Ok(settled) = ledger::settle(&mut beside.ledger, &call, actual, now);
            settled
        })
    }

    fn balance(&self, scope: &Scope) -> StoreFuture<'_, Balance> {
        let scope = scope.clone();
        self.beside(move |beside, now| {
            let Ok(balance) = ledger::balance(&mut beside.ledger, &scope, now);
            balance
        })
    }

    fn count_finished(&self, query: RetentionQuery) -> StoreFuture<'_, u64> {
        Box::pin(async move { self.count_finished_now(&query) })
    }

    fn remove_finished(&self, query: RetentionQuery, limit: usize) -> StoreFuture<'_, Removed> {
        Box::pin(async move { self.remove_finished_now(&query, limit) })
    }

    fn export(&self, query: ExportQuery, from: ExportPlace) -> StoreFuture<'_, ExportPage> {
        Box::pin(async move { self.export_now(&query, &from) })
    }

    fn import(&self, record: Record, dry_run: bool) -> StoreFuture<'_, Imported> {
        Box::pin(async move { self.import_now(record, dry_run) })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        self.tasks(|_, _| Ok(()))
    }

    fn stats(&self) -> Stats {
        let tasks = self.tasks.lock();
        Stats { commits: tasks.commits, open_tasks: tasks.open, ..Stats::default() }
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            Ok(())
        })
    }
}

// === impl Tasks ===

impl Tasks {
    fn commit(&mut self, commit: Commit, now: At) -> Committed {
        let outcome = match self.kept.get(&commit.key) {
            Some(kept) if kept.has(commit.expected + 1, &commit.id) => Some(Committed::AlreadyApplied),
            _ if commit.expected == 0 => self.turned_away(&commit),
            Some(kept) if (kept.task.version, kept.task.updated_at) == (commit.expected, commit.expected_at) => None,
            _ => Some(Committed::Conflict),
        };
        if let Some(outcome) = outcome {
            return outcome;
        }
        self.index.apply(&commit.key, &commit.effects, now);
        self.write(commit);
        self.commits += 1;
        Committed::Applied
    }

    fn turned_away(&self, commit: &Commit) -> Option<Committed> {
        let known = |key: &TaskKey| Known { key: key.clone(), digest: self.kept.get(key).and_then(|kept| kept.digest) };
        let submission = commit.submission.as_ref();
        let by_id = self.ids.get(&commit.key.id).map(known);
        let idempotency_key = submission.and_then(|submission| submission.idempotency_key.clone());
        let by_key = idempotency_key.and_then(|name| self.submissions.get(&(commit.key.tenant.clone(), name)));
        turned_away(&commit.key, submission, by_id, by_key.map(known), self.open)
    }

    fn write(&mut self, commit: Commit) {
        let Commit { id, key, expected, events, task, payloads, submission, .. } = commit;
        let status = task.status();
        self.open += u64::from(expected == 0 && !status.ended());
        if expected == 0 {
            let ordinal = self.lists.add(&key, status);
            self.ids.insert(key.id.clone(), key.clone());
            let digest = submission.as_ref().map(|submission| submission.digest);
            let idempotency_key = submission.and_then(|submission| submission.idempotency_key);
            if let Some(name) = idempotency_key.clone() {
                self.submissions.insert((key.tenant.clone(), name), key.clone());
            }
            self.lists.ended(&task, ordinal);
            let payloads = payloads.into_iter().collect();
            let commits = vec![KeptCommit { id, events }];
            self.kept.insert(key, Box::new(Kept { task, ordinal, digest, idempotency_key, commits, payloads }));
        } else if let Some(kept) = self.kept.get_mut(&key) {
            self.lists.moved(&key, kept.ordinal, kept.task.status(), status);
            self.open -= u64::from(status.ended() && kept.task.end.is_none());
            self.lists.ended(&task, kept.ordinal);
            kept.task = task;
            kept.commits.push(KeptCommit { id, events });
            kept.payloads.extend(payloads);
        }
    }

    fn list(&self, query: &ListQuery) -> ListPage {
        let (page, next) = self.lists.page(query);
        let listed = |(place, key): (u64, &TaskKey)| Some(Listed::of(&self.kept.get(key)?.task, place));
        ListPage { tasks: page.into_iter().filter_map(listed).collect(), next }
    }
}

impl Kept {
    /// Whether this commit stands where it would be written. A commit that is not the next comes rarely.
    fn has(&self, first: u64, id: &CommitId) -> bool {
        first <= self.task.version && self.commits.iter().any(|commit| commit.first() == first && commit.id == *id)
    }

    /// The events above a number.
    fn events(&self, after: u64) -> impl Iterator<Item = &Event> {
        let skipped = self.commits.partition_point(|commit| commit.last() <= after);
        self.commits[skipped..].iter().flat_map(|commit| &*commit.events).filter(move |event| event.seq > after)
    }
}

impl KeptCommit {
    /// The number of its first event; a commit has at least one.
    fn first(&self) -> u64 {
        self.events.first().map_or(0, |event| event.seq)
    }

    /// The number of its last event.
    fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }
}

/// The order in which tasks came, in all and by each of the ways to ask for a part of them.
#[derive(Default)]
struct Lists {
    keys: BTreeMap<u64, TaskKey>,
    /// The newest ordinal.
    newest: u64,
    /// What has ended, by when.
    ended: BTreeSet<(At, u64)>,
    parts: HashMap<(Option<Tenant>, Option<Status>), BTreeSet<u64>>,
}

impl Lists {
    /// Adds a new task; gives its ordinal, from 1.
    fn add(&mut self, key: &TaskKey, status: Status) -> u64 {
        self.newest += 1;
        let ordinal = self.newest;
        self.keys.insert(ordinal, key.clone());
        self.parts.entry((None, None)).or_default().insert(ordinal);
        self.parts.entry((Some(key.tenant.clone()), None)).or_default().insert(ordinal);
        self.join(key, ordinal, status);
        ordinal
    }

    fn moved(&mut self, key: &TaskKey, ordinal: u64, from: Status, to: Status) {
        if from != to {
            for part in [(None, Some(from)), (Some(key.tenant.clone()), Some(from))] {
                self.parts.entry(part).or_default().remove(&ordinal);
            }
            self.join(key, ordinal, to);
        }
    }

    fn join(&mut self, key: &TaskKey, ordinal: u64, status: Status) {
        for part in [(None, Some(status)), (Some(key.tenant.clone()), Some(status))] {
            self.parts.entry(part).or_default().insert(ordinal);
        }
    }

    /// Notes when a task ended, if it has.
    fn ended(&mut self, task: &Task, ordinal: u64) {
        if let Some(end) = &task.end {
            self.ended.insert((end.at, ordinal));
        }
    }

    fn page(&self, query: &ListQuery) -> (Vec<(u64, &TaskKey)>, Option<u64>) {
        let Some(part) = self.parts.get(&(query.tenant.clone(), query.status)) else { return (Vec::new(), None) };
        let mut rest = part.range(..query.before.unwrap_or(u64::MAX)).rev();
        let page: Vec<u64> = rest.by_ref().take(query.limit).copied().collect();
        let next = page.last().copied().filter(|_| rest.next().is_some());
        (page.into_iter().filter_map(|place| Some((place, self.keys.get(&place)?))).collect(), next)
    }
}
