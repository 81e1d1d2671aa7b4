//! The one thread that writes. It takes everything that waits into one transaction, says how it went to each, and keeps
//! the write-ahead log short; a failure fails the batch and not the thread.

use super::error::{Fault, explain};
use super::faults::Faults;
use super::shared::Shared;
use crate::store::StoreError;
use crate::task::At;
use rusqlite::wal::CheckpointMode;
use rusqlite::{CachedStatement, Connection, Params};
use std::any::Any;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// The most pieces of work in one transaction.
const MAX_BATCH: usize = 512;

/// A piece of work for the writer.
pub(super) trait Work: Send {
    /// Whether its transaction must reach the disk before anybody is answered.
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

/// The writer's own things.
pub(super) struct Writer {
    conn: Connection,
    shared: Arc<Shared>,
    setup: Setup,
    jobs: mpsc::Receiver<Job>,
    /// What `PRAGMA synchronous` stands at.
    synced: bool,
    log: Log,
}

/// The write-ahead log.
struct Log {
    file: PathBuf,
    /// Its length in pages after the last transaction that wrote; 0 when none has since this was last cleared.
    pages: Arc<AtomicU32>,
    /// All of it has been copied, so the next transaction that writes may begin it anew: it then syncs a new header.
    begin: Option<[u8; 4]>,
    /// The length at which it is copied next.
    copy_at: u32,
}

impl Writer {
    /// A writer on a connection whose log is empty and whose transactions are synced.
    pub fn new(
        mut conn: Connection,
        shared: Arc<Shared>,
        setup: Setup,
        jobs: mpsc::Receiver<Job>,
    ) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicU32::new(0));
        let counted = pages.clone();
        conn.wal_hook(Some(move |_: &mut _, length: std::ffi::c_int| {
            counted.store(length.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        conn.set_prepared_statement_cache_capacity(64);
        let mut file = shared.path.clone().into_os_string();
        file.push("-wal");
        let log = Log { file: file.into(), pages, begin: Some([0; 4]), copy_at: setup.checkpoint_pages };
        Ok(Self { conn, shared, setup, jobs, synced: true, log })
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
        let mut refused = Vec::new();
        let written = catch_unwind(AssertUnwindSafe(|| self.transaction(&mut batch, &mut refused, now)));
        let outcome = written.map_or_else(
            |panic| Err(panicked(panic.as_ref())),
            |written| written.map_err(|error| explain(&error, &self.shared.path)),
        );
        if let Err(error) = &outcome {
            tracing::warn!(%error, pieces = batch.len(), "a batch could not be written");
            self.roll_back();
        }
        for (position, work) in batch.into_iter().enumerate() {
            let refusal = refused.iter().find(|(refused, _)| *refused == position);
            let outcome = refusal.map_or_else(|| outcome.clone(), |(_, error)| Err(error.clone()));
            work.over(&self.shared, now, outcome);
        }
        if self.log.pages.load(Ordering::Relaxed) >= self.log.copy_at {
            self.checkpoint();
        }
    }

    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Work>],
        refused: &mut Vec<(usize, StoreError)>,
        now: At,
    ) -> rusqlite::Result<()> {
        let sync = self.setup.strict || batch.iter().any(|work| work.must_sync());
        // Inside a transaction it could not be changed.
        if sync != self.synced {
            self.conn.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
            self.synced = sync;
        }
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
        let open = desk.open;
        let before = self.log.pages.swap(0, Ordering::Relaxed);
        let committed = desk.run("COMMIT", []);
        let wrote = self.log.pages.load(Ordering::Relaxed) > 0;
        if !wrote {
            self.log.pages.store(before, Ordering::Relaxed);
        }
        committed?;
        self.shared.counts.open.store(open, Ordering::Relaxed);
        if wrote {
            self.count_syncs(sync);
        }
        Ok(())
    }

    /// Counts what a transaction that wrote made the disk do.
    fn count_syncs(&mut self, sync: bool) {
        let counts = &self.shared.counts;
        if let Some(begin) = self.log.begin
            && self.log.serial() != Some(begin)
        {
            self.log.begin = None;
            counts.fsyncs.fetch_add(1, Ordering::Relaxed);
        }
        if sync {
            counts.synced.fetch_add(1, Ordering::Relaxed);
            counts.fsyncs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn roll_back(&self) {
        // SQLite may have rolled back by itself; and what it cannot roll back now, it does before the next transaction.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a failed batch could not be rolled back yet");
        }
    }

    /// Copies the log into the database, as far as no reader still needs it.
    fn checkpoint(&mut self) {
        let length = self.log.pages.load(Ordering::Relaxed);
        match self.conn.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE) {
            Ok((all, copied)) => {
                // The log is synced before it is copied, and the database when nothing is left to copy.
                let syncs = if copied == all { 2 } else { 1 };
                self.shared.counts.fsyncs.fetch_add(syncs, Ordering::Relaxed);
                self.log.copy_at = self.setup.checkpoint_pages;
                if copied == all {
                    self.log.begin = self.log.serial();
                    self.log.pages.store(0, Ordering::Relaxed);
                } else {
                    self.log.copy_at += length;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be copied into the database; it grows meanwhile");
                self.log.copy_at = length + self.setup.checkpoint_pages;
            }
        }
    }

    /// Leaves one file behind, whole.
    fn close(self) {
        let Self { conn, setup, shared, .. } = self;
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
        drop(setup.lock);
    }
}

impl Log {
    /// The number that SQLite gives the log each time it begins it anew.
    fn serial(&self) -> Option<[u8; 4]> {
        let mut header = [0; 16];
        File::open(&self.file).and_then(|mut file| file.read_exact(&mut header)).ok()?;
        header.last_chunk().copied()
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
