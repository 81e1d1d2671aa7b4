//! Routing held against round robin and against knowing everything beforehand: thousands of steps on workers of which
//! one is ten times slower and one fails half the time, or one is deaf. Time is simulated, so the figures are the same on
//! every machine; `cargo nextest run --test routing_simulation --no-capture` prints them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod policy;
mod simulation;
mod worker;

use policy::{LeastLoaded, Oracle, Ours, Policy, Random, RoundRobin};
use simulation::{Outcome, Simulation};
use worker::Worker;

/// How often each policy is played, each time with other steps; what is compared is all of them together.
const SEEDS: u64 = 10;

/// What came of each policy.
struct Table {
    round_robin: Outcome,
    random: Outcome,
    least_loaded: Outcome,
    ours: Outcome,
    oracle: Outcome,
}

impl Table {
    fn of(title: &str, workers: &[Worker]) -> Self {
        let play = |new: fn(u64) -> Box<dyn Policy>| {
            Outcome::of_all((1..=SEEDS).map(|seed| Simulation::new(workers, seed).play(new(seed))).collect())
        };
        let table = Self {
            round_robin: play(|_| Box::new(RoundRobin::default())),
            random: play(|seed| Box::new(Random::new(seed))),
            least_loaded: play(|seed| Box::new(LeastLoaded::new(seed))),
            ours: play(|seed| Box::new(Ours::new(seed))),
            oracle: play(|_| Box::new(Oracle::default())),
        };
        println!("\n| {title} | p50 (s) | p99 (s) | wasted work |\n|---|---|---|---|");
        let Self { round_robin, random, least_loaded, ours, oracle } = &table;
        [round_robin, random, least_loaded, ours, oracle].iter().for_each(|outcome| println!("{outcome}"));
        table
    }
}

fn p99(outcome: &Outcome) -> f64 {
    outcome.percentile(99)
}

#[test]
fn one_worker_is_ten_times_slower_and_one_fails_half_the_time() {
    let Table { round_robin, random, least_loaded, ours, oracle } =
        Table::of("one ten times slower, one fails half the time", &worker::mixed());
    for blind in [&round_robin, &random, &least_loaded] {
        assert!(p99(&ours) < 0.65 * p99(blind), "{ours} {blind}");
        assert!(ours.wasted() < 0.4 * blind.wasted(), "{ours} {blind}");
        assert!(ours.percentile(50) <= blind.percentile(50), "{ours} {blind}");
    }
    assert!(p99(&ours) < 1.5 * p99(&oracle), "{ours} {oracle}");
    assert!(ours.wasted() < 1.25 * oracle.wasted(), "{ours} {oracle}");
}

#[test]
fn one_worker_is_deaf() {
    let Table { round_robin, random, least_loaded, ours, oracle } = Table::of("one deaf", &worker::with_a_deaf_one());
    for blind in [&round_robin, &random, &least_loaded] {
        assert!(p99(&ours) < 0.7 * p99(blind), "{ours} {blind}");
        assert!(ours.wasted() < 0.1 * blind.wasted(), "{ours} {blind}");
    }
    assert!(p99(&ours) < 1.1 * p99(&oracle), "{ours} {oracle}");
}
