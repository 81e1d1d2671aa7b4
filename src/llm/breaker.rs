//! Whether a place is asked at all. After several failures in a row it is left alone for a while, then tried with one call;
//! and it rests for as long as it asked for. Time is told, so that all of it is decided here.

use super::trouble::{Mark, Trouble};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So many failures in a row open it.
const FAILURES: u32 = 5;
/// The first and the longest time for which it is open; each is twice the one before.
const OPEN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));
/// How long a probe that another call makes is waited for.
const PROBE: Duration = Duration::from_secs(1);
/// How long a place rests that does not say for how long.
const REST: Duration = Duration::from_secs(10);
/// How long one rests whose quota is used up, and does not say until when.
const LONG_REST: Duration = Duration::from_secs(3600);
/// How long one rests whose key is wrong: somebody may mend it on the other side.
const BAD_KEY_REST: Duration = Duration::from_secs(300);

/// A place's breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// How often it has opened since the last success.
    opened: u32,
    open_until: Option<Instant>,
    rests_until: Option<Instant>,
    /// It is being tried with one call.
    is_probed: bool,
    last: Option<Trouble>,
}

/// It is not to be asked.
#[derive(Debug)]
pub(super) struct Closed {
    /// Until when.
    pub until: Instant,
    /// What it said last.
    pub last: Option<Trouble>,
}

/// How a place is, for those who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Calls go there.
    pub is_open_for_calls: bool,
    /// Until when they do not, from now.
    pub rests_for: Option<Duration>,
    /// Why, in the words of its last failure.
    pub why: Option<Arc<str>>,
}

/// Leave to ask once. What came of it is to be noted; dropped, it says nothing of the place.
pub(super) struct Leave {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    /// Leave to ask the place now.
    ///
    /// # Errors
    /// [`Closed`], which says when it may be asked.
    pub fn ask(self: &Arc<Self>, now: Instant) -> Result<Leave, Closed> {
        let mut state = self.0.lock();
        if let Some(until) = state.closed_until(now) {
            return Err(Closed { until, last: state.last.clone() });
        }
        let is_probe = state.opened > 0;
        if is_probe && state.is_probed {
            // Whoever tries it will know soon.
            return Err(Closed { until: now + PROBE, last: state.last.clone() });
        }
        state.is_probed |= is_probe;
        Ok(Leave { breaker: self.clone(), is_probe })
    }

    /// How it is.
    pub fn condition(&self, now: Instant) -> Condition {
        let state = self.0.lock();
        let until = state.closed_until(now);
        Condition {
            is_open_for_calls: until.is_none(),
            rests_for: until.map(|until| until - now),
            why: state.last.as_ref().map(|trouble| trouble.message.clone()),
        }
    }

    /// Until when it is not to be asked.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.0.lock().closed_until(now)
    }

    /// It answered.
    fn succeeded(&self) {
        *self.0.lock() = State::default();
    }

    /// It did not.
    pub fn failed(&self, trouble: &Trouble, now: Instant) {
        let mut state = self.0.lock();
        let rest = |default| Some(now + trouble.wait.unwrap_or(default));
        match trouble.kind.mark() {
            Mark::None => return,
            Mark::Failure => {
                state.failures += 1;
                if state.failures >= FAILURES || state.opened > 0 {
                    let open = OPEN.0.saturating_mul(1 << state.opened.min(8)).min(OPEN.1);
                    state.opened += 1;
                    state.open_until = Some(now + open);
                    tracing::warn!(%trouble, ?open, "a model provider fails again and again: it is left alone for a while");
                }
            }
            Mark::Rest => state.rests_until = rest(REST),
            Mark::LongRest => {
                state.rests_until = rest(LONG_REST);
                tracing::warn!(%trouble, "a model provider's quota is used up");
            }
            Mark::BadKey => {
                state.rests_until = rest(BAD_KEY_REST);
                tracing::error!(%trouble, "a model provider does not accept its key: set another one");
            }
        }
        state.last = Some(trouble.clone());
    }
}

impl State {
    fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.max(self.open_until).filter(|until| *until > now)
    }
}

impl Leave {
    /// What came of it.
    pub fn note(self, outcome: Result<(), &Trouble>, now: Instant) {
        match outcome {
            Ok(()) => self.breaker.succeeded(),
            Err(trouble) => self.breaker.failed(trouble, now),
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.0.lock().is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::trouble::TroubleKind;

    fn fails(breaker: &Arc<Breaker>, kind: TroubleKind, now: Instant) {
        breaker.ask(now).ok().unwrap().note(Err(&Trouble::new(kind, "no")), now);
    }

    fn closed(breaker: &Arc<Breaker>, now: Instant) -> Option<Instant> {
        breaker.ask(now).err().map(|closed| closed.until)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        for _ in 1..FAILURES {
            fails(&breaker, TroubleKind::Unavailable, start);
        }
        breaker.ask(start).ok().unwrap().note(Ok(()), start);
        for _ in 0..FAILURES {
            fails(&breaker, TroubleKind::TimedOut, start);
        }
        assert_eq!(closed(&breaker, start), Some(start + OPEN.0));
        assert_eq!(breaker.condition(start).rests_for, Some(OPEN.0));
        // One at a time tries it; one that is given up says nothing.
        let later = start + OPEN.0;
        let probe = breaker.ask(later).ok().unwrap();
        assert!(breaker.ask(later).is_err());
        drop(probe);
        fails(&breaker, TroubleKind::Unavailable, later);
        assert_eq!(closed(&breaker, later), Some(later + 2 * OPEN.0), "twice as long");
        let later = later + 2 * OPEN.0;
        breaker.ask(later).ok().unwrap().note(Ok(()), later);
        assert!(breaker.ask(later).is_ok() && breaker.ask(later).is_ok());
        assert!(breaker.condition(later).is_open_for_calls);
    }

    #[test]
    fn the_longest_time_has_an_end() {
        let (breaker, mut now) = (Arc::new(Breaker::default()), Instant::now());
        for _ in 0..100 {
            match breaker.ask(now) {
                Ok(leave) => leave.note(Err(&Trouble::new(TroubleKind::Broken, "no")), now),
                Err(Closed { until, .. }) => {
                    assert!(until - now <= OPEN.1);
                    now = until;
                }
            }
        }
    }

    #[test]
    fn a_refused_question_counts_against_nobody() {
        let (breaker, now) = (Arc::new(Breaker::default()), Instant::now());
        for kind in [TroubleKind::Invalid, TroubleKind::Filtered, TroubleKind::Full] {
            for _ in 0..3 * FAILURES {
                fails(&breaker, kind, now);
            }
        }
        assert!(breaker.condition(now).is_open_for_calls);
    }

    #[test]
    fn it_rests_for_as_long_as_it_asked_for() {
        let now = Instant::now();
        let table = [
            (TroubleKind::Throttled, None, REST),
            (TroubleKind::Throttled, Some(Duration::from_secs(26)), Duration::from_secs(26)),
            (TroubleKind::Exhausted, None, LONG_REST),
            (TroubleKind::Unauthorized, None, BAD_KEY_REST),
        ];
        for (kind, wait, rest) in table {
            let breaker = Arc::new(Breaker::default());
            breaker.ask(now).ok().unwrap().note(Err(&Trouble::new(kind, "no").after(wait)), now);
            assert_eq!(closed(&breaker, now), Some(now + rest), "{kind:?}");
            assert!(breaker.ask(now + rest).is_ok(), "{kind:?}");
        }
    }
}
