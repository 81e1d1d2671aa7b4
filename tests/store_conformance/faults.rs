//! A disk that fails, is full or is locked by another program, and a writer that panics: every caller is answered, nothing
//! is lost or half visible, and the next write goes on by itself.

use crate::durable::House;
use crate::schedules::{folded, follows};
use crate::subject::{commit_id, feed, first, fleet, key, live, next, run, step, submission, succeeded, take};
use callboard::store::{Commit, Committed, SqliteOptions, SqliteStore, Store, StoreError};
use callboard::task::{Input, Json, StepState};
use futures_util::future::join_all;
use std::time::Duration;

fn unavailable(answer: &Result<Committed, StoreError>, says: &str) -> bool {
    matches!(answer, Err(StoreError::Unavailable(what)) if what.contains(says))
}

/// Fails a batch of three commits at each of its statements in turn.
fn at_every_statement(plan: impl Fn(&SqliteOptions, u32), says: &str) {
    let house = House::new();
    let options = house.options();
    let store = SqliteStore::open(options.clone()).unwrap();
    run(async {
        let mut moving = take(&store, "moving", 0).await;
        let mut statement = 1;
        loop {
            let new = |name: &str| {
                let mut commit =
                    first(&submission(&key(&format!("{name}-{statement}")), "why?"), &fleet(1), store.now());
                commit.payloads.push(("p".into(), Json::null()));
                commit
            };
            let (slots, input) = match moving.steps[0].state {
                StepState::Running { .. } => (0, crate::subject::report(step("moving", 1), lost())),
                StepState::BackingOff { .. } => (0, crate::subject::pause_over(&moving)),
                _ => (1, Input::Claim(step("moving", 1))),
            };
            let advance = next(&moving, input, &fleet(slots), store.now()).unwrap();
            let batch = [new("a"), advance.clone(), new("b")];
            plan(&options, statement);
            let answers = join_all(batch.clone().map(|commit| store.commit(commit))).await;
            let struck = options.faults.struck();
            for (commit, answer) in batch.iter().zip(&answers) {
                if *answer != Ok(Committed::Applied) {
                    assert!(struck && unavailable(answer, says), "statement {statement}: {answer:?}");
                    // Nothing of it is there, neither on disk nor in the index, and the same commit goes through now.
                    assert_eq!(store.load(&commit.key).await.unwrap().map_or(0, |task| task.version), commit.expected);
                    assert_eq!(store.commit(commit.clone()).await, Ok(Committed::Applied));
                }
            }
            moving = advance.task;
            if !struck {
                break;
            }
            statement += 1;
        }
        assert!(statement > 10, "only {statement} statements were tried");
        let mut keys = vec![key("moving")];
        keys.extend((1..=statement).flat_map(|n| [key(&format!("a-{n}")), key(&format!("b-{n}"))]));
        let tasks = folded(&store, &keys).await;
        house.clock.advance(365 * 24 * 3_600_000);
        follows(&store, &tasks).await;
        assert_eq!(store.stats().open_tasks, keys.len() as u64);
    });
}

fn lost() -> callboard::task::Outcome {
    callboard::task::Outcome::Ended(callboard::task::AttemptEnd::Lost(callboard::task::Loss::Drained))
}

#[test]
fn a_disk_that_fails_at_any_statement_loses_nothing() {
    at_every_statement(|options, n| options.faults.fail_at(n), "the disk failed");
}

#[test]
fn a_writer_that_panics_at_any_statement_loses_nothing() {
    at_every_statement(|options, n| options.faults.panic_at(n), "a fault of its own");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let house = House::new();
    let mut kept = Vec::new();
    run(async {
        let options = SqliteOptions { max_pages: Some(150), ..house.options() };
        let store = SqliteStore::open(options).unwrap();
        let large = |n: usize| {
            let mut commit = first(&submission(&key(&format!("t{n}")), "why?"), &fleet(1), store.now());
            commit.payloads.push(("p".into(), Json::of(&"x".repeat(20_000)).unwrap()));
            commit
        };
        let refused = loop {
            let commit = large(kept.len());
            match store.commit(commit.clone()).await {
                Ok(Committed::Applied) => kept.push(commit.key),
                answer => {
                    assert!(unavailable(&answer, "disk is full"), "{answer:?}");
                    break commit;
                }
            }
            assert!(kept.len() < 100);
        };
        assert_eq!(store.load(&refused.key).await, Ok(None));
        assert_eq!(store.stats().open_tasks, kept.len() as u64);
        // Reading goes on, and so does whatever still fits.
        folded(&store, &kept).await;
        let task = store.load(&kept[0]).await.unwrap().unwrap();
        feed(&store, &task, succeeded(step("t0", 1)), 1).await;
    });
    let store = house.open();
    run(async {
        folded(&store, &kept).await;
        live(&store, "room-again").await;
    });
}

#[test]
fn a_lock_of_another_program_passes() {
    let house = House::new();
    let options = SqliteOptions { busy_timeout: Duration::ZERO, ..house.options() };
    let store = SqliteStore::open(options).unwrap();
    run(async {
        let task = take(&store, "t1", 1).await;
        let other = house.raw();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let commit = next(&task, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
        let answer = store.commit(commit.clone()).await;
        assert!(unavailable(&answer, "locked"), "{answer:?}");
        assert!(store.check().await.is_err());
        assert_eq!(store.load(&task.key).await, Ok(Some(task)));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
        store.check().await.unwrap();
    });
}

#[test]
fn a_conflict_does_its_batch_no_harm() {
    let house = House::new();
    let store = house.open();
    run(async {
        let task = take(&store, "t1", 0).await;
        let claim = next(&task, Input::Claim(step("t1", 1)), &fleet(1), store.now()).unwrap();
        let stale = Commit { id: commit_id(), ..claim.clone() };
        let other = first(&submission(&key("t2"), "why?"), &fleet(1), store.now());
        let answers = join_all([claim, stale, other].map(|commit| store.commit(commit))).await;
        assert_eq!(answers, [Ok(Committed::Applied), Ok(Committed::Conflict), Ok(Committed::Applied)]);
        folded(&store, &[key("t1"), key("t2")]).await;
    });
}

/// Lets the syncing go wrong like this under a commit; whoever committed it is told this.
fn syncing_goes_wrong(plan: impl Fn(&SqliteOptions), committer_is_told: &str) {
    let house = House::new();
    let options = house.options();
    let says = "nothing is written any more";
    run(async {
        let store = SqliteStore::open(options.clone()).unwrap();
        let task = take(&store, "t1", 1).await;
        plan(&options);
        let commit = first(&submission(&key("t2"), "why?"), &fleet(1), store.now());
        let answer = store.commit(commit).await;
        assert!(unavailable(&answer, committer_is_told), "{answer:?}");
        let shown = store.load(&key("t2")).await;
        assert!(matches!(&shown, Err(StoreError::Unavailable(what)) if what.contains(says)), "{shown:?}");
        // The system would say now that all is well, so it is not asked again.
        let next = next(&task, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
        let answer = store.commit(next).await;
        assert!(unavailable(&answer, says), "{answer:?}");
        assert!(store.check().await.is_err());
        store.close().await.unwrap();
    });
    let store = house.open();
    run(async {
        folded(&store, &[key("t1")]).await;
        live(&store, "t3").await;
    });
}

#[test]
fn a_disk_that_does_not_write_through_ends_all_writing_and_nobody_sees_what_it_did_not_take() {
    syncing_goes_wrong(|options| options.faults.fail_sync(), "nothing is written any more");
}

#[test]
fn a_panic_of_who_waits_for_the_disk_leaves_nobody_waiting() {
    syncing_goes_wrong(|options| options.faults.panic_sync(), "it gave no answer");
}
