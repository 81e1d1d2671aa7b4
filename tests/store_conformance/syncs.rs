//! What makes the disk write through: counted by the store, so that a claim about it can be checked from outside.

use crate::durable::House;
use crate::subject::{feed, first, fleet, key, run, step, submission, succeeded, take};
use callboard::store::{Committed, Durability, SqliteOptions, SqliteStore, Stats, Store};
use futures_util::future::join_all;

/// The counts after each commit of a task with two steps that had to queue.
fn counts(durability: Durability) -> Vec<Stats> {
    let house = House::new();
    let store = SqliteStore::open(SqliteOptions { durability, ..house.options() }).unwrap();
    run(async {
        let mut counts = vec![store.stats()];
        let mut task = take(&store, "t1", 0).await;
        counts.push(store.stats());
        for number in [1, 2] {
            task = feed(&store, &task, callboard::task::Input::Claim(step("t1", number)), 1).await;
            counts.push(store.stats());
            task = feed(&store, &task, succeeded(step("t1", number)), 0).await;
            counts.push(store.stats());
        }
        assert!(task.end.is_some());
        counts
    })
}

#[test]
fn relaxed_syncs_the_beginning_and_the_end() {
    let counts = counts(Durability::Relaxed);
    assert_eq!(counts.iter().map(|stats| stats.synced_transactions).collect::<Vec<_>>(), [0, 1, 1, 1, 1, 2]);
    // The first transaction also begins the log, whose header is synced by itself.
    assert_eq!(counts.iter().map(|stats| stats.fsyncs).collect::<Vec<_>>(), [0, 2, 2, 2, 2, 3]);
}

#[test]
fn strict_syncs_every_commit() {
    let counts = counts(Durability::Strict);
    assert_eq!(counts.iter().map(|stats| stats.synced_transactions).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(counts.iter().map(|stats| stats.fsyncs).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6]);
}

#[test]
fn what_comes_together_is_synced_together() {
    let house = House::new();
    let store = house.open();
    run(async {
        // While another program holds the lock, all of them gather.
        let other = house.raw();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let commits = (0..200).map(|n| first(&submission(&key(&format!("t{n}")), "why?"), &fleet(1), store.now()));
        let answers = join_all(commits.map(|commit| store.commit(commit)));
        let release = async {
            // In one turn not all of them are handed over.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            other.execute_batch("ROLLBACK").unwrap();
        };
        let (answers, ()) = tokio::join!(answers, release);
        assert!(answers.iter().all(|answer| *answer == Ok(Committed::Applied)));
        let synced = store.stats().synced_transactions;
        assert!((1..=2).contains(&synced), "{synced} transactions");
    });
}

#[test]
fn what_changes_nothing_is_not_synced() {
    let house = House::new();
    let store = house.open();
    run(async {
        take(&store, "t1", 1).await;
        let before = store.stats();
        let again = first(&submission(&key("t1"), "why?"), &fleet(1), store.now());
        assert_eq!(store.commit(again).await, Ok(Committed::Repeated(key("t1"))));
        assert_eq!(store.stats(), before);
    });
}

#[test]
fn the_log_is_copied_and_stays_short() {
    let house = House::new();
    let store = SqliteStore::open(SqliteOptions { checkpoint_pages: 50, ..house.options() }).unwrap();
    run(async {
        for n in 0..200 {
            take(&store, &format!("t{n}"), 1).await;
        }
    });
    let stats = store.stats();
    assert_eq!(stats.synced_transactions, 200);
    // Copying beside the writer costs two, copying the rest two, and the log that begins anew after it one.
    let copies = (stats.fsyncs - 200).div_ceil(5);
    assert!(copies > 5, "{stats:?}");
    let mut log = house.path().into_os_string();
    log.push("-wal");
    let length = std::fs::metadata(log).unwrap().len() / 4096;
    assert!(length < 100, "{length} pages");
}

/// Writes a life and tells the counts; for looking at from outside.
#[test]
#[ignore = "to be watched by a tracer of system calls"]
fn a_busy_hour() {
    let house = House::new();
    let store = SqliteStore::open(SqliteOptions { checkpoint_pages: 50, ..house.options() }).unwrap();
    run(async {
        std::fs::metadata("/begin-of-the-count").unwrap_err();
        for n in 0..100 {
            let id = format!("t{n}");
            let task = take(&store, &id, 1).await;
            let task = feed(&store, &task, succeeded(step(&id, 1)), 1).await;
            feed(&store, &task, succeeded(step(&id, 2)), 1).await;
        }
        std::fs::metadata("/end-of-the-count").unwrap_err();
    });
    println!("{:?}", store.stats());
}
