//! Keeping the write-ahead log short. Nearly all of it is copied into the database by a thread of its own, beside the
//! writer; the little that came meanwhile the writer copies itself, and then begins the log anew.

use super::error::Fault;
use super::shared::Shared;
use parking_lot::{Condvar, Mutex};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// The write-ahead log, as its writer sees it.
pub(super) struct Log {
    file: PathBuf,
    shared: Arc<Shared>,
    /// Its length in pages after the last transaction that wrote; 0 when none has since this was last cleared.
    pages: Arc<AtomicU32>,
    /// All of it has been copied, so the next transaction that writes may begin it anew: it then syncs a new header.
    begin: Option<[u8; 4]>,
    /// The length from which it is copied.
    limit: u32,
    /// The length at which it is copied next.
    copy_at: u32,
    copying: Arc<Copying>,
    copier: JoinHandle<()>,
    /// The database, held open while any connection is: closing it would take this process's locks on it away.
    database: Arc<File>,
}

/// What the writer and the copying thread tell each other.
#[derive(Default)]
struct Copying {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Nothing to do.
    #[default]
    Idle,
    /// It is long: to be copied.
    Asked,
    /// So many pages of it are copied.
    Copied(u32),
    /// The store closes.
    Closing,
}

impl Copying {
    fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    fn enter(&self, phase: Phase) {
        let mut now = self.phase.lock();
        if *now != Phase::Closing {
            *now = phase;
            self.changed.notify_all();
        }
    }

    /// Waits until it is no longer so; gives what it is instead.
    fn leave(&self, phase: impl Fn(Phase) -> bool) -> Phase {
        let mut now = self.phase.lock();
        while phase(*now) {
            self.changed.wait(&mut now);
        }
        *now
    }
}

impl Log {
    /// The log of a database whose log is empty, copied from so many pages on.
    pub fn of(conn: &mut Connection, shared: &Arc<Shared>, limit: u32) -> Result<Self, Fault> {
        let pages = Arc::new(AtomicU32::new(0));
        let counted = pages.clone();
        conn.wal_hook(Some(move |_: &mut _, length: std::ffi::c_int| {
            counted.store(length.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        let mut file = shared.path.clone().into_os_string();
        file.push("-wal");
        let database = Arc::new(File::open(&shared.path)?);
        let copying = Arc::new(Copying::default());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let beside = Connection::open_with_flags(&shared.path, flags)?;
        beside.pragma_update(None, "wal_autocheckpoint", 0)?;
        let copier =
            Copier { conn: beside, database: database.clone(), copying: copying.clone(), shared: shared.clone() };
        let copier = std::thread::Builder::new().name("store-copier".into()).spawn(move || copier.run())?;
        Ok(Self {
            file: file.into(),
            shared: shared.clone(),
            pages,
            begin: Some([0; 4]),
            limit,
            copy_at: limit,
            copying,
            copier,
            database,
        })
    }

    /// The log itself, to be synced.
    pub fn open(&self) -> std::io::Result<File> {
        File::open(&self.file)
    }

    /// Runs what ends a transaction; tells also whether that wrote anything.
    pub fn watch<T>(&mut self, commit: impl FnOnce() -> T) -> (T, bool) {
        let before = self.pages.swap(0, Ordering::Relaxed);
        let committed = commit();
        let wrote = self.pages.load(Ordering::Relaxed) > 0;
        if !wrote {
            self.pages.store(before, Ordering::Relaxed);
        }
        if wrote
            && let Some(begin) = self.begin
            && self.serial() != Some(begin)
        {
            self.begin = None;
            self.shared.counts.fsyncs.fetch_add(1, Ordering::Relaxed);
        }
        (committed, wrote)
    }

    /// Has it copied where it has grown long; by the writer, between two transactions.
    pub fn keep_short(&mut self, conn: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        match self.copying.phase() {
            Phase::Idle if pages >= self.copy_at => self.copying.enter(Phase::Asked),
            // The disk is slower than the writer, who waits rather than let the log grow without end.
            Phase::Asked if pages >= self.copy_at.saturating_add(self.limit / 2) => {
                if let Phase::Copied(pages) = self.copying.leave(|phase| phase == Phase::Asked) {
                    self.copy_rest(conn, pages);
                }
            }
            Phase::Copied(pages) => self.copy_rest(conn, pages),
            _ => {}
        }
    }

    /// Copies what came while these were copied.
    fn copy_rest(&mut self, conn: &Connection, copied: u32) {
        self.copying.enter(Phase::Idle);
        let length = self.pages.load(Ordering::Relaxed);
        match copy(conn, &self.shared, copied) {
            Ok(copied) if copied.is_all => {
                self.copy_at = self.limit;
                self.begin = self.serial();
                self.pages.store(0, Ordering::Relaxed);
            }
            // A reader still needs it.
            Ok(_) => self.copy_at = self.limit.saturating_add(length),
            Err(_) => self.copy_at = length.saturating_add(self.limit),
        }
    }

    /// The number that SQLite gives the log each time it begins it anew.
    fn serial(&self) -> Option<[u8; 4]> {
        let mut header = [0; 16];
        File::open(&self.file).and_then(|mut file| file.read_exact(&mut header)).ok()?;
        header.last_chunk().copied()
    }

    /// Ends the copying thread. What is given back is to be dropped after the last connection.
    pub fn close(self) -> Arc<File> {
        self.copying.enter(Phase::Closing);
        // One that panicked has nothing left to do.
        let _ = self.copier.join();
        self.database
    }
}

/// How far the log has been copied.
struct Copied {
    pages: u32,
    is_all: bool,
}

/// Copies the log into the database from this page on, as far as no reader still needs it.
fn copy(conn: &Connection, shared: &Shared, from: u32) -> rusqlite::Result<Copied> {
    let copied = conn.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE);
    let (all, pages) = copied.inspect_err(|error| {
        tracing::warn!(%error, "the write-ahead log could not be copied into the database; it grows meanwhile");
    })?;
    let (all, pages) = (u32::try_from(all).unwrap_or(0), u32::try_from(pages).unwrap_or(0));
    if pages > from {
        // The log is synced before it is copied, and the database when nothing is left to copy.
        shared.counts.fsyncs.fetch_add(1 + u64::from(pages == all), Ordering::Relaxed);
    }
    Ok(Copied { pages, is_all: pages == all })
}

/// The thread that copies beside the writer.
struct Copier {
    conn: Connection,
    database: Arc<File>,
    copying: Arc<Copying>,
    shared: Arc<Shared>,
}

impl Copier {
    fn run(self) {
        while self.copying.leave(|phase| matches!(phase, Phase::Idle | Phase::Copied(_))) == Phase::Asked {
            let copied = copy(&self.conn, &self.shared, 0).unwrap_or(Copied { pages: 0, is_all: false });
            if copied.pages > 0 && !copied.is_all {
                // So that little is left to sync when the writer copies the rest.
                self.shared.counts.fsyncs.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = self.database.sync_data() {
                    tracing::warn!(%error, "the database could not be synced; the rest of the log's copying tries again");
                }
            }
            self.copying.enter(Phase::Copied(copied.pages));
        }
    }
}
