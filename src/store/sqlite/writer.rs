//! The one thread that writes. It takes everything that waits into one transaction, and says how it went to each, or
//! hands those to whom it must be on the disk first to the thread that waits for that. A failure fails the batch and not
//! the thread.

use super::disk::{self, Written};
use super::error::{Fault, explain};
use super::faults::Faults;
use super::log::Log;
use super::shared::Shared;
use crate::store::StoreError;
use crate::task::At;
use rusqlite::wal::CheckpointMode;
use rusqlite::{CachedStatement, Connection, Params};
use std::any::Any;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// The most pieces of work in one transaction.
const MAX_BATCH: usize = 512;

/// A piece of work for the writer.
pub(super) trait Work: Send {
    /// Whether what it wrote must be on the disk before it is answered; asked before it is written and after.
    fn must_sync(&self) -> bool {
        false
    }

    /// Does its part inside the transaction. A [`Fault::Sql`] fails the whole batch.
    fn write(&mut self, desk: &mut Desk<'_>) -> Result<(), Fault>;

    /// The transaction is over; answers.
    fn over(self: Box<Self>, shared: &Shared, now: At, outcome: Result<(), StoreError>);
}

/// What the writer is sent.
pub(super) enum Job {
    /// Something to write.
    Work(Box<dyn Work>),
    /// Finish, and say when.
    Close(oneshot::Sender<()>),
}

/// What a piece of work has at hand while its transaction is open.
pub(super) struct Desk<'a> {
    /// The connection.
    conn: &'a Connection,
    /// What the readers see too.
    pub shared: &'a Shared,
    faults: &'a Faults,
    /// The moment of this transaction.
    pub now: At,
    /// Tasks that are open, this transaction's included.
    pub open: u64,
}

impl<'a> Desk<'a> {
    /// A statement, ready to run.
    pub fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.faults.point()?;
        self.conn.prepare_cached(sql)
    }

    /// Runs a statement that gives no rows; says how many it changed.
    pub fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    /// The number of the row inserted last.
    pub fn last_row(&self) -> i64 {
        self.conn.last_insert_rowid()
    }

    /// The connection, for reading.
    pub fn connection(&self) -> &'a Connection {
        self.conn
    }
}

/// How the writer is set up.
pub(super) struct Setup {
    /// Every transaction is synced.
    pub strict: bool,
    /// The log's length, in pages, from which it is copied into the database.
    pub checkpoint_pages: u32,
    /// Failures on purpose.
    pub faults: Faults,
    /// Held while the store is open.
    pub lock: File,
    /// To be waited for before the database is closed.
    pub readers: Vec<JoinHandle<()>>,
}

impl Setup {
    /// Whether a piece of work is answered only once it is on the disk.
    fn must_sync(&self, work: &dyn Work) -> bool {
        self.strict || work.must_sync()
    }
}

/// The writer's own things.
pub(super) struct Writer {
    conn: Connection,
    shared: Arc<Shared>,
    setup: Setup,
    jobs: mpsc::Receiver<Job>,
    log: Log,
    /// To the thread that waits for the disk, and that thread.
    disk: (SyncSender<Written>, JoinHandle<()>),
}

impl Writer {
    /// A writer on a connection whose log is empty.
    pub fn new(
        mut conn: Connection,
        shared: Arc<Shared>,
        setup: Setup,
        jobs: mpsc::Receiver<Job>,
    ) -> Result<Self, Fault> {
        let log = Log::of(&mut conn, &shared, setup.checkpoint_pages)?;
        // The log is synced by the thread that waits for the disk; a new log's header and what is copied, by SQLite.
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.set_prepared_statement_cache_capacity(64);
        let disk = disk::start(log.open()?, shared.clone(), setup.faults.clone())?;
        Ok(Self { conn, shared, setup, jobs, log, disk })
    }

    /// Writes until it is told to close or nobody is left to tell it.
    pub fn run(mut self) {
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = self.jobs.blocking_recv()
        {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Work(work) => batch.push(work),
                    Job::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                if batch.len() < MAX_BATCH {
                    next = self.jobs.try_recv().ok();
                }
            }
            self.batch(batch);
        }
        self.close();
        if let Some(done) = closing {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }

    fn batch(&mut self, mut batch: Vec<Box<dyn Work>>) {
        if batch.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        if let Some(failure) = self.shared.disk.failure() {
            return batch.into_iter().for_each(|work| work.over(&self.shared, now, Err(failure.clone())));
        }
        let mut refused = Vec::new();
        let mut ticket = None;
        let written = catch_unwind(AssertUnwindSafe(|| self.transaction(&mut batch, &mut refused, &mut ticket, now)));
        let outcome = written.map_or_else(
            |panic| Err(panicked(panic.as_ref())),
            |written| written.map_err(|error| explain(&error, &self.shared.path)),
        );
        if let Err(error) = &outcome {
            tracing::warn!(%error, pieces = batch.len(), "a batch could not be written");
            self.roll_back();
        }
        let is_new = outcome.as_ref().is_ok_and(|wrote| *wrote);
        let outcome = outcome.map(|_| ());
        let mut pieces = Vec::new();
        for (position, work) in batch.into_iter().enumerate() {
            let refusal = refused.iter().find(|(refused, _)| *refused == position);
            let outcome = refusal.map_or_else(|| outcome.clone(), |(_, error)| Err(error.clone()));
            if outcome.is_ok() && self.setup.must_sync(&*work) {
                pieces.push(work);
            } else {
                work.over(&self.shared, now, outcome);
            }
        }
        // What must be on the disk drew a ticket when it was written.
        if let Some(ticket) = ticket
            && let Err(unsent) = self.disk.0.send(Written { ticket, is_new, now, pieces })
        {
            let gone = self.shared.disk.failure().unwrap_or_else(super::unanswered);
            unsent.0.pieces.into_iter().for_each(|work| work.over(&self.shared, now, Err(gone.clone())));
        }
        self.log.keep_short(&self.conn);
    }

    /// Writes; whether that changed anything. Draws a ticket where it must reach the disk.
    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Work>],
        refused: &mut Vec<(usize, StoreError)>,
        ticket: &mut Option<u64>,
        now: At,
    ) -> rusqlite::Result<bool> {
        let open = self.shared.counts.open.load(Ordering::Relaxed);
        let mut desk = Desk { conn: &self.conn, shared: &self.shared, faults: &self.setup.faults, now, open };
        desk.run("BEGIN IMMEDIATE", [])?;
        for (position, work) in batch.iter_mut().enumerate() {
            match work.write(&mut desk) {
                Ok(()) => {}
                Err(Fault::Refused(error)) => refused.push((position, error)),
                Err(Fault::Sql(error)) => return Err(error),
            }
        }
        if batch.iter().any(|work| self.setup.must_sync(&**work)) {
            *ticket = Some(self.shared.disk.draw());
        }
        let (committed, wrote) = self.log.watch(|| desk.run("COMMIT", []));
        committed?;
        self.shared.counts.open.store(desk.open, Ordering::Relaxed);
        Ok(wrote)
    }

    fn roll_back(&self) {
        // SQLite may have rolled back by itself; and what it cannot roll back now, it does before the next transaction.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a failed batch could not be rolled back yet");
        }
    }

    /// Leaves one file behind, whole.
    fn close(self) {
        let Self { conn, setup, shared, log, disk: (sender, syncer), .. } = self;
        // Without a sender it ends, once all are answered. One that panicked has nothing left to do.
        drop(sender);
        let _ = syncer.join();
        let database = log.close();
        // Without a sender the readers end, once they have answered what they were asked.
        shared.readers.lock().take();
        for reader in setup.readers {
            // A reader that panicked has nothing left to do.
            let _ = reader.join();
        }
        if let Err(error) = conn.wal_checkpoint_v2(Some("main"), CheckpointMode::TRUNCATE) {
            tracing::warn!(%error, "the write-ahead log could not be copied on closing; the next start does it");
        }
        if let Err((_, error)) = conn.close() {
            tracing::warn!(%error, path = %shared.path.display(), "the database could not be closed in good order");
        }
        drop(database);
        drop(setup.lock);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("it did not say why");
    StoreError::Unavailable(
        format!("the writer hit a fault of its own ({said}); nothing was written, the next write tries again").into(),
    )
}

// === Pieces of work that are not commits ===

/// A closure with somebody who waits for what it gives.
pub(super) struct Piece<T, F, G> {
    todo: Option<F>,
    result: Option<T>,
    /// What follows in memory once it is written.
    after: G,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F, G> Piece<T, F, G>
where
    T: Send,
    F: FnOnce(&mut Desk<'_>) -> Result<T, Fault> + Send,
    G: FnOnce(&Shared, At) + Send,
{
    pub fn new(todo: F, after: G, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { todo: Some(todo), result: None, after, reply }
    }
}

impl<T, F, G> Work for Piece<T, F, G>
where
    T: Send,
    F: FnOnce(&mut Desk<'_>) -> Result<T, Fault> + Send,
    G: FnOnce(&Shared, At) + Send,
{
    fn write(&mut self, desk: &mut Desk<'_>) -> Result<(), Fault> {
        if let Some(todo) = self.todo.take() {
            self.result = Some(todo(desk)?);
        }
        Ok(())
    }

    fn over(self: Box<Self>, shared: &Shared, now: At, outcome: Result<(), StoreError>) {
        let Self { result, after, reply, .. } = *self;
        if outcome.is_ok() {
            after(shared, now);
        }
        let missing = || StoreError::Unavailable("the writer did not come to it".into());
        // Whoever asked may have stopped waiting.
        let _ = reply.send(outcome.and_then(|()| result.ok_or_else(missing)));
    }
}
