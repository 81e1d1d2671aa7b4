//! Now, by the server's clock, between its answers: each says when it was given, and this process's own clock counts on
//! from there. A store with a clock of its own goes by that instead, and tells the scripts.

use crate::store::Clock;
use crate::store::clock::passed_ms;
use crate::task::At;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Answers are up to so much older than the moment at which they are read, and are then no news of the time. One that is
/// further behind says that the server's clock was set back, in milliseconds.
const LATE_MS: u64 = 1_000;

/// The clock that due-ness is judged by. It follows the server's, also back, because what is set by this one is judged by
/// that: a pause that begins ahead of the server's time would take as much longer.
pub(super) struct ServerClock {
    injected: Option<Arc<dyn Clock>>,
    /// From which this process counts.
    start: Instant,
    /// The server's time at `start`, in milliseconds.
    server_at_start: AtomicU64,
}

impl ServerClock {
    pub fn new(injected: Option<Arc<dyn Clock>>) -> Self {
        Self { injected, start: Instant::now(), server_at_start: AtomicU64::new(0) }
    }

    /// What scripts are told; none where they ask the server.
    pub fn injected(&self) -> Option<u64> {
        self.injected.as_ref().map(|clock| clock.now().0)
    }

    /// Takes over what an answer says.
    pub fn learn(&self, server: At) {
        self.learn_after(passed_ms(self.start), server);
    }

    pub fn now(&self) -> At {
        self.injected.as_ref().map_or_else(|| self.after(passed_ms(self.start)), |clock| clock.now())
    }

    fn learn_after(&self, passed_ms: u64, server: At) {
        let heard = server.0.saturating_sub(passed_ms);
        let known = self.server_at_start.load(Ordering::Relaxed);
        if heard > known || known - heard > LATE_MS {
            // Of two answers at once either may win: the next one corrects it.
            self.server_at_start.store(heard, Ordering::Relaxed);
        }
    }

    fn after(&self, passed_ms: u64) -> At {
        At(self.server_at_start.load(Ordering::Relaxed).saturating_add(passed_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn it_follows_the_server_forward_and_back() {
        let clock = ServerClock::new(None);
        clock.learn_after(0, At(50_000_000));
        assert_eq!(clock.after(10), At(50_000_010));
        // For one answer the server's clock was an hour ahead.
        clock.learn_after(20, At(50_000_020 + HOUR_MS));
        assert_eq!(clock.after(30), At(50_000_030 + HOUR_MS));
        clock.learn_after(40, At(50_000_040));
        assert_eq!(clock.after(50), At(50_000_050));
        // It was set back for good.
        clock.learn_after(60, At(50_000_060 - HOUR_MS));
        assert_eq!(clock.after(60), At(50_000_060 - HOUR_MS));
    }

    #[test]
    fn an_answer_that_took_long_does_not_set_it_back() {
        let clock = ServerClock::new(None);
        clock.learn_after(0, At(50_000_000));
        clock.learn_after(900, At(50_000_300));
        assert_eq!(clock.after(900), At(50_000_900));
        clock.learn(At(90_000_000));
        assert!(clock.now() >= At(90_000_000));
    }
}
