//! A store with trouble on purpose around any other. Each call asks the plan what it meets; what meets nothing is the
//! store's own.

use super::clock::StandStill;
use super::{Call, StoreFaults, Trouble};
use crate::messages::{AgentRecord, ForeignBeat};
use crate::store::{
    Balance, Commit, Committed, DuePage, Entry, ExportPage, ExportPlace, ExportQuery, Imported, ListPage, ListQuery,
    Record, Removed, Reservation, RetentionQuery, Spend, Stats, Store, StoreError, StoreFuture, Waiting, Woken,
};
use crate::task::{
    AgentId, At, CallId, Capability, Event, Incarnation, Json, Lease, Scope, Task, TaskId, TaskKey, Tenant, Timer,
};
use std::sync::Arc;
use tokio::sync::watch;

/// A store that does what another does, where its faults let it.
pub struct FaultyStore {
    store: Arc<dyn Store>,
    faults: StoreFaults,
    /// The store works on threads of its own.
    is_elsewhere: bool,
}

impl FaultyStore {
    /// This store, with these faults.
    pub fn new(store: Arc<dyn Store>, faults: StoreFaults) -> Self {
        Self { store, faults, is_elsewhere: false }
    }

    /// Lets no paused time pass while the store is at work on its own threads, as SQLite is: otherwise whoever waits for
    /// it would see its time-out at once.
    pub fn elsewhere(self) -> Self {
        Self { is_elsewhere: true, ..self }
    }

    fn through<'a, T: Send + 'a>(&'a self, call: Call, made: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let unavailable = |what: &str| Err(StoreError::Unavailable(format!("{what}, on purpose").into()));
            match self.faults.meets(call) {
                None => self.made(made).await,
                Some(Trouble::Fails) => unavailable("it fails"),
                Some(Trouble::AnswerIsLost) => {
                    let _lost = self.made(made).await;
                    unavailable("its answer is lost")
                }
                Some(Trouble::Slow(by)) => {
                    tokio::time::sleep(by).await;
                    self.made(made).await
                }
                Some(Trouble::Hangs) => std::future::pending().await,
            }
        })
    }

    async fn made<T>(&self, made: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let _still = self.is_elsewhere.then(StandStill::begin);
        made.await
    }
}

impl Store for FaultyStore {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn now(&self) -> At {
        self.store.now()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Committed> {
        self.through(Call::Commit, self.store.commit(commit))
    }

    fn load(&self, key: &TaskKey) -> StoreFuture<'_, Option<Arc<Task>>> {
        self.through(Call::Load, self.store.load(key))
    }

    fn key_of(&self, id: &TaskId) -> StoreFuture<'_, Option<TaskKey>> {
        self.through(Call::Read, self.store.key_of(id))
    }

    fn payload(&self, key: &TaskKey, name: &str) -> StoreFuture<'_, Option<Json>> {
        self.through(Call::Read, self.store.payload(key, name))
    }

    fn events(&self, key: &TaskKey, after: u64, limit: usize) -> StoreFuture<'_, Option<Vec<Event>>> {
        self.through(Call::Read, self.store.events(key, after, limit))
    }

    fn wake(&self, key: &TaskKey) -> watch::Receiver<Woken> {
        self.store.wake(key)
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, ListPage> {
        self.through(Call::Read, self.store.list(query))
    }

    fn waiting(&self, capability: &Capability, limit: usize) -> StoreFuture<'_, Waiting> {
        self.through(Call::Read, self.store.waiting(capability, limit))
    }

    fn waiting_capabilities(&self) -> StoreFuture<'_, Vec<Capability>> {
        self.through(Call::Read, self.store.waiting_capabilities())
    }

    fn due_timers(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Timer>> {
        self.through(Call::Read, self.store.due_timers(limit, claim_ms))
    }

    fn expired_leases(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Lease>> {
        self.through(Call::Read, self.store.expired_leases(limit, claim_ms))
    }

    fn leases(&self) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.through(Call::Read, self.store.leases())
    }

    fn leases_of(&self, agent: &AgentId) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.through(Call::Read, self.store.leases_of(agent))
    }

    fn renew(&self, leases: Vec<(TaskKey, Lease)>, ttl_ms: u64) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        self.through(Call::Renew, self.store.renew(leases, ttl_ms))
    }

    fn expire_leases_of(&self, agent: &AgentId, incarnation: &Incarnation) -> StoreFuture<'_, ()> {
        self.through(Call::Renew, self.store.expire_leases_of(agent, incarnation))
    }

    fn drop_stray(&self, key: &TaskKey, entry: Entry) -> StoreFuture<'_, bool> {
        self.through(Call::Write, self.store.drop_stray(key, entry))
    }

    fn put_agent(&self, record: AgentRecord, ttl_ms: u64) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.put_agent(record, ttl_ms))
    }

    fn remove_agent(&self, agent: &AgentId) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.remove_agent(agent))
    }

    fn agents_changed(&self) -> watch::Receiver<()> {
        self.store.agents_changed()
    }

    fn agents(&self) -> StoreFuture<'_, Vec<AgentRecord>> {
        self.through(Call::Read, self.store.agents())
    }

    fn foreign_beats(&self) -> StoreFuture<'_, Vec<ForeignBeat>> {
        self.through(Call::Read, self.store.foreign_beats())
    }

    fn capabilities_seen(&self) -> StoreFuture<'_, Vec<(Capability, At)>> {
        self.through(Call::Read, self.store.capabilities_seen())
    }

    fn set_context(&self, tenant: &Tenant, field: &str, value: Option<Json>) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.set_context(tenant, field, value))
    }

    fn context(&self, tenant: &Tenant) -> StoreFuture<'_, Vec<(Arc<str>, Json)>> {
        self.through(Call::Read, self.store.context(tenant))
    }

    fn append_trace(&self, key: &TaskKey, agent: &AgentId, steps: Vec<Json>) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.append_trace(key, agent, steps))
    }

    fn trace(&self, key: &TaskKey, agent: &AgentId) -> StoreFuture<'_, Vec<Json>> {
        self.through(Call::Read, self.store.trace(key, agent))
    }

    fn set_budget(&self, scope: &Scope, limit: Option<Spend>) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.set_budget(scope, limit))
    }

    fn reserve(&self, call: &CallId, scopes: &[Scope], upper: Spend, expires_ms: u64) -> StoreFuture<'_, Reservation> {
        self.through(Call::Write, self.store.reserve(call, scopes, upper, expires_ms))
    }

    fn settle(&self, call: &CallId, actual: Spend) -> StoreFuture<'_, bool> {
        self.through(Call::Write, self.store.settle(call, actual))
    }

    fn balance(&self, scope: &Scope) -> StoreFuture<'_, Balance> {
        self.through(Call::Read, self.store.balance(scope))
    }

    fn count_finished(&self, query: RetentionQuery) -> StoreFuture<'_, u64> {
        self.through(Call::Read, self.store.count_finished(query))
    }

    fn remove_finished(&self, query: RetentionQuery, limit: usize) -> StoreFuture<'_, Removed> {
        self.through(Call::Write, self.store.remove_finished(query, limit))
    }

    fn export(&self, query: ExportQuery, from: ExportPlace) -> StoreFuture<'_, ExportPage> {
        self.through(Call::Read, self.store.export(query, from))
    }

    fn import(&self, record: Record, dry_run: bool) -> StoreFuture<'_, Imported> {
        self.through(Call::Write, self.store.import(record, dry_run))
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        self.through(Call::Write, self.store.check())
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Never fails on purpose: what was opened is to be closed.
    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.made(self.store.close()))
    }
}
