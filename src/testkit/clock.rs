//! The clock that tests move. It stands still until it is moved by hand, and goes along with a runtime's paused time where
//! it is told to, so that store and actors agree on what has passed.

use crate::store::Clock;
use crate::task::At;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

/// A clock for [`MemoryStore`](crate::store::MemoryStore) and [`SqliteStore`](crate::store::SqliteStore), in the hands of
/// a test.
#[derive(Debug)]
pub struct TestClock {
    start: At,
    moved_ms: AtomicU64,
    /// The runtime whose time it goes along with, and that one's moment when it began to.
    followed: OnceLock<(Id, Instant)>,
    /// How much of that time had passed when the runtime's own thread looked last: what other threads are told.
    passed_ms: AtomicU64,
}

impl TestClock {
    /// The moment at which a clock stands that is told nothing else: in November 2023.
    pub const START: At = At(1_700_000_000_000);

    /// A clock that stands at a moment.
    pub fn at(start: At) -> Self {
        Self { start, moved_ms: AtomicU64::new(0), followed: OnceLock::new(), passed_ms: AtomicU64::new(0) }
    }

    /// Moves it, in milliseconds.
    pub fn advance(&self, ms: u64) {
        self.moved_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets it back, as far as it was moved.
    pub fn set_back(&self, ms: u64) {
        self.moved_ms.fetch_sub(ms.min(self.moved_ms.load(Ordering::SeqCst)), Ordering::SeqCst);
    }

    /// From now on it also goes along with the time of this runtime, which a test can pause. To be called inside it.
    pub fn follow(&self) {
        self.followed.get_or_init(|| (Handle::current().id(), Instant::now()));
    }

    fn passed_ms(&self) -> u64 {
        // Other threads have no paused time: they see the moment at which the runtime handed them what they do.
        if let Some((runtime, began)) = self.followed.get()
            && Handle::try_current().is_ok_and(|handle| handle.id() == *runtime)
        {
            let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.passed_ms.fetch_max(passed, Ordering::SeqCst);
        }
        self.passed_ms.load(Ordering::SeqCst)
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::at(Self::START)
    }
}

impl Clock for TestClock {
    fn now(&self) -> At {
        self.start.plus(self.moved_ms.load(Ordering::SeqCst)).plus(self.passed_ms())
    }
}

/// Keeps a paused time from passing while another thread works, such as a store's: as long as this lives, nothing that
/// waits for a moment comes to it.
pub(super) struct StandStill(#[expect(dead_code, reason = "its end is what counts")] std::sync::mpsc::Sender<()>);

impl StandStill {
    pub(super) fn begin() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        // tokio lets no time pass while a blocking call runs.
        drop(tokio::task::spawn_blocking(move || ended.recv()));
        Self(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_stands_until_it_is_moved() {
        let clock = TestClock::default();
        clock.advance(5);
        assert_eq!(clock.now(), TestClock::START.plus(5));
    }

    #[tokio::test]
    async fn it_goes_along_with_paused_time_on_every_thread() {
        tokio::time::pause();
        let clock = std::sync::Arc::new(TestClock::default());
        clock.follow();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        // tokio's timers have a grain of a millisecond.
        assert!((3_600_000..=3_600_001).contains(&clock.now().since(TestClock::START)), "{:?}", clock.now());
        let there = clock.clone();
        let seen = std::thread::spawn(move || there.now()).join();
        assert_eq!(seen.unwrap(), clock.now());
    }

    #[tokio::test]
    async fn no_time_passes_while_another_thread_works() {
        tokio::time::pause();
        let before = Instant::now();
        let (done, wait) = tokio::sync::oneshot::channel();
        let still = StandStill::begin();
        let worker = std::thread::spawn(move || {
            // Long enough for an idle runtime to jump ahead, if it did.
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            done.send(())
        });
        tokio::select! {
            _ = wait => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("time passed"),
        }
        assert_eq!(before.elapsed(), Duration::ZERO);
        drop(still);
        worker.join().unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(before.elapsed() >= Duration::from_secs(60));
    }
}
