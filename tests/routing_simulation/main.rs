//! Routing held against round robin and against knowing everything beforehand: thousands of steps on workers of which
//! one is ten times slower, one fails half the time, and one may be deaf. Simulated time, so the figures are the same on
//! every machine; `cargo nextest run --test routing_simulation --no-capture` prints them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod policy;
mod simulation;
mod worker;

use policy::{LeastLoaded, Oracle, Ours, Policy, Random, RoundRobin};
use simulation::{Outcome, Simulation};
use worker::Worker;

/// Seeds that each policy is played with; what is compared are all their steps together.
const SEEDS: u64 = 5;

fn table(title: &str, workers: &[Worker]) -> Vec<Outcome> {
    let play = |new: fn(u64) -> Box<dyn Policy>| {
        let played: Vec<_> = (1..=SEEDS).map(|seed| Simulation::new(workers, seed).play(new(seed))).collect();
        Outcome::of_all(played)
    };
    let outcomes = vec![
        play(|_| Box::new(RoundRobin::default())),
        play(|seed| Box::new(Random::new(seed))),
        play(|seed| Box::new(LeastLoaded::new(seed))),
        play(|seed| Box::new(Ours::new(seed))),
        play(|_| Box::new(Oracle::default())),
    ];
    println!("\n{title}\n\n| policy | p50 (s) | p99 (s) | wasted work |\n|---|---|---|---|");
    outcomes.iter().for_each(|outcome| println!("{outcome}"));
    outcomes
}

#[test]
fn one_worker_is_ten_times_slower_and_one_fails_half_the_time() {
    let _outcomes = table("8 workers, one ten times slower, one failing half of its steps", &worker::mixed());
}

#[test]
fn one_worker_is_deaf() {
    let _outcomes = table("8 workers, one deaf", &worker::with_a_deaf_one());
}
