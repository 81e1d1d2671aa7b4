//! When a crashed child may start again: the restart window and the back-off. Pure arithmetic over given moments and a
//! given random source; it never sleeps, reads a clock or touches an actor.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What ends a child for good, and what only makes it start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Always starts over, also after it stopped by itself.
    Permanent,
    /// Starts over after a crash; may stop by itself.
    Transient,
    /// Never starts over.
    Temporary,
}

/// How many restarts a child, or a group of children, may have within a span; one more escalates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// This many.
    pub max: u32,
    /// In any span this long.
    pub within: Duration,
}

impl Restarts {
    /// None at all: the first failure goes straight on to the parent.
    pub const NONE: Self = Self { max: 0, within: Duration::ZERO };
}

/// How long a child stays down before its next start: doubling from `first` up to `longest`, times a jitter of 0.5 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// After the first crash of a window.
    pub first: Duration,
    /// Never longer.
    pub longest: Duration,
}

impl BackOff {
    /// How long to wait before the `nth` restart of the window, counted from 1.
    pub fn delay(self, nth: u32, rng: &mut fastrand::Rng) -> Duration {
        let doublings = nth.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full.mul_f64(0.5 + rng.f64() / 2.0)
    }
}

/// The restarts taken within the span that still counts.
#[derive(Debug)]
pub(super) struct Window {
    limit: Restarts,
    taken: VecDeque<Instant>,
}

impl Window {
    /// A window in which nothing has happened yet.
    pub(super) fn new(limit: Restarts) -> Self {
        Self { limit, taken: VecDeque::new() }
    }

    /// Takes one restart at `now`: which one of the window it is, from 1, or none when the window is used up.
    pub(super) fn take(&mut self, now: Instant) -> Option<u32> {
        while self.taken.front().is_some_and(|at| now.duration_since(*at) >= self.limit.within) {
            self.taken.pop_front();
        }
        let used = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        if used >= self.limit.max {
            return None;
        }
        self.taken.push_back(now);
        Some(used + 1)
    }

    /// Forgets what happened: a parent started this child afresh.
    pub(super) fn clear(&mut self) {
        self.taken.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_longest_and_jitter_only_shortens() {
        let back_off = BackOff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let mut rng = fastrand::Rng::with_seed(7);
        for (nth, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (40, 1000), (u32::MAX, 1000)] {
            let delay = back_off.delay(nth, &mut rng).as_millis();
            assert!((full / 2..=full).contains(&delay), "restart {nth}: {delay} ms of {full}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_delays() {
        let back_off = BackOff { first: Duration::from_millis(100), longest: Duration::from_secs(60) };
        let delays = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (1..9).map(|nth| back_off.delay(nth, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(delays(3), delays(3));
        assert_ne!(delays(3), delays(4));
    }

    proptest! {
        /// Whenever the crashes come: a restart is refused exactly when the span before it already holds `max` of them.
        #[test]
        fn a_window_allows_exactly_its_restarts(
            max in 0_u32..5,
            within in 1_u64..200,
            gaps in proptest::collection::vec(0_u64..100, 0..60),
        ) {
            let start = Instant::now();
            let mut window = Window::new(Restarts { max, within: Duration::from_millis(within) });
            let mut now = 0;
            let mut allowed: Vec<u64> = Vec::new();
            for gap in gaps {
                now += gap;
                let recent = allowed.iter().filter(|at| now - **at < within).count();
                let taken = window.take(start + Duration::from_millis(now));
                prop_assert_eq!(taken.is_some(), recent < max as usize);
                if let Some(nth) = taken {
                    prop_assert_eq!(nth as usize, recent + 1);
                    allowed.push(now);
                }
            }
        }
    }
}
