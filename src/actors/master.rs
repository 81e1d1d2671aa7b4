//! The master: takes tasks and advances them, one decision of the core and one commit at a time per task. It holds no
//! task that the store does not hold; whatever it forgets, it reads again.

mod ask;
mod commit;
mod doubt;
mod estimate;
mod send;
mod slots;

use super::directory::Directory;
use super::patience::patiently;
use super::registry::Roster;
use super::{ActorRef, Behaviour, Handle, Reply, Turn};
use crate::messages::{
    Advance, CallContext, Cancel, Dispatch, MasterError, QueueDepths, SlotsFree, StepResult, Submit, Unreachable,
};
use crate::store::{Commit, Store, StoreError};
use crate::task::{self, Fleet, Lease, Pipeline, Refusal, Request, Submission, Task, TaskKey, World};
use crate::telemetry::Counters;
use ask::{Ask, Concern, Sender, prepare, store_failed};
use commit::Enclosed;
use foldhash::{HashMap, HashMapExt as _, HashSet};
use lru::LruCache;
use slots::Slots;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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
    looks_into_doubts: bool,
    /// Leases that their agents accepted and that are to be renewed with the next batch.
    accepted: HashSet<(TaskKey, Lease)>,
    slots: Slots,
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
    tries: Tries,
}

/// How often commits of one decision were not written, and it was made anew.
#[derive(Clone, Copy, Default)]
struct Tries {
    /// Because another had changed the task.
    races: u32,
    /// Because an agent had no free slot left.
    slots: u32,
}

/// After this many agents of whose full slots a decision did not know, it is made as though nobody had a free one: what is
/// ready waits in its queue.
const MAX_FULL: u32 = 3;

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
            looks_into_doubts: false,
            accepted: HashSet::default(),
            slots: Slots::new(),
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
        self.begin(key, ask, Tries::default(), turn);
    }

    /// The task is free again: goes on with what waits, if anything.
    fn next(&mut self, key: TaskKey, turn: &mut Turn<'_, Self>) {
        match self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            // Deferred, so that a long queue does not become a deep stack.
            Some(ask) => turn.defer(move |master, turn| master.begin(key, ask, Tries::default(), turn)),
            None => {
                self.busy.remove(&key);
            }
        }
    }

    fn begin(&mut self, key: TaskKey, ask: Ask, tries: Tries, turn: &mut Turn<'_, Self>) {
        let concern = match ask {
            Ask::Submit { submission, sender } => {
                return self.accept(*submission, sender, tries, turn);
            }
            Ask::Concern(concern) => concern,
        };
        if let Some(commit) = self.doubtful.pop(&key) {
            return self.find_out(commit, turn, move |master, found, turn| match found {
                Ok(()) => master.begin(key, Ask::Concern(concern), tries, turn),
                Err(error) => {
                    concern.refuse(store_failed(&error));
                    master.next(key, turn);
                }
            });
        }
        if let Some(task) = self.cache.get(&key).map(|known| known.task.clone()) {
            return self.decide(&task, concern, Basis { is_cached: true, tries }, turn);
        }
        let store = self.parts.store.clone();
        let wanted = key.clone();
        let load = async move { patiently(store.load(&wanted)).await };
        turn.spawn(load, move |master, loaded, turn| match loaded {
            Ok(Some(task)) => master.decide(&task, concern, Basis { is_cached: false, tries }, turn),
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

    /// Decides in the world as it is known, or, where it has proved to be known badly, as though no slot were free.
    fn deciding<T>(&mut self, tries: Tries, decide: impl FnOnce(World<'_>) -> T) -> T {
        let world = self.world();
        if tries.slots < MAX_FULL {
            return decide(world);
        }
        decide(World { fleet: &world.fleet.filled(), ..world })
    }

    fn accept(&mut self, submission: Submission, sender: Sender, tries: Tries, turn: &mut Turn<'_, Self>) {
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
        let decision = self.deciding(tries, |world| task::accept(&submission, request, plan, world));
        if let Err(error) = sender.accepts(&decision.task) {
            return self.unless_there(key, sender, error, turn);
        }
        let ask = Ask::Submit { submission: Box::new(submission), sender };
        self.propose(None, decision, Enclosed { payloads, submission: Some(record) }, ask, tries, turn);
    }

    fn decide(&mut self, task: &Arc<Task>, concern: Concern, basis: Basis, turn: &mut Turn<'_, Self>) {
        if !task.readable() {
            concern.refuse(store_failed(&StoreError::Newer(format!("task {}", task.key).into())));
            return self.next(task.key.clone(), turn);
        }
        let (input, payloads) = concern.input(task);
        match self.deciding(basis.tries, |world| task::decide(task, input, world)) {
            Ok(decision) => {
                let enclosed = Enclosed { payloads, submission: None };
                self.propose(Some(task), decision, enclosed, Ask::Concern(concern), basis.tries, turn);
            }
            // A commit finds out when the cache is behind another master; a refusal has to look.
            Err(refusal) if basis.is_cached && refusal != Refusal::NoSlot => {
                self.cache.pop(&task.key);
                self.begin(task.key.clone(), Ask::Concern(concern), basis.tries, turn);
            }
            Err(refusal) => {
                concern.settle(refusal, task);
                self.next(task.key.clone(), turn);
            }
        }
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
            master.slots.learn(&mut master.fleet, leases.unwrap_or_default());
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
