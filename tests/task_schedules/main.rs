//! The promises of a task's life, held against random plans, fleets and schedules of inputs. `CALLBOARD_SCHEDULES` sets
//! how many (2,000 when unset, half of them pipelines and half graphs).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ledger;
mod rules;
mod schedule;
mod store;
mod town;

use proptest::prelude::*;
use schedule::{Raw, Schedule, Start};

fn config() -> ProptestConfig {
    let schedules: u32 = std::env::var("CALLBOARD_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    // A failing case is printed as numbers; one that teaches something becomes a test by name.
    ProptestConfig { cases: schedules.div_ceil(2), failure_persistence: None, ..ProptestConfig::default() }
}

fn start(pipeline: bool) -> impl Strategy<Value = Start> {
    let steps = prop::collection::vec(any::<Raw>(), 1..=5);
    let agents = prop::collection::vec(any::<(u8, u8)>(), 0..=4);
    (steps, agents, any::<u8>(), any::<u64>()).prop_map(move |(steps, agents, options, seed)| Start {
        steps,
        pipeline,
        agents,
        options,
        seed,
    })
}

fn moves() -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec(any::<Raw>(), 5..=60)
}

fn play(start: &Start, moves: &[Raw]) {
    let mut schedule = Schedule::begin(start);
    for step in moves {
        schedule.play(*step);
    }
    if start.seed.is_multiple_of(8) {
        schedule.nobody_answers();
    } else {
        schedule.all_goes_well();
    }
    schedule.finish();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn pipelines_keep_the_promises(start in start(true), moves in moves()) {
        play(&start, &moves);
    }

    #[test]
    fn graphs_keep_the_promises(start in start(false), moves in moves()) {
        play(&start, &moves);
    }
}
