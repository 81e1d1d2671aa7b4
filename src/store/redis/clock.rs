//! Now, by the server's clock, between its answers: each says when it was given, and this process's own clock counts on
//! from there. A store with a clock of its own goes by that instead, and tells the scripts.

use crate::store::Clock;
use crate::task::At;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The clock that due-ness is judged by.
pub(super) struct ServerClock {
    injected: Option<Arc<dyn Clock>>,
    /// From which this process counts.
    start: Instant,
    /// The server's time at `start`, in milliseconds.
    server_at_start: AtomicU64,
    /// The latest moment told to anybody: time never runs backwards.
    latest: AtomicU64,
}

impl ServerClock {
    pub fn new(injected: Option<Arc<dyn Clock>>) -> Self {
        Self { injected, start: Instant::now(), server_at_start: AtomicU64::new(0), latest: AtomicU64::new(0) }
    }

    /// What scripts are told; none where they ask the server.
    pub fn injected(&self) -> Option<u64> {
        self.injected.as_ref().map(|clock| clock.now().0)
    }

    /// Takes over what an answer says.
    pub fn learn(&self, server: At) {
        self.latest.fetch_max(server.0, Ordering::Relaxed);
        self.server_at_start.store(server.0.saturating_sub(self.passed_ms()), Ordering::Relaxed);
    }

    pub fn now(&self) -> At {
        if let Some(clock) = &self.injected {
            return clock.now();
        }
        let now = self.server_at_start.load(Ordering::Relaxed).saturating_add(self.passed_ms());
        At(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_server_and_never_runs_backwards() {
        let clock = ServerClock::new(None);
        clock.learn(At(1_000_000));
        let first = clock.now();
        assert!(first >= At(1_000_000) && first < At(1_060_000), "{first:?}");
        clock.learn(At(500_000));
        assert!(clock.now() >= first);
        clock.learn(At(9_000_000));
        assert!(clock.now() >= At(9_000_000));
    }
}
