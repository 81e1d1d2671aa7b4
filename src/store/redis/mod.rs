//! Tasks in a Redis server, which any number of processes share: each change is one script that the server runs whole, and
//! whatever falls due is judged by the server's clock. Nothing is kept here but connections and who waits for what.

mod beacon;
mod clock;
mod due;
mod feed;
mod gate;
mod ledger;
mod link;
mod opening;
mod options;
mod predecessor;
mod reply;
mod roster;
mod script;
mod task_wire;
mod tasks;
mod told;
mod transfer;

pub use beacon::Beacon;
pub use options::RedisOptions;

use super::watchers::Watchers;
use super::{
    Balance, Commit, Committed, DuePage, Entry, ExportPage, ExportPlace, ExportQuery, Imported, ListPage, ListQuery,
    Record, Removed, Reservation, RetentionQuery, Spend, Stats, Store, StoreError, StoreFuture, Waiting, Woken,
};
use crate::messages::{AgentRecord, ForeignBeat};
use crate::task::{
    AgentId, At, CallId, Capability, Event, Incarnation, Json, Lease, Scope, Task, TaskId, TaskKey, Tenant, Timer,
};
use clock::ServerClock;
use gate::Gate;
use link::{Again, Link};
use parking_lot::Mutex;
use reply::Reply;
use script::{Call, Script};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A store in a Redis server.
pub struct RedisStore {
    link: Arc<Link>,
    gate: Gate,
    options: RedisOptions,
    clock: ServerClock,
    watchers: Arc<Watchers>,
    /// Reads the feed; none once the store is closed.
    feed: Mutex<Option<AbortHandle>>,
    commits: AtomicU64,
    /// As last told by the server.
    open: AtomicU64,
}

impl RedisStore {
    /// A script with what each is given.
    fn call(&self, script: &'static Script) -> Call {
        Call::new(script, &self.options.prefix, self.clock.injected())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.options.prefix)
    }

    /// Runs a script; gives what it answers behind the moment.
    async fn run(&self, call: Call, again: Again) -> Result<Reply, StoreError> {
        self.read_moment(self.link.run(&call, again).await?)
    }

    fn read_moment(&self, answer: deadpool_redis::redis::Value) -> Result<Reply, StoreError> {
        let mut reply = Reply::of(answer)?;
        self.clock.learn(reply.moment()?);
        Ok(reply)
    }

    /// Likewise when nothing else is answered.
    async fn set(&self, call: Call, again: Again) -> Result<(), StoreError> {
        self.run(call, again).await.map(|_| ())
    }

    fn stop(&self) {
        if let Some(feed) = self.feed.lock().take() {
            feed.abort();
        }
        self.link.close();
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Store ===

impl Store for RedisStore {
    fn describe(&self) -> String {
        self.link.address().to_owned()
    }

    fn now(&self) -> At {
        self.clock.now()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Committed> {
        Box::pin(self.commit_now(commit))
    }

    fn load(&self, key: &TaskKey) -> StoreFuture<'_, Option<Arc<Task>>> {
        Box::pin(self.load_now(key.clone()))
    }

    fn key_of(&self, id: &TaskId) -> StoreFuture<'_, Option<TaskKey>> {
        Box::pin(self.key_of_now(id.clone()))
    }

    fn payload(&self, key: &TaskKey, name: &str) -> StoreFuture<'_, Option<Json>> {
        Box::pin(self.payload_now(key.clone(), name.to_owned()))
    }

    fn events(&self, key: &TaskKey, after: u64, limit: usize) -> StoreFuture<'_, Option<Vec<Event>>> {
        Box::pin(self.events_now(key.clone(), after, limit))
    }

    /// Which version a task is at is not known without asking, so a listener begins at none and reads first.
    fn wake(&self, key: &TaskKey) -> watch::Receiver<Woken> {
        self.watchers.listen(key, 0)
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, ListPage> {
        Box::pin(self.list_now(query))
    }

    fn waiting(&self, capability: &Capability, limit: usize) -> StoreFuture<'_, Waiting> {
        Box::pin(self.waiting_now(capability.clone(), limit))
    }

    fn waiting_capabilities(&self) -> StoreFuture<'_, Vec<Capability>> {
        Box::pin(self.waiting_capabilities_now())
    }

    fn due_timers(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Timer>> {
        Box::pin(self.due_timers_now(limit, claim_ms))
    }

    fn expired_leases(&self, limit: usize, claim_ms: u64) -> StoreFuture<'_, DuePage<Lease>> {
        Box::pin(self.expired_leases_now(limit, claim_ms))
    }

    fn leases(&self) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        Box::pin(self.leases_now())
    }

    fn leases_of(&self, agent: &AgentId) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        Box::pin(self.leases_of_now(agent.clone()))
    }

    fn renew(&self, leases: Vec<(TaskKey, Lease)>, ttl_ms: u64) -> StoreFuture<'_, Vec<(TaskKey, Lease)>> {
        Box::pin(self.renew_now(leases, ttl_ms))
    }

    fn expire_leases_of(&self, agent: &AgentId, incarnation: &Incarnation) -> StoreFuture<'_, ()> {
        let call = self.call(&script::EXPIRE_LEASES).arg(agent.as_str()).arg(incarnation.as_str());
        Box::pin(self.set(call, Again::Yes))
    }

    fn drop_stray(&self, key: &TaskKey, entry: Entry) -> StoreFuture<'_, bool> {
        Box::pin(self.drop_stray_now(key.clone(), entry))
    }

    fn put_agent(&self, record: AgentRecord, ttl_ms: u64) -> StoreFuture<'_, ()> {
        Box::pin(self.put_agent_now(record, ttl_ms))
    }

    fn remove_agent(&self, agent: &AgentId) -> StoreFuture<'_, ()> {
        let listed = self.options.predecessor_keys;
        let goodbye = if listed { predecessor::goodbye(agent) } else { String::new() };
        Box::pin(self.set(self.call(&script::REMOVE_AGENT).arg(agent.as_str()).arg(goodbye), Again::Yes))
    }

    fn agents_changed(&self) -> watch::Receiver<()> {
        self.watchers.listen_to_agents()
    }

    fn agents(&self) -> StoreFuture<'_, Vec<AgentRecord>> {
        Box::pin(self.agents_now())
    }

    fn foreign_beats(&self) -> StoreFuture<'_, Vec<ForeignBeat>> {
        Box::pin(self.foreign_beats_now())
    }

    fn capabilities_seen(&self) -> StoreFuture<'_, Vec<(Capability, At)>> {
        Box::pin(self.capabilities_seen_now())
    }

    fn set_context(&self, tenant: &Tenant, field: &str, value: Option<Json>) -> StoreFuture<'_, ()> {
        let theirs = self.options.predecessor_keys && *tenant == Tenant::default();
        let call = self.call(&script::SET_CONTEXT).arg(tenant.as_str()).arg(field).arg(u8::from(value.is_some()));
        let call = call.arg(value.as_ref().map_or("", Json::text)).arg(u8::from(theirs));
        Box::pin(self.set(call, Again::Yes))
    }

    fn context(&self, tenant: &Tenant) -> StoreFuture<'_, Vec<(Arc<str>, Json)>> {
        Box::pin(self.context_now(tenant.clone()))
    }

    fn append_trace(&self, key: &TaskKey, agent: &AgentId, steps: Vec<Json>) -> StoreFuture<'_, ()> {
        Box::pin(self.append_trace_now(key.clone(), agent.clone(), steps))
    }

    fn trace(&self, key: &TaskKey, agent: &AgentId) -> StoreFuture<'_, Vec<Json>> {
        Box::pin(self.trace_now(key.clone(), agent.clone()))
    }

    fn set_budget(&self, scope: &Scope, limit: Option<Spend>) -> StoreFuture<'_, ()> {
        let [tokens, money] = ledger::limit_text(limit);
        Box::pin(self.set(self.call(&script::SET_BUDGET).arg(scope.as_str()).arg(tokens).arg(money), Again::Yes))
    }

    fn reserve(&self, call: &CallId, scopes: &[Scope], upper: Spend, expires_ms: u64) -> StoreFuture<'_, Reservation> {
        Box::pin(self.reserve_now(call.clone(), scopes.to_vec(), upper, expires_ms))
    }

    fn settle(&self, call: &CallId, actual: Spend) -> StoreFuture<'_, bool> {
        Box::pin(self.settle_now(call.clone(), actual))
    }

    fn balance(&self, scope: &Scope) -> StoreFuture<'_, Balance> {
        Box::pin(self.balance_now(scope.clone()))
    }

    fn count_finished(&self, query: RetentionQuery) -> StoreFuture<'_, u64> {
        Box::pin(self.count_finished_now(query))
    }

    fn remove_finished(&self, query: RetentionQuery, limit: usize) -> StoreFuture<'_, Removed> {
        Box::pin(self.remove_finished_now(query, limit))
    }

    fn export(&self, query: ExportQuery, from: ExportPlace) -> StoreFuture<'_, ExportPage> {
        Box::pin(self.export_now(query, from))
    }

    fn import(&self, record: Record, dry_run: bool) -> StoreFuture<'_, Imported> {
        Box::pin(self.import_now(record, dry_run))
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        let none: [&str; 0] = [];
        Box::pin(self.set(self.call(&script::CHECK).each(none.iter(), |call, key| call.arg(*key)), Again::Yes))
    }

    fn stats(&self) -> Stats {
        let (round_trips, commands) = self.link.traffic();
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            open_tasks: self.open.load(Ordering::Relaxed),
            round_trips,
            commands,
            ..Stats::default()
        }
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.stop();
            Ok(())
        })
    }
}
