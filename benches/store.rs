//! What commits cost: whole lives of 32 four-step tasks side by side, each life five commits, to memory and to SQLite.
//! SQLite writes what waits together in one transaction, so the figure is a batch's.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to report")]

mod task_life;

use callboard::store::{
    Commit, Committed, Durability, MemoryStore, SqliteOptions, SqliteStore, Store, SubmissionRecord, SystemClock,
};
use callboard::task::{At, CommitId, Decision, Digest, Task, effects};
use criterion::{Criterion, Throughput};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::{Duration, Instant};
use task_life::Desk;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Tasks side by side.
const BATCH: usize = 32;

/// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("store/lives_of_32");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    group.bench_function("memory", |bencher| bencher.iter_custom(|rounds| lives(&runtime, rounds, &Opened::memory())));
    for (name, durability) in [("sqlite_relaxed", Durability::Relaxed), ("sqlite_strict", Durability::Strict)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| lives(&runtime, rounds, &Opened::sqlite(durability)));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// A new store, and the folder that goes with it.
struct Opened {
    store: Box<dyn Store>,
    _folder: Option<TempDir>,
}

impl Opened {
    fn memory() -> Self {
        Self { store: Box::new(MemoryStore::new(Arc::new(SystemClock::default()))), _folder: None }
    }

    fn sqlite(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = SqliteOptions::new(folder.path().join("bench.db"));
        options.durability = durability;
        Self { store: Box::new(SqliteStore::open(options).unwrap()), _folder: Some(folder) }
    }
}

/// How long the commits of so many batches take; making them is not counted.
fn lives(runtime: &Runtime, rounds: u64, opened: &Opened) -> Duration {
    let desk = Desk::standard();
    let store = &*opened.store;
    let mut took = Duration::ZERO;
    for round in 0..rounds {
        let lives: Vec<_> = (0..BATCH).map(|task| commits(desk.life(&format!("t{round}-{task}")))).collect();
        took += runtime.block_on(async {
            let began = Instant::now();
            join_all(lives.into_iter().map(|life| written(store, life))).await;
            began.elapsed()
        });
    }
    runtime.block_on(store.close()).unwrap();
    took
}

/// A task's commits one after the other, as its master sends them.
async fn written(store: &dyn Store, life: Vec<Commit>) {
    for commit in life {
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Applied);
    }
}

fn commits(life: Vec<Decision>) -> Vec<Commit> {
    let mut before: Option<Arc<Task>> = None;
    let commit = |decision: Decision| {
        let task = Arc::new(decision.task);
        let expected = before.as_ref().map_or(0, |task| task.version);
        let expected_at = before.as_ref().map_or(At(0), |task| task.updated_at);
        let submission = before.is_none().then_some(SubmissionRecord {
            digest: Digest([0; 32]),
            id_given: true,
            idempotency_key: None,
            max_open: u64::MAX,
        });
        let effects = Arc::new(effects(before.as_deref(), &task));
        before = Some(Arc::clone(&task));
        Commit {
            id: CommitId::trusted(format!("{}:{expected}", task.key.id)),
            key: task.key.clone(),
            expected,
            expected_at,
            events: decision.events.into(),
            task,
            effects,
            slots: Vec::new(),
            payloads: Vec::new(),
            submission,
        }
    };
    life.into_iter().map(commit).collect()
}
