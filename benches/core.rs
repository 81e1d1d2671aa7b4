//! What the pure core costs: one task's decisions with their effects, and folding a log back into a state.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to report")]

mod task_life;

use callboard::task::{Capability, Event, Limits, MAX_STEPS, Pipeline, Stage, apply, effects, replay};
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use task_life::Desk;

/// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion);
    folding(&mut criterion);
    criterion.final_summary();
}

fn decisions(criterion: &mut Criterion) {
    let desk = Desk::standard();
    let mut group = criterion.benchmark_group("core/four_steps");
    group.bench_function("accept", |bencher| bencher.iter(|| desk.accept(black_box("t1"))));
    let accepted = desk.accept("t1");
    group.bench_function("decide", |bencher| bencher.iter(|| desk.next(black_box(&accepted)).unwrap()));
    let next = desk.next(&accepted).unwrap();
    group.bench_function("apply", |bencher| {
        bencher.iter(|| {
            let mut task = accepted.task.clone();
            next.events.iter().for_each(|event| apply(&mut task, black_box(event)));
            task
        });
    });
    group.bench_function("effects", |bencher| bencher.iter(|| effects(Some(black_box(&accepted.task)), &next.task)));
    group.bench_function("whole_life", |bencher| bencher.iter(|| desk.life(black_box("t1"))));
    group.finish();
}

fn folding(criterion: &mut Criterion) {
    let stage = |position: usize| Stage {
        capability: Capability::trusted(format!("stage-{position}")),
        optional: false,
        limits: Limits::default(),
    };
    let mut group = criterion.benchmark_group("core/replay");
    for (name, desk) in
        [("four_steps", Desk::standard()), ("longest_plan", Desk::new(Pipeline((0..MAX_STEPS).map(stage).collect())))]
    {
        let life = desk.life("t1");
        let log: Vec<Event> = life.iter().flat_map(|decision| decision.events.clone()).collect();
        let ended = &life.last().unwrap().task;
        assert_eq!(replay(&ended.key, &log).as_ref(), Ok(ended));
        group.throughput(Throughput::Elements(log.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| replay(&ended.key, black_box(&log)).unwrap()));
    }
    group.finish();
}
