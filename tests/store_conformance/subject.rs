//! What the checks have in hand: a store with a clock of theirs, and short ways to make commits.

use crate::redis_server::{Certificate, Redis, Wanted};
use callboard::secret::Secret;
use callboard::store::{
    Commit, Committed, Durability, MemoryStore, RedisOptions, RedisStore, SqliteOptions, SqliteStore, Store,
    SubmissionRecord,
};
use callboard::task::{
    AgentId, At, AttemptEnd, Capability, CommitId, Decision, ErrorCode, Failure, Fleet, IdempotencyKey, Incarnation,
    Input, Json, Limits, Member, Options, Outcome, Payload, Pipeline, Priority, Report, Request, Stage, StepId,
    Submission, Task, TaskId, TaskKey, Tenant, Timer, TimerId, World, accept, decide, effects, timers,
};
use callboard::testkit::{FaultyStore, StoreFaults, TestClock};
use std::future::{Future, IntoFuture, Ready, ready};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const START: u64 = TestClock::START.0;

/// A store under test.
pub struct Subject {
    pub store: Arc<dyn Store>,
    pub clock: Arc<TestClock>,
    _folder: Option<tempfile::TempDir>,
    _server: Option<Redis>,
}

/// Some are there at once, and some have to be waited for.
impl IntoFuture for Subject {
    type Output = Self;
    type IntoFuture = Ready<Self>;

    fn into_future(self) -> Ready<Self> {
        ready(self)
    }
}

impl Subject {
    pub fn memory() -> Self {
        let clock = Arc::new(TestClock::default());
        Self { store: Arc::new(MemoryStore::new(clock.clone())), clock, _folder: None, _server: None }
    }

    pub fn memory_in_faults() -> Self {
        let bare = Self::memory();
        Self { store: Arc::new(FaultyStore::new(bare.store, StoreFaults::default())), ..bare }
    }

    pub fn sqlite_relaxed() -> Self {
        Self::sqlite(Durability::Relaxed)
    }

    pub fn sqlite_strict() -> Self {
        Self::sqlite(Durability::Strict)
    }

    fn sqlite(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let options = SqliteOptions { durability, ..options(folder.path().join("callboard.db"), &clock) };
        Self { store: Arc::new(SqliteStore::open(options).unwrap()), clock, _folder: Some(folder), _server: None }
    }

    pub async fn redis() -> Self {
        Self::on(Redis::start(), |_| {}).await
    }

    pub async fn redis_guarded() -> Self {
        let server = Wanted::default().tls(Certificate::Good).user("callboard", "s3cret", RIGHTS).start();
        let ca = server.ca().into();
        Self::on(server, |options| {
            options.username = Some("callboard".into());
            options.password = Some(Secret::new("s3cret"));
            (options.tls, options.ca, options.database) = (true, Some(ca), 3);
        })
        .await
    }

    async fn on(server: Redis, choose: impl FnOnce(&mut RedisOptions)) -> Self {
        let clock = Arc::new(TestClock::default());
        let mut options = redis_options(&server, &clock);
        choose(&mut options);
        let store = RedisStore::connect(options).await.unwrap();
        Self { store: Arc::new(store), clock, _folder: None, _server: Some(server) }
    }
}

/// What docs/operations.md says that a user needs, which tests/redis_access.rs holds it to.
const RIGHTS: &str = "~callboard:* ~routing ~cap_index:* ~heartbeat:* ~metrics:* ~results:* ~subtasks:* ~subtask:* \
                      ~route:* ~dispatch_log:* ~global:context ~ag2:trace:* &agent_events +@hash +@list +@set \
                      +@sortedset +@stream +@string +@scripting +@connection -@dangerous +del +exists +expire +pexpire \
                      +ttl +pttl +time +publish +info +wait +unwatch";

pub fn redis_options(server: &Redis, clock: &Arc<TestClock>) -> RedisOptions {
    RedisOptions {
        clock: Some(clock.clone()),
        // Longer than anything takes on the slowest machine.
        timeout: std::time::Duration::from_secs(60),
        ..RedisOptions::new("127.0.0.1", server.port())
    }
}

pub fn options(path: PathBuf, clock: &Arc<TestClock>) -> SqliteOptions {
    SqliteOptions { clock: clock.clone(), ..SqliteOptions::new(path) }
}

pub fn run<T>(check: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check)
}

// === Names ===

pub fn key(id: &str) -> TaskKey {
    TaskKey { tenant: Tenant::default(), id: TaskId::trusted(id) }
}

pub fn key_of(tenant: &str, id: &str) -> TaskKey {
    TaskKey { tenant: Tenant::trusted(tenant), id: TaskId::trusted(id) }
}

pub fn step(id: &str, number: u32) -> StepId {
    StepId::trusted(format!("{id}-P{number}"))
}

pub fn capability(name: &str) -> Capability {
    Capability::trusted(name.to_owned())
}

pub fn agent(name: &str) -> AgentId {
    AgentId::trusted(name.to_owned())
}

pub fn incarnation(name: &str) -> Incarnation {
    Incarnation::trusted(name.to_owned())
}

pub fn commit_id() -> CommitId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    CommitId::trusted(format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

// === Commits ===

/// A fleet where `ann` of life `i1` can do everything, this many steps at once.
pub fn fleet(slots: u32) -> Fleet {
    let mut fleet = Fleet::new(15_000);
    let capabilities = ["analyze", "evaluate"].map(capability).to_vec();
    if slots > 0 {
        let member = Member::new(incarnation("i1"), capabilities, slots);
        fleet.join(agent("ann"), member, At(START));
    }
    fleet
}

pub fn submission(key: &TaskKey, objective: &str) -> Submission {
    Submission {
        key: key.clone(),
        id_given: true,
        idempotency_key: None,
        request: Request { objective: objective.into(), context: Json::from_text("{}".into()).unwrap() },
        options: Options::default(),
    }
}

/// The first commit of a task with two steps, analyze and evaluate.
pub fn first(submission: &Submission, fleet: &Fleet, now: At) -> Commit {
    let stage = |name: &str| Stage { capability: capability(name), optional: false, limits: Limits::default() };
    let plan = Pipeline(vec![stage("analyze"), stage("evaluate")]).plan(&submission.key.id).unwrap();
    let (request, large) = Payload::of(Json::of(&submission.request).unwrap(), || "request".into());
    let Decision { events, task } = accept(submission, request, plan, World { now, seed: 7, fleet });
    let record = SubmissionRecord {
        digest: submission.digest().unwrap(),
        id_given: submission.id_given,
        idempotency_key: submission.idempotency_key.clone(),
        max_open: 1000,
    };
    Commit {
        id: commit_id(),
        key: submission.key.clone(),
        expected: 0,
        expected_at: At(0),
        events: events.into(),
        effects: effects(None, &task).into(),
        task: Arc::new(task),
        slots: Vec::new(),
        payloads: large.into_iter().collect(),
        submission: Some(record),
    }
}

/// The commit that follows from an input; none when it is refused.
pub fn next(before: &Task, input: Input, fleet: &Fleet, now: At) -> Option<Commit> {
    let Decision { events, task } = decide(before, input, World { now, seed: 7, fleet }).ok()?;
    Some(Commit {
        id: commit_id(),
        key: before.key.clone(),
        expected: before.version,
        expected_at: before.updated_at,
        events: events.into(),
        effects: effects(Some(before), &task).into(),
        task: Arc::new(task),
        slots: Vec::new(),
        payloads: Vec::new(),
        submission: None,
    })
}

pub fn named(submission: Submission, name: &str) -> Submission {
    Submission { idempotency_key: Some(IdempotencyKey::trusted(name.to_owned())), ..submission }
}

pub fn with_priority(mut submission: Submission, priority: Priority) -> Submission {
    submission.options.priority = priority;
    submission
}

/// Takes a task; its first step is placed when there are slots, and queued otherwise.
pub async fn take(store: &dyn Store, id: &str, slots: u32) -> Arc<Task> {
    let commit = first(&submission(&key(id), "why?"), &fleet(slots), store.now());
    let task = commit.task.clone();
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
    task
}

/// Feeds a task an input that must not be refused.
pub async fn feed(store: &dyn Store, task: &Task, input: Input, slots: u32) -> Arc<Task> {
    let commit = next(task, input, &fleet(slots), store.now()).expect("the input is not refused");
    let task = commit.task.clone();
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
    task
}

pub fn succeeded(step: StepId) -> Input {
    let output = Payload::Inline(Json::from_text(r#"{"answer":42}"#.into()).unwrap());
    report(step, Outcome::Succeeded(output))
}

pub fn failed(step: StepId) -> Input {
    report(step, Outcome::Ended(AttemptEnd::Failed(Failure::new(ErrorCode::Timeout, "slow"))))
}

pub fn report(step: StepId, outcome: Outcome) -> Input {
    Input::Report(Report { step, agent: agent("ann"), attempt: None, outcome })
}

/// The first step's pause is over.
pub fn pause_over(task: &Task) -> Input {
    let pause = |timer: &Timer| matches!(timer.id, TimerId::Step(..));
    Input::TimerFired(timers(task).into_iter().find(pause).expect("it does not pause").id)
}

/// A whole life: placed, both steps done, ended.
pub async fn live(store: &dyn Store, id: &str) -> Arc<Task> {
    let task = take(store, id, 9).await;
    let task = feed(store, &task, succeeded(step(id, 1)), 9).await;
    let task = feed(store, &task, succeeded(step(id, 2)), 9).await;
    assert!(task.end.is_some());
    task
}
