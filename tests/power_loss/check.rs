//! What must be there after a power loss: the store opens, every log is whole as far as it goes, and nothing is missing
//! that somebody was told and that the store's durability promises.

use crate::disk::Files;
use crate::recording::{company, database, key, options};
use callboard::store::{Durability, SqliteStore, Store};
use callboard::task::{Event, Payload, TaskKey};
use callboard::testkit::{Audit, Log, Scripted};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What was said aloud up to some moment.
#[derive(Default)]
pub struct Told {
    accepted: BTreeSet<String>,
    ended: BTreeSet<String>,
    read: BTreeMap<String, u64>,
}

impl Told {
    pub fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (what, id) = (words.next().unwrap(), words.next().unwrap().to_owned());
        self.accepted.insert(id.clone());
        match what {
            "accepted" => {}
            "ended" => _ = self.ended.insert(id),
            "read" => {
                let read = self.read.entry(id).or_default();
                *read = (*read).max(words.next().unwrap().parse().unwrap());
            }
            _ => panic!("what was said is not understood: {line}"),
        }
    }
}

/// All that was ever committed, by task.
pub type Truth = BTreeMap<TaskKey, Vec<Event>>;

pub struct Check {
    pub durability: Durability,
    pub truth: Truth,
}

/// What was in a store that was checked.
pub struct Found {
    pub tasks: usize,
    pub open: usize,
}

impl Check {
    /// Against what is in this folder, which no power loss has touched.
    pub fn against(folder: &Path, durability: Durability) -> Self {
        let truth = run(async {
            let store = SqliteStore::open(options(folder, durability)).unwrap();
            let audit = Audit::of(&store).await.unwrap();
            audit.clean();
            audit.logs().iter().map(|log| (log.task().key.clone(), log.events().to_vec())).collect()
        });
        Self { durability, truth }
    }

    /// What does not hold of these files, in words. With `runs_on`, the company then works on until all tasks have ended.
    pub fn of(&self, files: &Files, told: &Told, runs_on: bool) -> Result<Found, String> {
        let room = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(room.path().join(name), bytes).unwrap();
        }
        // What is mapped into memory may be on the disk in any state.
        std::fs::write(room.path().join("callboard.db-shm"), [0x5a; 40_000]).unwrap();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let found = run(self.opened(room.path(), told))?;
            whole(room.path())?;
            if runs_on {
                callboard::actors::run(runs_to_the_end(room.path(), self.durability, told)).unwrap()?;
            }
            Ok(found)
        }));
        checked.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap_or(&"it panicked")).into()))
        })
    }

    async fn opened(&self, room: &Path, told: &Told) -> Result<Found, String> {
        let store = SqliteStore::open(options(room, self.durability)).map_err(|error| format!("opening: {error}"))?;
        let audit = Audit::of(&store).await.map_err(|error| format!("reading: {error}"))?;
        // Tasks may be open here; they go on.
        let mut faults: Vec<_> = audit.faults().into_iter().filter(|fault| !fault.contains(": it is ")).collect();
        let logs: BTreeMap<_, _> = audit.logs().iter().map(|log| (log.task().key.clone(), log)).collect();
        for log in logs.values() {
            faults.extend(self.is_true(log));
            faults.extend(has_its_request(&store, log).await);
        }
        faults.extend(self.missing(&logs, told));
        let open = logs.values().filter(|log| log.task().end.is_none()).count();
        if faults.is_empty() { Ok(Found { tasks: logs.len(), open }) } else { Err(faults.join("; ")) }
    }

    /// A log is the beginning of what it was.
    fn is_true(&self, log: &Log) -> Option<String> {
        let key = &log.task().key;
        let is_true = self.truth.get(key).is_some_and(|truth| truth.starts_with(log.events()));
        (!is_true).then(|| format!("{key}: its log is no beginning of what happened"))
    }

    fn missing(&self, logs: &BTreeMap<TaskKey, &Log>, told: &Told) -> Vec<String> {
        let log = |id: &String| logs.get(&key(id));
        let lost = told.accepted.iter().filter(|id| log(id).is_none());
        let mut faults: Vec<_> = lost.map(|id| format!("{id} was told to be accepted, and is lost")).collect();
        let open = told.ended.iter().filter(|id| log(id).is_some_and(|log| log.task().end.is_none()));
        faults.extend(open.map(|id| format!("{id} was told to have ended, and is open")));
        if self.durability == Durability::Strict {
            for (id, read) in &told.read {
                let there = log(id).map_or(0, |log| log.task().version);
                if there < *read {
                    faults.push(format!("of {id} event {read} was told, and only {there} are there"));
                }
            }
        }
        faults
    }
}

/// What is kept beside a task is there with it.
async fn has_its_request(store: &dyn Store, log: &Log) -> Option<String> {
    let Payload::Stored { name, bytes } = &log.task().request else { return None };
    let key = &log.task().key;
    let there = store.payload(key, name).await.unwrap().map(|payload| payload.bytes() as u64);
    (there != Some(*bytes)).then(|| format!("{key}: its request is not there whole"))
}

/// The database is sound by SQLite's own judgement.
fn whole(room: &Path) -> Result<(), String> {
    let raw = rusqlite::Connection::open(database(room)).unwrap();
    let verdict: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if verdict == "ok" { Ok(()) } else { Err(format!("the database is not whole: {verdict}")) }
}

/// A company finds this store, and works until nothing is left to do.
async fn runs_to_the_end(room: &Path, durability: Durability, told: &Told) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options(room, durability)).unwrap());
    let callboard = company(store.clone(), Scripted::default()).await;
    let keys: Vec<_> = Audit::of(&*store).await.unwrap().logs().iter().map(|log| log.task().key.clone()).collect();
    for key in &keys {
        let ended = tokio::time::timeout(PATIENCE, callboard.ended(key)).await;
        ended.map_err(|_| format!("{key} does not end after the power loss"))?.unwrap();
    }
    let audit = Audit::of(&*store).await.unwrap();
    let accepted: Vec<_> = told.accepted.iter().map(|id| key(id)).collect();
    audit.holds(&accepted);
    callboard.stop(PATIENCE).await.unwrap();
    let faults = audit.faults();
    if faults.is_empty() { Ok(()) } else { Err(format!("after it went on: {}", faults.join("; "))) }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
