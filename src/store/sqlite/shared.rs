//! What the writer, the readers and the callers share: the index, the recent states, the watchers and the counts. Only
//! the writer and the thread that waits for the disk change it, and only once a transaction is over.

use super::disk::Disk;
use super::reader::Query;
use crate::store::index::{Held, Index};
use crate::store::roster::Roster;
use crate::store::watchers::Watchers;
use crate::store::{Clock, Stats};
use crate::task::{Task, TaskKey};
use lru::LruCache;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    pub path: PathBuf,
    /// The database holds events of kinds that this program does not know.
    pub strange: bool,
    pub index: Mutex<Index>,
    /// States as last committed. A state that may still change is put here by the writer alone, so that a slow reader
    /// never puts an old one over a new one.
    pub recent: Mutex<LruCache<TaskKey, Arc<Task>>>,
    pub watchers: Watchers,
    pub roster: Mutex<Roster>,
    /// Leases of remote agents that are recorded as accepted, so that they outlive this process.
    pub accepted: Mutex<HashSet<Held>>,
    /// Kinds of events that are recorded as written, by this process.
    pub kinds: Mutex<HashSet<&'static str>>,
    pub counts: Counts,
    /// What has reached the disk.
    pub disk: Disk,
    /// To the reader threads; none once the store is closed.
    pub readers: Mutex<Option<mpsc::Sender<Query>>>,
}

/// What [`Stats`] tells.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub commits: AtomicU64,
    pub synced: AtomicU64,
    pub fsyncs: AtomicU64,
    pub open: AtomicU64,
}

impl Counts {
    pub fn stats(&self) -> Stats {
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            synced_transactions: self.synced.load(Ordering::Relaxed),
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
            open_tasks: self.open.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}
