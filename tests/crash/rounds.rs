//! The schedule: a system under load is hurt again and again at moments that a seed decides, goes on each time, and is
//! looked through at the end.

use crate::cast::{Cast, Play};
use crate::load::{Load, now_ms};
use crate::verdict::{Injury, Verdict};
use std::time::Duration;

/// Tasks in flight.
const CLIENTS: usize = 24;
/// How many tasks end between two injuries: things go on as before.
const BETWEEN: usize = 40;

/// How often each injury strikes.
pub fn rounds() -> usize {
    number("CALLBOARD_CRASH_ROUNDS").map_or(2, |rounds| usize::try_from(rounds).unwrap())
}

/// Whether this is the long form.
pub fn is_long() -> bool {
    rounds() >= 10
}

/// A step that takes long: half a minute, or in the short form a few seconds.
pub fn long() -> Duration {
    Duration::from_secs(if is_long() { 30 } else { 5 })
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Decides when and whom.
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The same decisions for the same seed.
    pub fn with_seed(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A random time between these.
    pub fn between(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.0.u64(from_ms..=to_ms))
    }

    /// One of so many.
    pub fn one_of(&mut self, count: usize) -> usize {
        self.0.usize(..count)
    }
}

/// What strikes: it hurts the system, lets it be whole again, and says what it did.
pub trait Strike {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury;
}

/// Begins an injury.
pub fn injury(what: impl Into<String>) -> Injury {
    let now = now_ms();
    Injury { what: what.into(), at_ms: now, over_ms: now, agents_at: Vec::new() }
}

/// Runs a play through all its rounds.
pub async fn through(play: Play, strike: impl Strike) -> Verdict {
    through_with(play, |_| strike).await
}

/// The same with what strikes made when the system runs.
pub async fn through_with<S: Strike>(play: Play, strike: impl FnOnce(&Cast) -> S) -> Verdict {
    let seed = number("CALLBOARD_CRASH_SEED").unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let mut dice = Dice::with_seed(seed);
    let name = play.name;
    eprintln!("{name}: seed {seed}");
    let mut cast = play.begin().await;
    let mut strike = strike(&cast);
    let load = Load::begin(cast.master_urls(), CLIENTS);
    let mut injuries = Vec::new();
    for round in 0..rounds() {
        load.more(BETWEEN).await;
        tokio::time::sleep(dice.between(0, 300)).await;
        let mut injury = strike.strike(&mut cast, &mut dice).await;
        injury.over_ms = injury.over_ms.max(now_ms());
        eprintln!("{name}: round {round}: {} for {} ms", injury.what, injury.over_ms - injury.at_ms);
        injuries.push(injury);
    }
    load.more(BETWEEN).await;
    let told = load.end().await;
    Verdict::of(name, seed, &cast, &told, &injuries).await
}
