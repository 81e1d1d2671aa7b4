//! Histories that are not the one that goes on: of a clock that was set back. None may leave a trace in what is stored now.

use crate::schedules::folded;
use crate::subject::{START, Subject, failed, feed, key, pause_over, step, succeeded, take};
use callboard::task::{At, TimerId, timers};

pub async fn a_clock_that_is_set_back_makes_nobody_wait(Subject { store, clock, .. }: Subject) {
    const HOUR_MS: u64 = 3_600_000;
    clock.advance(HOUR_MS);
    let task = take(&*store, "t1", 1).await;
    clock.set_back(HOUR_MS);
    assert_eq!(store.now(), At(START));
    let task = feed(&*store, &task, failed(step("t1", 1)), 1).await;
    let events = store.events(&task.key, 0, 99).await.unwrap().unwrap();
    assert!(events.is_sorted_by_key(|event| event.at), "{events:?}");
    // The pause is as long as it says, and what comes after it goes on.
    clock.advance(60_000);
    let pause = *timers(&task).iter().find(|timer| timer.id != TimerId::Deadline).unwrap();
    assert_eq!(store.due_timers(9, 5_000).await.unwrap().due, [(key("t1"), pause)]);
    let task = feed(&*store, &task, pause_over(&task), 1).await;
    let task = feed(&*store, &task, succeeded(step("t1", 1)), 1).await;
    let ended = feed(&*store, &task, succeeded(step("t1", 2)), 1).await;
    assert!(ended.end.is_some());
    folded(&*store, &[key("t1")]).await;
}
