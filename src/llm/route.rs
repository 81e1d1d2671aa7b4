//! Where a call goes: the first tier of places of which one answers. Within a tier they are drawn by weight, and whoever
//! rests or fails is passed over; where all ask to be left alone for a moment, it is waited for the first of them.

use super::Provider;
use super::breaker::{Breaker, Closed, Condition};
use super::retry::{RetryPolicy, no_time_left, persist};
use super::trouble::{Trouble, TroubleKind};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A provider with one key, and how it does.
pub struct Place {
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// How often it is drawn, beside the others of its tier; at least 1.
    pub weight: u32,
    /// How it is asked again.
    pub retry: RetryPolicy,
    /// None for one that answers from this process: its failures are its own, and no reason to leave it alone.
    pub(super) breaker: Option<Arc<Breaker>>,
}

impl Place {
    /// A place that has not been asked yet.
    pub fn new(provider: Arc<dyn Provider>, weight: u32, retry: RetryPolicy) -> Self {
        Self { provider, weight: weight.max(1), retry, breaker: Some(Arc::default()) }
    }

    /// A provider of this process, which is asked as it is.
    pub fn here(provider: Arc<dyn Provider>) -> Self {
        Self { provider, weight: 1, retry: RetryPolicy::NONE, breaker: None }
    }

    /// How it does.
    pub fn condition(&self) -> Condition {
        let well = Condition { is_open_for_calls: true, rests_for: None, why: None };
        self.breaker.as_ref().map_or(well, |breaker| breaker.condition(Instant::now()))
    }

    fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.breaker.as_ref()?.closed_until(now)
    }
}

/// Where calls go.
pub struct Route {
    /// The places, by whom is asked first.
    pub tiers: Vec<Vec<Place>>,
    /// Questions that one provider refuses are put to the next.
    pub also_refused: bool,
}

/// What came of a call.
pub(super) struct Served<T> {
    pub outcome: Result<T, Trouble>,
    /// How often a place was asked again.
    pub retries: u32,
    /// How many places were asked before this one, or failed all.
    pub fallbacks: u32,
}

/// How much later at most a place is asked than it asked for.
const MOST_JITTER: Duration = Duration::from_millis(250);
/// How often all places are gone through: once more after each time that they asked for.
const ROUNDS: u32 = 4;

impl Route {
    /// Asks place after place, of so many tiers at most. `ask` is told the place and whether it is of the first tier: the name of a model means
    /// something there only.
    pub(super) async fn serve<'a, T>(
        &'a self,
        until: Instant,
        most_tiers: usize,
        ask: impl Fn(&'a Place, bool) -> BoxFuture<'a, Result<T, Trouble>>,
    ) -> Served<T> {
        let mut served = Served { outcome: Err(nobody()), retries: 0, fallbacks: 0 };
        for round in 1..=ROUNDS {
            let Round { refused, next } = self.round(until, most_tiers, &ask, &mut served).await;
            if served.outcome.is_ok() || refused || round == ROUNDS {
                break;
            }
            let Some(next) = next.filter(|next| *next < until) else { break };
            // All that wait for the same moment must not come at it together.
            sleep_until(next + MOST_JITTER.mul_f64(fastrand::f64())).await;
        }
        served
    }

    /// Goes through all places once.
    async fn round<'a, T>(
        &'a self,
        until: Instant,
        most_tiers: usize,
        ask: &impl Fn(&'a Place, bool) -> BoxFuture<'a, Result<T, Trouble>>,
        served: &mut Served<T>,
    ) -> Round {
        // When the first of those may be asked that can be waited for.
        let mut next = None;
        for (number, tier) in self.tiers.iter().take(most_tiers).enumerate() {
            for place in drawn(tier) {
                let now = Instant::now();
                if now >= until {
                    served.outcome = Err(no_time_left());
                    return Round { refused: true, next: None };
                }
                let leave = match place.breaker.as_ref().map(|breaker| breaker.ask(now)).transpose() {
                    Ok(leave) => leave,
                    Err(Closed { until, last }) => {
                        let last = last.unwrap_or_else(nobody).after(Some(until - now));
                        next = sooner(next, worth_waiting(place, &last, until - now).then_some(until));
                        served.outcome = Err(last);
                        continue;
                    }
                };
                let (outcome, again) = persist(&place.retry, until, async || ask(place, number == 0).await).await;
                served.retries += again;
                if let Some(leave) = leave {
                    leave.note(outcome.as_ref().map(|_| ()), Instant::now());
                }
                let Err(trouble) = &outcome else {
                    served.outcome = outcome;
                    return Round { refused: false, next: None };
                };
                if trouble.kind == TroubleKind::Throttled {
                    let now = Instant::now();
                    // It may have asked for no time at all.
                    let free = place.closed_until(now).unwrap_or(now);
                    let free = worth_waiting(place, trouble, free - now).then_some(free);
                    next = sooner(next, free);
                }
                let goes_on = trouble.kind.falls_back(self.also_refused);
                served.outcome = outcome;
                if !goes_on {
                    return Round { refused: true, next: None };
                }
                served.fallbacks += 1;
            }
        }
        Round { refused: false, next }
    }

    /// All places, those asked first before the others.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.tiers.iter().flatten()
    }
}

/// What came of going through all places.
struct Round {
    /// Nobody else is to be asked.
    refused: bool,
    /// When it makes sense to go through them again.
    next: Option<Instant>,
}

/// Whether a place is waited for that is left alone so long.
fn worth_waiting(place: &Place, last: &Trouble, wait: Duration) -> bool {
    let passes = matches!(
        last.kind,
        TroubleKind::Throttled | TroubleKind::Unavailable | TroubleKind::TimedOut | TroubleKind::Broken
    );
    passes && wait <= place.retry.longest_wait
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The places of a tier in an order drawn by weight: each is first as often as its weight says.
fn drawn(tier: &[Place]) -> Vec<&Place> {
    // Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): by u^(1/w).
    let mut keyed: Vec<_> =
        tier.iter().map(|place| (fastrand::f64().powf(1.0 / f64::from(place.weight)), place)).collect();
    keyed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    keyed.into_iter().map(|(_, place)| place).collect()
}

fn nobody() -> Trouble {
    Trouble::new(TroubleKind::Unavailable, "no model provider can be asked just now")
}

#[cfg(test)]
mod tests;
