//! Histories that are not the one that goes on: of an earlier task of the same id, of events that a fail-over cut off, and
//! of a clock that was set back. None may leave a trace in what is stored now.

use crate::redis_server::{Redis, Wanted};
use crate::schedules::{folded, follows};
use crate::subject::{
    START, Subject, capability, failed, feed, first, fleet, key, next, pause_over, redis_options, step, submission,
    succeeded, take,
};
use callboard::store::{Commit, Committed, Entry, RedisStore, RetentionQuery, Store};
use callboard::task::{At, Input, Task, TimerId, leases, timers};
use callboard::testkit::TestClock;
use std::sync::Arc;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

pub async fn a_task_of_a_used_id_is_no_base_of_the_earlier_ones_commits(Subject { store, clock, .. }: Subject) {
    let earlier = take(&*store, "t1", 1).await;
    let cancel = next(&earlier, Input::Cancel("enough".into()), &fleet(1), store.now()).unwrap();
    assert_eq!(store.commit(cancel.clone()).await, Ok(Committed::Applied));
    let all = RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
    assert_eq!(store.remove_finished(all, 9).await.unwrap().tasks, 1);
    clock.advance(1);
    let commit = first(&submission(&key("t1"), "something else"), &fleet(1), store.now());
    let task = commit.task.clone();
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
    assert_eq!(task.version, earlier.version);
    // What keeps the status and what changes it, from whoever still knows the earlier one.
    let step_on = next(&earlier, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
    for stale in [step_on, cancel.clone()] {
        assert_eq!(store.commit(stale).await, Ok(Committed::Conflict));
    }
    follows_alone(&*store, &clock, task.clone()).await;
    // A commit that was written in that history was not written in this one.
    feed(&*store, &task, succeeded(step("t1", 1)), 1).await;
    assert_eq!(store.commit(cancel).await, Ok(Committed::Conflict));
}

/// The one task of the store stands so, and the index follows from it. All that it holds is claimed then.
async fn follows_alone(store: &dyn Store, clock: &TestClock, task: Arc<Task>) {
    let stored = folded(store, std::slice::from_ref(&task.key)).await;
    assert_eq!(stored, [task]);
    clock.advance(YEAR_MS);
    follows(store, &stored).await;
}

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

// === What a server lost ===

async fn open(server: &Redis, clock: &Arc<TestClock>) -> RedisStore {
    RedisStore::connect(redis_options(server, clock)).await.unwrap()
}

#[test]
fn what_a_replica_never_had_is_no_base() {
    let (server, clock) = (Redis::start(), Arc::new(TestClock::default()));
    crate::subject::run(async {
        let patient = callboard::store::RedisOptions { wait_replicas: 1, ..redis_options(&server, &clock) };
        let one = RedisStore::connect(patient).await.unwrap();
        let replica = Wanted::default().line(&format!("replicaof 127.0.0.1 {}", server.port())).start();
        let task = take(&one, "t1", 1).await;
        replica.say("REPLICAOF NO ONE");
        let lost = next(&task, succeeded(step("t1", 1)), &fleet(1), one.now()).unwrap();
        assert_eq!(one.commit(lost.clone()).await, Ok(Committed::Applied));
        // Another master goes on from what the replica has.
        let two = open(&replica, &clock).await;
        clock.advance(1);
        let kept = feed(&two, &task, failed(step("t1", 1)), 1).await;
        assert_eq!(kept.version, lost.task.version);
        let stale = next(&lost.task, succeeded(step("t1", 2)), &fleet(1), two.now()).unwrap();
        assert_eq!(two.commit(stale).await, Ok(Committed::Conflict));
        // Neither is what was lost taken for written: its numbers are others' now.
        assert_eq!(two.commit(lost).await, Ok(Committed::Conflict));
        follows_alone(&two, &clock, kept).await;
    });
}

#[test]
fn what_belongs_to_no_state_can_be_dropped_and_nothing_else() {
    let (server, clock) = (Redis::start(), Arc::new(TestClock::default()));
    crate::subject::run(async {
        let store = open(&server, &clock).await;
        let queued = take(&store, "t1", 0).await;
        let held = take(&store, "t2", 1).await;
        let mut entries: Vec<_> = timers(&queued).iter().map(|timer| (key("t1"), Entry::Timer(timer.id))).collect();
        let waiting = store.waiting(&capability("analyze"), 9).await.unwrap().entries;
        entries.extend(waiting.into_iter().map(|(key, entry)| (key, Entry::Queued(entry))));
        entries.extend(timers(&held).iter().map(|timer| (key("t2"), Entry::Timer(timer.id))));
        entries.extend(leases(&held).into_iter().map(|lease| (key("t2"), Entry::Lease(lease))));
        assert_eq!(entries.len(), 6);
        for (key, entry) in &entries {
            assert_eq!(store.drop_stray(key, entry.clone()).await, Ok(false), "{entry:?}");
        }
        // A newer version's task may hold whatever it likes.
        server.say("HSET callboard:task:t1 schema 999");
        assert!(store.drop_stray(&entries[0].0, entries[0].1.clone()).await.is_err());
        server.say("HSET callboard:task:t1 schema 1");
        follows_from(&store, &clock, &[queued, held]).await;
        // The server forgets one task, and of the other that its step was ever placed.
        server.say("DEL callboard:task:t1");
        let held = store.load(&key("t2")).await.unwrap().unwrap();
        let Commit { task, .. } = next(&held, Input::Cancel("so".into()), &fleet(1), held.updated_at).unwrap();
        let state = serde_json::to_string(&*task).unwrap();
        server.command(&["HSET", "callboard:task:t2", "state", &state, "version", &task.version.to_string()]);
        for (key, entry) in entries {
            assert_eq!(store.drop_stray(&key, entry.clone()).await, Ok(true), "{entry:?}");
        }
        assert_eq!(store.waiting_capabilities().await, Ok(vec![]));
        assert_eq!(store.leases().await, Ok(vec![]));
        follows_from(&store, &clock, &[]).await;
    });
}

async fn follows_from(store: &dyn Store, clock: &TestClock, tasks: &[Arc<Task>]) {
    clock.advance(YEAR_MS);
    follows(store, tasks).await;
}
