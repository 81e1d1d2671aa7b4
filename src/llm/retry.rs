//! Asking one place again: the only loop that does. What is asked again and what is not is the table's ([`Trouble`]); here
//! are how often, after which pause, and that nothing begins that cannot end in time.

use super::trouble::{Again, Trouble, TroubleKind};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How often one place is asked, and with which pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// In all, the first time included; at least 1.
    pub tries: u32,
    /// The first pause; each is twice the one before, with up to as much again as jitter.
    pub first_pause: Duration,
    /// The longest pause of our own choosing.
    pub longest_pause: Duration,
    /// The longest pause that a provider may ask for, and is waited out.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    /// Once, and never again: for what answers from this process, whose failures are no accidents of a network.
    pub const NONE: Self =
        Self { tries: 1, first_pause: Duration::ZERO, longest_pause: Duration::ZERO, longest_wait: Duration::ZERO };
}

impl Default for RetryPolicy {
    /// Three tries, from half a second to eight, and a minute where the provider asks for it: what the official clients do,
    /// with one try more.
    fn default() -> Self {
        Self {
            tries: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(8),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Asks until there is an answer, or none can be hoped for by then; answers with how often it asked again.
pub(super) async fn persist<T>(
    policy: &RetryPolicy,
    until: Instant,
    mut ask: impl AsyncFnMut() -> Result<T, Trouble>,
) -> (Result<T, Trouble>, u32) {
    let builder = ExponentialBuilder::new().with_factor(2.0).with_jitter();
    let builder = builder.with_min_delay(policy.first_pause).with_max_delay(policy.longest_pause);
    let mut pauses = builder.without_max_times().build();
    let mut again = 0;
    loop {
        let trouble = match timeout_at(until, ask()).await {
            Ok(Ok(answer)) => return (Ok(answer), again),
            Ok(Err(trouble)) => trouble,
            Err(_) => return (Err(no_time_left()), again),
        };
        let tries = match trouble.kind.again() {
            _ if trouble.is_final => 1,
            Again::Yes => policy.tries,
            Again::Once => policy.tries.min(2),
            // Others may be asked meanwhile: whoever knows them decides.
            Again::AfterItsTime | Again::No => 1,
        };
        let pause = pauses.next().unwrap_or(policy.longest_pause).max(trouble.wait.unwrap_or_default());
        if again + 1 >= tries || pause > policy.longest_wait || Instant::now() + pause >= until {
            return (Err(trouble), again);
        }
        tracing::debug!(%trouble, ?pause, "a model call is tried again");
        sleep(pause).await;
        again += 1;
    }
}

pub(super) fn no_time_left() -> Trouble {
    Trouble::new(TroubleKind::TimedOut, "the model did not answer within the time left")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a place that fails in this way so often, with how often it was asked and how long that took.
    async fn asked(trouble: Trouble, failures: u32, until_s: u64) -> (Result<(), TroubleKind>, u32, Duration) {
        let (began, mut count) = (Instant::now(), 0);
        let until = began + Duration::from_secs(until_s);
        let (answer, again) = persist(&RetryPolicy::default(), until, async || {
            count += 1;
            if count > failures { Ok(()) } else { Err(trouble.clone()) }
        })
        .await;
        assert_eq!(again, count - 1);
        (answer.map_err(|trouble| trouble.kind), count, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_is_asked_again_as_often_as_the_table_has_it() {
        for kind in TroubleKind::ALL {
            let most = match kind {
                TroubleKind::Unavailable => 3,
                TroubleKind::TimedOut => 2,
                _ => 1,
            };
            let trouble = Trouble::new(kind, "no");
            assert_eq!(asked(trouble.clone(), 99, 600).await.1, most, "{kind:?}");
            if most > 1 {
                assert_eq!(asked(trouble.clone(), 1, 600).await.0, Ok(()), "{kind:?}");
            }
            assert_eq!(asked(Trouble { is_final: true, ..trouble }, 99, 600).await.1, 1, "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_left_alone_for_as_long_as_it_asks() {
        let busy = Trouble::new(TroubleKind::Unavailable, "no").after(Some(Duration::from_secs(20)));
        let (answer, _, took) = asked(busy.clone(), 1, 600).await;
        assert!(answer.is_ok() && (20..21).contains(&took.as_secs()), "{took:?}");
        // Not for longer than anybody would wait, and not beyond the deadline.
        assert_eq!(asked(busy.clone().after(Some(Duration::from_secs(61))), 1, 600).await.1, 1);
        assert_eq!(asked(busy, 1, 19).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let (_, count, took) = asked(Trouble::new(TroubleKind::Unavailable, "no"), 99, 600).await;
        assert!(count == 3 && took >= Duration::from_millis(1_500) && took <= Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let began = Instant::now();
        let until = began + Duration::from_secs(5);
        let (answer, _) =
            persist(&RetryPolicy::default(), until, async || std::future::pending::<Result<(), _>>().await).await;
        assert_eq!((answer.unwrap_err().kind, began.elapsed()), (TroubleKind::TimedOut, Duration::from_secs(5)));
    }
}
