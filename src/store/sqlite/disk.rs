//! The thread that waits for the disk, so that the writer need not: it makes the write-ahead log reach the disk once for
//! all transactions that wait for that, and answers them. Whoever reads meanwhile waits too, so that nobody is ever shown
//! an acceptance or an end that a power loss could take back.

use super::faults::Faults;
use super::shared::Shared;
use super::writer::Work;
use crate::store::StoreError;
use crate::task::At;
use parking_lot::{Condvar, Mutex};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How many transactions wait for the disk before the writer does: it then gathers more for the next one.
const AHEAD: usize = 4;

/// A transaction that is over, with those of its pieces that are written and answered once it is on the disk.
pub(super) struct Written {
    /// Where it stands among all that have to reach the disk.
    pub ticket: u64,
    /// Whether there is anything new in the log; otherwise it only waits for the ones before it.
    pub is_new: bool,
    pub now: At,
    pub pieces: Vec<Box<dyn Work>>,
}

/// How far the log has reached the disk.
#[derive(Default)]
pub(super) struct Disk {
    stand: Mutex<Stand>,
    moved: Condvar,
}

#[derive(Default)]
struct Stand {
    /// The last ticket that was drawn.
    drawn: u64,
    /// The last one that is on the disk.
    reached: u64,
    /// Why no later one ever will be.
    failure: Option<StoreError>,
}

impl Disk {
    /// A place among those that must reach the disk; to be drawn before anybody can see what it stands for.
    pub fn draw(&self) -> u64 {
        let mut stand = self.stand.lock();
        stand.drawn += 1;
        stand.drawn
    }

    /// Waits until all that could be seen so far is on the disk.
    pub fn wait(&self) -> Result<(), StoreError> {
        let mut stand = self.stand.lock();
        let seen = stand.drawn;
        while stand.reached < seen && stand.failure.is_none() {
            self.moved.wait(&mut stand);
        }
        stand.failure.clone().map_or(Ok(()), Err)
    }

    /// Why nothing may be written any more, if so.
    pub fn failure(&self) -> Option<StoreError> {
        self.stand.lock().failure.clone()
    }

    fn reached(&self, ticket: u64, outcome: &Result<(), StoreError>) {
        let mut stand = self.stand.lock();
        match outcome {
            Ok(()) => stand.reached = ticket,
            Err(error) => stand.failure = Some(error.clone()),
        }
        self.moved.notify_all();
    }
}

/// Starts the thread, which ends once its sender is dropped and all are answered.
pub(super) fn start(
    log: File,
    shared: Arc<Shared>,
    faults: Faults,
) -> io::Result<(SyncSender<Written>, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(AHEAD);
    let syncer = Syncer { log, shared, faults };
    let thread = std::thread::Builder::new().name("store-disk".into()).spawn(move || syncer.run(&receiver))?;
    Ok((sender, thread))
}

struct Syncer {
    log: File,
    shared: Arc<Shared>,
    faults: Faults,
}

impl Drop for Syncer {
    /// When it fell over, nobody may wait for it any more.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = "the thread that waits for the disk fell over, and nothing is written any more: start again";
            self.shared.disk.reached(0, &Err(StoreError::Unavailable(what.into())));
        }
    }
}

impl Syncer {
    fn run(self, written: &Receiver<Written>) {
        while let Ok(first) = written.recv() {
            let mut group = vec![first];
            group.extend(written.try_iter());
            let outcome = self.sync(&group);
            if let Some(last) = group.last() {
                self.shared.disk.reached(last.ticket, &outcome);
            }
            for Written { now, pieces, .. } in group {
                for piece in pieces {
                    piece.over(&self.shared, now, outcome.clone());
                }
            }
        }
    }

    /// Makes the log reach the disk if any of these wrote to it.
    fn sync(&self, group: &[Written]) -> Result<(), StoreError> {
        if let Some(failure) = self.shared.disk.failure() {
            return Err(failure);
        }
        let new = group.iter().filter(|written| written.is_new).count();
        if new == 0 {
            return Ok(());
        }
        let counts = &self.shared.counts;
        counts.synced.fetch_add(new as u64, Ordering::Relaxed);
        counts.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.faults.sync_point().and_then(|()| self.log.sync_data()).map_err(|error| {
            // What the system could not write it may forget, and would say next time that all is well. So nothing is
            // written behind it any more; what is on the disk is found by the next process.
            tracing::error!(%error, path = %self.shared.path.display(), "the disk failed; nothing is written any more");
            StoreError::Unavailable(
                format!(
                    "the disk failed under {} ({error}), and nothing is written any more: check the disk, then start \
                     again; what had been said to be written is there",
                    self.shared.path.display()
                )
                .into(),
            )
        })
    }
}
