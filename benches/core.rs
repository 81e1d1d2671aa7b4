//! What the pure core costs: one task's decisions with their effects, folding a log back into a state, and routing a step
//! among few and among many agents.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to report")]

mod task_life;

use callboard::task::{
    AgentId, At, AttemptNo, Capability, Event, Fleet, Incarnation, Lease, Limits, MAX_STEPS, Member, Pipeline, Stage,
    StepId, Trial, Verdict, Wanted, apply, effects, replay,
};
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
    routing(&mut criterion);
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

/// Steps under way while another one is routed.
const STEPS: usize = 10_000;

/// One step's routing: who gets it, its slot, its end and what that says; by the number of agents, which have twice as
/// many slots as steps are under way.
fn routing(criterion: &mut Criterion) {
    let capability = Capability::trusted("analyze");
    let mut group = criterion.benchmark_group("core/routing");
    for agents in [4, 100, 1_000] {
        let mut fleet = busy_fleet(agents, &capability);
        let mut now = At(1_000_000);
        let mut step = || {
            now = now.plus(1);
            let wanted = Wanted { capability: &capability, had_it: &[], promised: &[], now, seed: now.0 };
            let choice = fleet.choose(black_box(&wanted)).unwrap();
            let lease = lease(choice.agent, 1);
            assert!(fleet.take_slot(&lease) && fleet.give_slot(&lease));
            fleet.judge(&Trial {
                agent: &lease.agent,
                incarnation: &lease.incarnation,
                capability: &capability,
                placed_at: At(now.0 - 1_000),
                ended_at: now,
                verdict: if now.0.is_multiple_of(10) { Verdict::Bad } else { Verdict::Good },
            });
            fleet.free_slots(&capability, now)
        };
        group.bench_function(format!("{agents}_agents"), |bencher| bencher.iter(&mut step));
    }
    group.finish();
}

fn busy_fleet(agents: usize, capability: &Capability) -> Fleet {
    let mut fleet = Fleet::new(30_000);
    let name = |number: usize| AgentId::trusted(format!("agent-{number}"));
    for number in 0..agents {
        let slots = u32::try_from(2 * STEPS / agents).unwrap();
        fleet.join(name(number), Member::new(life(), vec![capability.clone()], slots), At(1));
    }
    for step in 0..STEPS {
        assert!(fleet.take_slot(&lease(name(step % agents), 0)));
    }
    fleet
}

fn life() -> Incarnation {
    Incarnation::trusted("life-1")
}

fn lease(agent: AgentId, attempt: u32) -> Lease {
    Lease { step: StepId::trusted("t1-P1"), attempt: AttemptNo(attempt), agent, incarnation: life() }
}
