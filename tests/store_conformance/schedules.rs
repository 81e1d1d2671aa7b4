//! Whatever happens to tasks, in whatever order: the stored state is the fold of the stored events, and queues, timers
//! and leases are what follows from it.

use crate::subject::{Subject, capability, failed, first, fleet, key, next, report, step, submission, succeeded};
use callboard::store::{Committed, Store};
use callboard::task::{
    AttemptEnd, ErrorCode, Failure, Input, Lease, Loss, Outcome, QueueEntry, Task, TaskKey, Timer, leases,
    queue_entries, timers,
};
use callboard::testkit::Log;
use std::sync::Arc;

pub fn random_input(random: &mut fastrand::Rng, task: &Task) -> Input {
    let step = step(task.key.id.as_str(), random.u32(1..=2));
    match random.u32(0..20) {
        0..6 => succeeded(step),
        6..8 => failed(step),
        8..10 => Input::Claim(step),
        10 => report(step, Outcome::Ended(AttemptEnd::Crashed(Failure::new(ErrorCode::Crashed, "boom")))),
        11..13 => {
            report(step, Outcome::Ended(AttemptEnd::Lost(random.choice([Loss::Refused, Loss::LeaseExpired]).unwrap())))
        }
        13 => Input::Cancel("enough".into()),
        _ => random.choice(timers(task)).map_or(Input::Claim(step), |timer| Input::TimerFired(timer.id)),
    }
}

pub async fn every_schedule_folds_to_what_is_stored(Subject { store, clock, .. }: Subject) {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let ids: Vec<_> = (0..6).map(|n| format!("s{seed}-{n}")).collect();
        for id in &ids {
            let commit = first(&submission(&key(id), "why?"), &fleet(random.u32(0..2)), store.now());
            assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
        }
        for _ in 0..40 {
            clock.advance(random.u64(0..3000));
            let task = store.load(&key(random.choice(&ids).unwrap())).await.unwrap().unwrap();
            let input = random_input(&mut random, &task);
            if let Some(commit) = next(&task, input, &fleet(random.u32(0..2)), store.now()) {
                assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
            }
        }
        folded(&*store, &ids.iter().map(|id| key(id)).collect::<Vec<_>>()).await;
    }
    let keys: Vec<_> = (0..8).flat_map(|seed| (0..6).map(move |n| key(&format!("s{seed}-{n}")))).collect();
    let tasks = folded(&*store, &keys).await;
    clock.advance(365 * 24 * 3_600_000);
    follows(&*store, &tasks).await;
}

/// Every state is the fold of its events, and the events are as they must be.
pub async fn folded(store: &dyn Store, keys: &[TaskKey]) -> Vec<Arc<Task>> {
    let mut tasks = Vec::new();
    for key in keys {
        tasks.push(Log::read(store, key).await.sound().task().clone());
    }
    tasks
}

/// Queues, timers and leases are those of these tasks, once all of them are due.
pub async fn follows(store: &dyn Store, tasks: &[Arc<Task>]) {
    let mut expected: Vec<(TaskKey, QueueEntry)> = of_each(tasks, queue_entries);
    let mut found = Vec::new();
    for name in ["analyze", "evaluate"] {
        let waiting = store.waiting(&capability(name), 100_000).await.unwrap();
        let ranks: Vec<_> = waiting.entries.iter().map(|(_, entry)| entry.rank).collect();
        assert!(ranks.is_sorted());
        assert_eq!(waiting.counts.iter().sum::<u32>() as usize, waiting.entries.len());
        found.extend(waiting.entries);
    }
    found.sort_by_key(|(key, entry)| (key.clone(), entry.step.clone()));
    expected.sort_by_key(|(key, entry)| (key.clone(), entry.step.clone()));
    assert_eq!(found, expected);

    let mut expected: Vec<(TaskKey, Timer)> = of_each(tasks, timers);
    let mut found = store.due_timers(100_000, 5_000).await.unwrap().due;
    assert!(found.is_sorted_by_key(|(_, timer)| timer.due));
    found.sort_by_key(|(key, timer)| (key.clone(), timer.id));
    expected.sort_by_key(|(key, timer)| (key.clone(), timer.id));
    assert_eq!(found, expected);

    let mut expected: Vec<(TaskKey, Lease)> = of_each(tasks, leases);
    let mut found = store.expired_leases(100_000, 5_000).await.unwrap().due;
    found.sort_by_key(|(key, lease)| (key.clone(), lease.step.clone()));
    expected.sort_by_key(|(key, lease)| (key.clone(), lease.step.clone()));
    assert_eq!(found, expected);
}

fn of_each<T>(tasks: &[Arc<Task>], what: fn(&Task) -> Vec<T>) -> Vec<(TaskKey, T)> {
    tasks.iter().flat_map(|task| what(task).into_iter().map(|thing| (task.key.clone(), thing))).collect()
}
