//! The clock of a store that lives in this process. Nothing that is set by it, such as a pause or a lease, may ever take
//! longer than it says, so it goes on at the pace of time whatever befalls the machine's clock.

use crate::task::At;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the moment by which due-ness is judged.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> At;
}

/// The machine's clock, never running backwards within a process, and right again after the machine has slept. When the
/// machine's clock is set back, this one goes on from where it was, at the normal pace, and is ahead by so much until the
/// machine's has caught up or the process ends: one that was set forward by mistake and then back leaves it ahead by that
/// mistake. Moments in logs are then as much too late; pauses, leases and deadlines are as long as they say.
#[derive(Debug)]
pub struct SystemClock {
    /// From which this process counts.
    start: Instant,
    /// What the machine's clock showed at the start, in milliseconds: the latest that it was ever found to have shown.
    start_ms: AtomicU64,
}

impl SystemClock {
    /// Now, when so much has passed since the start and the machine's clock shows that.
    fn read(&self, passed_ms: u64, wall_ms: u64) -> At {
        let start_ms = wall_ms.saturating_sub(passed_ms);
        At(self.start_ms.fetch_max(start_ms, Ordering::Relaxed).max(start_ms).saturating_add(passed_ms))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now(), start_ms: AtomicU64::new(0) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> At {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.read(passed_ms(self.start), u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The milliseconds since then.
pub(super) fn passed_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn time_goes_on_when_the_machines_clock_is_set_back() {
        let clock = SystemClock::default();
        assert_eq!(clock.read(0, 50_000_000), At(50_000_000));
        assert_eq!(clock.read(500, 50_000_500 - HOUR_MS), At(50_000_500));
        assert_eq!(clock.read(1_500, 50_001_500 - HOUR_MS), At(50_001_500));
        // Forward by mistake, as after a sleep, and back: it goes on from there.
        assert_eq!(clock.read(2_000, 50_002_000 + HOUR_MS), At(50_002_000 + HOUR_MS));
        assert_eq!(clock.read(3_000, 50_003_000), At(50_003_000 + HOUR_MS));
        assert!(SystemClock::default().now() > At(50_000_000));
    }
}
