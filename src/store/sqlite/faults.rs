//! Failures on purpose, for tests: the writer asks here before each statement. Without a plan it costs one load of an
//! atomic number.

use rusqlite::ffi;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What makes the writer of one store fail. Nothing does by default.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    /// Statements to go until the fault, counted down; at or below zero there is none.
    fail_in: AtomicI64,
    panic_in: AtomicI64,
    /// Whether the disk fails, or who waits for it panics, the next time that something must reach it.
    fail_sync: AtomicBool,
    panic_sync: AtomicBool,
}

impl Faults {
    /// Lets the writer's n-th statement from now on (n from 1, the beginning and the end of transactions included) fail
    /// like a disk, once.
    pub fn fail_at(&self, n: u32) {
        self.0.fail_in.store(n.into(), Ordering::SeqCst);
    }

    /// Likewise, but lets the writer panic.
    pub fn panic_at(&self, n: u32) {
        self.0.panic_in.store(n.into(), Ordering::SeqCst);
    }

    /// Lets the disk fail the next time that something must reach it.
    pub fn fail_sync(&self) {
        self.0.fail_sync.store(true, Ordering::SeqCst);
    }

    /// Likewise, but lets the thread that waits for the disk panic.
    pub fn panic_sync(&self) {
        self.0.panic_sync.store(true, Ordering::SeqCst);
    }

    /// Whether the last plan has been carried out; when not, it is called off.
    pub fn struck(&self) -> bool {
        let left = [&self.0.fail_in, &self.0.panic_in].map(|left| left.swap(0, Ordering::SeqCst));
        left == [0, 0]
    }

    /// One statement is about to run.
    pub(super) fn point(&self) -> rusqlite::Result<()> {
        if strikes(&self.0.fail_in) {
            let error = ffi::Error::new(ffi::SQLITE_IOERR);
            return Err(rusqlite::Error::SqliteFailure(error, Some("a fault on purpose".into())));
        }
        #[expect(clippy::panic, reason = "a test asked for it")]
        if strikes(&self.0.panic_in) {
            panic!("a fault on purpose");
        }
        Ok(())
    }
}

impl Faults {
    /// The log is about to be synced.
    pub(super) fn sync_point(&self) -> io::Result<()> {
        let strikes = |plan: &AtomicBool| plan.load(Ordering::Relaxed) && plan.swap(false, Ordering::SeqCst);
        #[expect(clippy::panic, reason = "a test asked for it")]
        if strikes(&self.0.panic_sync) {
            panic!("a fault on purpose");
        }
        if strikes(&self.0.fail_sync) { Err(io::Error::other("a fault on purpose")) } else { Ok(()) }
    }
}

fn strikes(left: &AtomicI64) -> bool {
    left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1
}
