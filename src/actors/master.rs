//! The master: takes tasks and advances them, one decision of the core and one commit at a time per task. It holds no
//! task that the store does not hold; whatever it forgets, it reads again.

mod ask;
mod doubt;
mod estimate;
mod send;

use super::directory::Directory;
use super::patience::patiently;
use super::registry::Roster;
use super::{ActorRef, Behaviour, Handle, Reply, Turn};
use crate::messages::{
    Advance, CallContext, Cancel, Dispatch, MasterError, QueueDepths, SlotsFree, StepResult, Submit, Unreachable,
};
use crate::store::{Commit, Committed, Store, StoreError, SubmissionRecord};
use crate::task::{
    self, At, AttemptEnd, CommitId, Decision, Fleet, Json, Lease, Payload, Pipeline, Refusal, Request, Submission,
    Task, TaskKey,
};
use crate::telemetry::{Counters, log_events};
use ask::{Ask, Concern, Sender, not_committed, prepare, store_failed};
use estimate::Booking;
use foldhash::{HashMap, HashMapExt as _, HashSet};
use lru::LruCache;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// What a master is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct MasterParts {
    /// The only memory.
    pub store: Arc<dyn Store>,
    /// What a new task's plan is made from; it may change.
    pub pipeline: watch::Receiver<Arc<Pipeline>>,
    /// Where agents are reached.
    pub directory: Directory,
    /// Who is alive.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Who is told of agents that are not reached. Set once the node has started it.
    pub registry: Arc<OnceLock<ActorRef<Unreachable>>>,
    /// Who claims queued steps. Set once the node has started it: a master and its dispatcher know each other.
    pub dispatcher: Arc<OnceLock<ActorRef<SlotsFree>>>,
    /// True once the process takes no more tasks.
    pub draining: Arc<AtomicBool>,
    /// What is counted for the metrics.
    pub counters: Arc<Counters>,
    /// The numbers.
    pub options: MasterOptions,
}

/// A master's numbers.
#[derive(Debug, Clone, Copy)]
pub struct MasterOptions {
    /// How long a heartbeat counts, in milliseconds.
    pub heartbeat_ttl_ms: u64,
    /// The most tasks open in the store; past it, submissions are refused.
    pub max_open_tasks: u64,
    /// The most task states kept in memory between two inputs.
    pub cached_tasks: NonZeroUsize,
}

/// How often a commit that lost a race is decided anew before the caller is told to come back.
const MAX_CONFLICTS: u32 = 10;
/// How often a commit that the store could not take is tried, under the same id.
const COMMIT_TRIES: u32 = 3;
/// When a caller who met a full or failing store should come back, in seconds.
const RETRY_AFTER_S: u32 = 2;

/// Takes tasks and advances them.
pub struct Master {
    parts: MasterParts,
    fleet: Fleet,
    /// What names this life's commits, with a number behind it.
    life: String,
    commits: u64,
    /// The tasks that something is being done about, each with what waits behind it.
    busy: HashMap<TaskKey, VecDeque<Ask>>,
    cache: LruCache<TaskKey, Known>,
    /// The last commit of each task of which it is not known whether it was written.
    doubtful: LruCache<TaskKey, Commit>,
    /// Leases that their agents accepted and that are to be renewed with the next batch.
    accepted: HashSet<(TaskKey, Lease)>,
    /// Leases whose slots the estimate counts, with the number of recounts that had begun before.
    counted: HashMap<(TaskKey, Lease), u64>,
    /// Those among them that another master placed, whose end nobody tells.
    others: HashSet<(TaskKey, Lease)>,
    /// Leases whose slots are booked, and whose commits are on their way.
    booked: HashSet<(TaskKey, Lease)>,
    recounts: u64,
    is_recounting: bool,
    /// What was asked before this life knew which slots are taken.
    held: Option<Vec<(TaskKey, Ask)>>,
}

/// A task between two inputs.
struct Known {
    task: Arc<Task>,
    /// Its question, when it is small and was submitted in this life: it need not be read again for each step.
    request: Option<Arc<Request>>,
}

/// What a decision builds on.
#[derive(Clone, Copy)]
struct Basis {
    /// The state came from the cache, which may be behind another master.
    is_cached: bool,
    /// How many commits of this decision lost a race already.
    conflicts: u32,
}

/// What a commit carries besides its decision.
struct Enclosed {
    payloads: Vec<(Arc<str>, Json)>,
    submission: Option<SubmissionRecord>,
}

/// A decision on its way to the store.
struct Proposal {
    ask: Ask,
    commit: Commit,
    booking: Booking,
    conflicts: u32,
}

// === impl Master ===

impl Master {
    /// A new life: everything it needs to know is read again.
    pub fn create(parts: MasterParts) -> Self {
        let fleet = Fleet::new(parts.options.heartbeat_ttl_ms);
        let cache = LruCache::new(parts.options.cached_tasks);
        let doubtful = LruCache::new(parts.options.cached_tasks);
        Self {
            parts,
            fleet,
            life: uuid::Uuid::now_v7().to_string(),
            commits: 0,
            busy: HashMap::new(),
            cache,
            doubtful,
            accepted: HashSet::default(),
            counted: HashMap::new(),
            others: HashSet::default(),
            booked: HashSet::default(),
            recounts: 0,
            is_recounting: false,
            held: Some(Vec::new()),
        }
    }

    /// Queues an ask behind what is being done about its task, or begins with it.
    fn take(&mut self, key: TaskKey, ask: Ask, turn: &mut Turn<'_, Self>) {
        if let Some(held) = &mut self.held {
            held.push((key, ask));
            return;
        }
        if let Some(waiting) = self.busy.get_mut(&key) {
            waiting.push_back(ask);
            return;
        }
        self.busy.insert(key.clone(), VecDeque::new());
        self.begin(key, ask, 0, turn);
    }

    /// The task is free again: goes on with what waits, if anything.
    fn next(&mut self, key: TaskKey, turn: &mut Turn<'_, Self>) {
        match self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            // Deferred, so that a long queue does not become a deep stack.
            Some(ask) => turn.defer(move |master, turn| master.begin(key, ask, 0, turn)),
            None => {
                self.busy.remove(&key);
            }
        }
    }

    fn begin(&mut self, key: TaskKey, ask: Ask, conflicts: u32, turn: &mut Turn<'_, Self>) {
        let concern = match ask {
            Ask::Submit { submission, sender } => {
                return self.accept(*submission, sender, conflicts, turn);
            }
            Ask::Concern(concern) => concern,
        };
        if let Some(commit) = self.doubtful.pop(&key) {
            return self.find_out(commit, concern, conflicts, turn);
        }
        if let Some(task) = self.cache.get(&key).map(|known| known.task.clone()) {
            return self.decide(&task, concern, Basis { is_cached: true, conflicts }, turn);
        }
        let store = self.parts.store.clone();
        let wanted = key.clone();
        let load = async move { patiently(store.load(&wanted)).await };
        turn.spawn(load, move |master, loaded, turn| match loaded {
            Ok(Some(task)) => master.decide(&task, concern, Basis { is_cached: false, conflicts }, turn),
            Ok(None) => {
                concern.refuse(MasterError::NotFound(format!("there is no task {}", key.id).into()));
                master.next(key, turn);
            }
            Err(error) => {
                concern.refuse(store_failed(&error));
                master.next(key, turn);
            }
        });
    }

    // === Deciding ===

    fn accept(&mut self, submission: Submission, sender: Sender, conflicts: u32, turn: &mut Turn<'_, Self>) {
        let key = submission.key.clone();
        let pipeline = self.parts.pipeline.borrow().clone();
        let plan = sender.plan(&key.id, &pipeline);
        let prepared = prepare(&submission, plan, self.parts.options.max_open_tasks);
        let (plan, request, payloads, record) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                sender.refuse(error);
                return self.next(key, turn);
            }
        };
        let decision = task::accept(&submission, request, plan, self.world());
        if let Err(error) = sender.accepts(&decision.task) {
            return self.unless_there(key, sender, error, turn);
        }
        let ask = Ask::Submit { submission: Box::new(submission), sender };
        self.propose(None, decision, Enclosed { payloads, submission: Some(record) }, ask, conflicts, turn);
    }

    fn decide(&mut self, task: &Arc<Task>, concern: Concern, basis: Basis, turn: &mut Turn<'_, Self>) {
        if !task.readable() {
            concern.refuse(store_failed(&StoreError::Newer(format!("task {}", task.key).into())));
            return self.next(task.key.clone(), turn);
        }
        let (input, payloads) = concern.input(task);
        match task::decide(task, input, self.world()) {
            Ok(decision) => {
                let enclosed = Enclosed { payloads, submission: None };
                self.propose(Some(task), decision, enclosed, Ask::Concern(concern), basis.conflicts, turn);
            }
            // A commit finds out when the cache is behind another master; a refusal has to look.
            Err(refusal) if basis.is_cached && refusal != Refusal::NoSlot => {
                self.cache.pop(&task.key);
                self.begin(task.key.clone(), Ask::Concern(concern), basis.conflicts, turn);
            }
            Err(refusal) => {
                concern.settle(refusal, task);
                self.next(task.key.clone(), turn);
            }
        }
    }

    // === Committing ===

    fn propose(
        &mut self,
        before: Option<&Arc<Task>>,
        decision: Decision,
        enclosed: Enclosed,
        ask: Ask,
        conflicts: u32,
        turn: &mut Turn<'_, Self>,
    ) {
        let Decision { events, task } = decision;
        let effects = task::effects(before.map(Arc::as_ref), &task);
        let booking = self.book(&task.key, &effects);
        self.commits += 1;
        let commit = Commit {
            id: CommitId::of_parts(&[&self.life, ":", &self.commits.to_string()]),
            key: task.key.clone(),
            expected: before.map_or(0, |task| task.version),
            expected_at: before.map_or(At(0), |task| task.updated_at),
            events: events.into(),
            task: Arc::new(task),
            slots: self.slots(&effects.lease),
            effects: effects.into(),
            payloads: enclosed.payloads,
            submission: enclosed.submission,
        };
        let store = self.parts.store.clone();
        let written = write(store, commit.clone(), ask.tries());
        turn.spawn(written, move |master, written, turn| {
            master.written(Proposal { ask, commit, booking, conflicts }, written, turn);
        });
    }

    fn written(&mut self, proposal: Proposal, written: Result<Committed, StoreError>, turn: &mut Turn<'_, Self>) {
        let key = proposal.commit.key.clone();
        let Proposal { ask, commit, booking, conflicts } = proposal;
        match written {
            Ok(Committed::Applied | Committed::AlreadyApplied) => {
                self.carry_out(&commit, Some(&ask), turn);
                ask.done(commit.task);
                return self.next(key, turn);
            }
            Ok(other) => {
                self.unbook(&key, &booking, &commit.effects);
                match other {
                    Committed::Conflict if conflicts < MAX_CONFLICTS && !matches!(ask, Ask::Submit { .. }) => {
                        self.cache.pop(&key);
                        return self.begin(key, ask, conflicts + 1, turn);
                    }
                    Committed::NoSlot(held) if conflicts < MAX_CONFLICTS => {
                        self.learn(held);
                        return self.begin(key, ask, conflicts + 1, turn);
                    }
                    Committed::Repeated(earlier) => self.repeat(earlier, ask, turn),
                    other => ask.refuse(not_committed(&other)),
                }
            }
            Err(error) => {
                self.unbook(&key, &booking, &commit.effects);
                self.cache.pop(&key);
                tracing::error!(task = %key.id, %error, "a commit was not written");
                self.doubtful.put(key.clone(), commit);
                ask.refuse(store_failed(&error));
            }
        }
        self.next(key, turn);
    }

    /// Answers a repeated submission with the first one's task.
    fn repeat(&mut self, earlier: TaskKey, ask: Ask, turn: &mut Turn<'_, Self>) {
        let Ask::Submit { sender, .. } = ask else { return };
        let store = self.parts.store.clone();
        let load = async move { patiently(store.load(&earlier)).await };
        turn.spawn(load, |_, loaded, _| match loaded {
            Ok(Some(task)) => sender.taken(task, true),
            Ok(None) => {
                sender.refuse(MasterError::NotFound("the earlier submission's task has been removed".into()));
            }
            Err(error) => sender.refuse(store_failed(&error)),
        });
    }

    /// Refuses what cannot begin now, unless it was taken at an earlier time.
    fn unless_there(&mut self, key: TaskKey, sender: Sender, error: MasterError, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        let wanted = key.clone();
        let load = async move { patiently(store.load(&wanted)).await };
        turn.spawn(load, move |master, loaded, turn| {
            match loaded {
                Ok(Some(task)) => sender.taken(task, true),
                _ => sender.refuse(error),
            }
            master.next(key, turn);
        });
    }

    /// The world after a commit: the cache, the counters, and everything that is to be sent.
    fn carry_out(&mut self, commit: &Commit, ask: Option<&Ask>, turn: &mut Turn<'_, Self>) {
        let task = &commit.task;
        let request = self.remember(task, ask);
        ask.into_iter().for_each(|ask| self.keep_trace(ask, turn));
        self.judge(task, &commit.events);
        self.parts.counters.committed(&commit.events);
        log_events(task, &commit.events);
        for lease in &commit.effects.release {
            self.accepted.remove(&(commit.key.clone(), lease.clone()));
            if !ended_by_holder(task, lease) {
                self.send_drop(&commit.key, lease);
            }
        }
        for lease in &commit.effects.lease {
            self.count(&commit.key, lease);
            self.send_work(task, request.clone(), lease.clone(), turn);
        }
        self.offer_slots(commit);
    }

    /// Keeps what an agent said of how it came to its result; best effort, no decision hangs on it.
    fn keep_trace(&self, ask: &Ask, turn: &mut Turn<'_, Self>) {
        let Ask::Concern(Concern::Report { result, .. }) = ask else { return };
        if result.trace.is_empty() {
            return;
        }
        let (store, result) = (self.parts.store.clone(), result.clone());
        let kept = async move { patiently(store.append_trace(&result.key, &result.agent, result.trace)).await };
        turn.spawn(kept, |_, kept, _| {
            if let Err(error) = kept {
                tracing::warn!(%error, "an agent's trace could not be written");
            }
        });
    }

    /// Keeps an open task for its next input; gives its question if it is known.
    fn remember(&mut self, task: &Arc<Task>, ask: Option<&Ask>) -> Option<Arc<Request>> {
        if task.end.is_some() {
            self.cache.pop(&task.key);
            return None;
        }
        let request = match (ask, &task.request) {
            // An entry that is there already is of an earlier task of this id, which another master ended.
            (Some(Ask::Submit { submission, .. }), Payload::Inline(_)) => Some(Arc::new(submission.request.clone())),
            (Some(Ask::Submit { .. }), Payload::Stored { .. }) => None,
            _ => self.cache.get(&task.key).and_then(|known| known.request.clone()),
        };
        self.cache.put(task.key.clone(), Known { task: task.clone(), request: request.clone() });
        request
    }
}

impl Behaviour for Master {
    const KIND: &'static str = "master";

    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        let roster = self.parts.roster.borrow_and_update().clone();
        let now = self.parts.store.now();
        self.follow(&roster, now);
        let store = self.parts.store.clone();
        let known = async move { (patiently(store.capabilities_seen()).await, patiently(store.leases()).await) };
        turn.spawn(known, |master, (seen, leases), turn| {
            for (capability, at) in seen.unwrap_or_default() {
                master.fleet.saw(&capability, at);
            }
            // Without an answer the estimate begins too low, and the agents' refusals are the truth.
            for (key, lease) in leases.unwrap_or_default() {
                master.fleet.take_slot(&lease);
                master.count(&key, &lease);
            }
            for (key, ask) in master.held.take().unwrap_or_default() {
                master.take(key, ask, turn);
            }
        });
        self.keep_renewing(turn);
        self.keep_following(turn);
    }
}

impl Handle<Submit> for Master {
    fn handle(&mut self, message: Submit, _: CallContext, reply: Reply<Submit>, turn: &mut Turn<'_, Self>) {
        if self.parts.draining.load(Ordering::Relaxed) {
            return reply.send(Err(MasterError::Draining));
        }
        let submission = Box::new(message.0);
        self.take(submission.key.clone(), Ask::Submit { submission, sender: Sender::Client(reply) }, turn);
    }
}

impl Handle<Dispatch> for Master {
    fn handle(&mut self, message: Dispatch, _: CallContext, reply: Reply<Dispatch>, turn: &mut Turn<'_, Self>) {
        if self.parts.draining.load(Ordering::Relaxed) {
            return reply.send(Err(MasterError::Draining));
        }
        let Dispatch { submission, step, capability } = message;
        let world = self.world();
        let scores = world.fleet.scores(&capability, world.now);
        let sender = Sender::Dispatch { step, capability, scores, reply };
        let submission = Box::new(submission);
        self.take(submission.key.clone(), Ask::Submit { submission, sender }, turn);
    }
}

impl Handle<StepResult> for Master {
    fn handle(&mut self, result: StepResult, _: CallContext, reply: Reply<StepResult>, turn: &mut Turn<'_, Self>) {
        self.take(result.key.clone(), Ask::Concern(Concern::Report { result, reply: Some(reply) }), turn);
    }
}

impl Handle<Advance> for Master {
    fn handle(&mut self, advance: Advance, _: CallContext, reply: Reply<Advance>, turn: &mut Turn<'_, Self>) {
        self.take(advance.key.clone(), Ask::Concern(Concern::Advance { advance, reply }), turn);
    }
}

impl Handle<Cancel> for Master {
    fn handle(&mut self, cancel: Cancel, _: CallContext, reply: Reply<Cancel>, turn: &mut Turn<'_, Self>) {
        self.take(cancel.key.clone(), Ask::Concern(Concern::Cancel { cancel, reply }), turn);
    }
}

impl Handle<QueueDepths> for Master {
    fn handle(&mut self, message: QueueDepths, _: CallContext, reply: Reply<QueueDepths>, turn: &mut Turn<'_, Self>) {
        let QueueDepths(depths) = message;
        reply.send(());
        // With the roster of this moment.
        self.world();
        self.fleet.set_waiting(&depths);
        for (capability, _) in &depths {
            self.offer(capability);
        }
        self.recount_where_none_is_free(turn);
    }
}

// === Pure parts ===

/// Whether an attempt's holder knows that it ended, because it said so itself.
fn ended_by_holder(task: &Task, lease: &Lease) -> bool {
    use crate::task::{Loss, StepState};
    let Some(index) = task.plan.find(&lease.step) else { return true };
    let step = task.step(index).1;
    if let StepState::Succeeded { attempt, .. } = step.state
        && attempt == lease.attempt
    {
        return true;
    }
    match step.attempt(lease.attempt).and_then(|attempt| attempt.ended.as_ref()) {
        Some((_, AttemptEnd::TimedOut | AttemptEnd::Superseded)) | None => false,
        Some((_, AttemptEnd::Lost(loss))) => !matches!(loss, Loss::LeaseExpired | Loss::Stalled),
        Some(_) => true,
    }
}

/// Writes a commit; tries again under the same id while the store cannot take it, which is harmless where only the
/// answer was lost.
async fn write(store: Arc<dyn Store>, commit: Commit, tries: u32) -> Result<Committed, StoreError> {
    let mut pause = Duration::from_millis(50);
    for _ in 1..tries {
        match patiently(store.commit(commit.clone())).await {
            Err(StoreError::Unavailable(_)) => {}
            other => return other,
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause *= 4;
    }
    patiently(store.commit(commit)).await
}
