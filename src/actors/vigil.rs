//! Whether those who live could show it of late. While the store or this process stood still nobody could, so whoever
//! lives is given the time to be heard before a lease that has run out is ended and an agent that was silent is forgotten.

use crate::task::At;
use std::time::Duration;
use tokio::time::Instant;

/// Rounds that are further apart than this did not follow each other: something stood still.
const STILL: Duration = Duration::from_secs(2);

/// What is known of the rounds so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vigil {
    /// The last round that went well, by this process's clock and by the store's: a machine that slept shows in one only.
    last: Option<(Instant, At)>,
    spared_until: Option<Instant>,
    /// A heartbeat and a little more.
    grace: Duration,
}

impl Vigil {
    /// Before the first round. What ran out while nobody looked ends in it.
    pub fn new(heartbeat_ttl_ms: u64) -> Self {
        Self { last: None, spared_until: None, grace: Duration::from_millis(heartbeat_ttl_ms / 3) + STILL }
    }

    /// Whether silence means death now.
    pub fn counts_silence(&self, now: At) -> bool {
        !self.stood_still(now) && self.spared_until.is_none_or(|until| until <= Instant::now())
    }

    fn stood_still(&self, now: At) -> bool {
        self.last.is_some_and(|(here, there)| here.elapsed() > STILL || Duration::from_millis(now.since(there)) > STILL)
    }

    /// Notes a round that begins; answers whether silence means death in it.
    pub fn begin(&mut self, now: At) -> bool {
        let here = Instant::now();
        if self.stood_still(now) {
            if self.spared_until.is_none_or(|until| until <= here) {
                tracing::warn!(grace = ?self.grace, "nobody is given up for a while: nobody could be heard of late");
            }
            self.spared_until = Some(here + self.grace);
        }
        self.last = Some((here, now));
        self.counts_silence(now)
    }

    /// The round that began when it was like this did not go well.
    pub fn failed(&mut self, before: Self) {
        self.last = before.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: u64 = 30_000;
    const GRACE: Duration = Duration::from_secs(12);

    /// Rounds a tenth of a second apart, with the store's clock beside.
    async fn rounds(vigil: &mut Vigil, now: &mut At, count: usize) -> bool {
        let mut ends = true;
        for _ in 0..count {
            tokio::time::advance(Duration::from_millis(100)).await;
            *now = now.plus(100);
            ends &= vigil.begin(*now);
        }
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn after_standing_still_leases_are_spared_for_a_heartbeat_and_a_little() {
        let (mut vigil, mut now) = (Vigil::new(TTL_MS), At(0));
        assert!(vigil.begin(now), "what ran out before it began");
        assert!(rounds(&mut vigil, &mut now, 50).await);
        tokio::time::advance(Duration::from_secs(20)).await;
        now = now.plus(20_000);
        assert!(!vigil.counts_silence(now) && !vigil.begin(now));
        tokio::time::advance(GRACE - Duration::from_millis(200)).await;
        vigil.last = Some((Instant::now(), now));
        assert!(!rounds(&mut vigil, &mut now, 1).await);
        assert!(rounds(&mut vigil, &mut now, 5).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_shows_in_the_stores_clock_alone() {
        let (mut vigil, mut now) = (Vigil::new(TTL_MS), At(0));
        assert!(rounds(&mut vigil, &mut now, 5).await);
        now = now.plus(3_600_000);
        assert!(!rounds(&mut vigil, &mut now, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_fail_are_no_rounds() {
        let (mut vigil, mut now) = (Vigil::new(TTL_MS), At(0));
        assert!(rounds(&mut vigil, &mut now, 5).await);
        for _ in 0..30 {
            let before = vigil;
            rounds(&mut vigil, &mut now, 1).await;
            vigil.failed(before);
        }
        assert!(!rounds(&mut vigil, &mut now, 1).await);
    }
}
