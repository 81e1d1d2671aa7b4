//! What a durable store promises beyond the suite: what it holds after it was closed, or refused to open.

use crate::beside::record;
use crate::schedules::{folded, follows, random_input};
use crate::subject::{
    START, agent, capability, commit_id, feed, first, fleet, incarnation, key, live, named, next, options, run, step,
    submission, succeeded, take,
};
use callboard::store::{
    Clash, Clock, Commit, Committed, ListQuery, Reservation, Spend, SqliteOptions, SqliteStore, Store, StoreError,
};
use callboard::task::{At, AttemptNo, CallId, Capability, Input, Json, Lease, Scope, Tenant};
use callboard::testkit::TestClock;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;

pub struct House {
    pub folder: tempfile::TempDir,
    pub clock: Arc<TestClock>,
}

impl House {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(TestClock::default()) }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("callboard.db")
    }

    pub fn options(&self) -> SqliteOptions {
        options(self.path(), &self.clock)
    }

    pub fn open(&self) -> SqliteStore {
        SqliteStore::open(self.options()).unwrap()
    }

    /// The database by itself, as another program would see it.
    pub fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn refusal(options: SqliteOptions) -> StoreError {
    SqliteStore::open(options).map(|_| ()).unwrap_err()
}

// === What it still holds ===

#[test]
fn everything_is_there_after_a_restart() {
    let house = House::new();
    let value = Json::from_text("[1]".into()).unwrap();
    let (tenant, scope, call) = (Tenant::default(), Scope::trusted("s"), CallId::trusted("c"));
    let upper = Spend { tokens: 10, micro_usd: 20 };
    run(async {
        let store = house.open();
        live(&store, "t1").await;
        take(&store, "t2", 0).await;
        let named = named(submission(&key("t3"), "why?"), "k");
        let large = first(&submission(&key("t4"), &"x".repeat(9000)), &fleet(1), store.now());
        assert_eq!(store.commit(first(&named, &fleet(1), store.now())).await, Ok(Committed::Applied));
        assert_eq!(store.commit(large).await, Ok(Committed::Applied));
        store.set_context(&tenant, "f", Some(value.clone())).await.unwrap();
        store.append_trace(&key("t1"), &agent("ann"), vec![value.clone()]).await.unwrap();
        store.set_budget(&scope, Some(upper)).await.unwrap();
        store.reserve(&call, std::slice::from_ref(&scope), upper, 60_000).await.unwrap();
    });
    run(async {
        let store = house.open();
        let tasks = folded(&store, &["t1", "t2", "t3", "t4"].map(key)).await;
        assert_eq!(store.stats().open_tasks, 3);
        let waiting = store.waiting(&capability("analyze"), 9).await.unwrap();
        assert_eq!(waiting.entries[0].0, key("t2"));
        let repeated = |named: &_| store.commit(first(named, &fleet(1), store.now()));
        let same = named(submission(&key("t3"), "why?"), "k");
        assert_eq!(repeated(&same).await, Ok(Committed::Repeated(key("t3"))));
        let other = named(submission(&key("t3"), "how?"), "k");
        assert_eq!(repeated(&other).await, Ok(Committed::Clash(Clash::TaskId)));
        assert!(store.payload(&key("t4"), "request").await.unwrap().unwrap().bytes() > 9000);
        assert_eq!(store.context(&tenant).await, Ok(vec![("f".into(), value.clone())]));
        assert_eq!(store.trace(&key("t1"), &agent("ann")).await, Ok(vec![value.clone()]));
        let more = store.reserve(&CallId::trusted("d"), std::slice::from_ref(&scope), upper, 60_000).await;
        assert_eq!(more, Ok(Reservation::Exceeded(scope.clone())));
        assert_eq!(store.settle(&call, Spend::default()).await, Ok(true));
        let query = ListQuery { tenant: None, status: None, before: None, limit: 9 };
        assert_eq!(store.list(query).await.unwrap().tasks.len(), 4);
        house.clock.advance(365 * 24 * 3_600_000);
        follows(&store, &tasks).await;
    });
}

#[test]
fn a_repeated_commit_is_known_after_a_restart() {
    let house = House::new();
    let commit = first(&submission(&key("t1"), "why?"), &fleet(1), At(START));
    assert_eq!(run(house.open().commit(commit.clone())), Ok(Committed::Applied));
    assert_eq!(run(house.open().commit(commit)), Ok(Committed::AlreadyApplied));
}

#[test]
fn the_index_is_the_same_after_a_restart_whatever_happened() {
    for seed in 0..4 {
        let house = House::new();
        let mut random = fastrand::Rng::with_seed(seed);
        let keys: Vec<_> = (0..8).map(|n| key(&format!("t{n}"))).collect();
        for key in &keys {
            let commit = first(&submission(key, "why?"), &fleet(random.u32(0..2)), house.clock.now());
            assert_eq!(run(house.open().commit(commit)), Ok(Committed::Applied));
        }
        for _ in 0..6 {
            run(async {
                let store = house.open();
                for _ in 0..10 {
                    house.clock.advance(random.u64(0..2000));
                    let task = store.load(random.choice(&keys).unwrap()).await.unwrap().unwrap();
                    let input = random_input(&mut random, &task);
                    if let Some(commit) = next(&task, input, &fleet(random.u32(0..2)), store.now()) {
                        assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
                    }
                }
            });
        }
        house.clock.advance(365 * 24 * 3_600_000);
        run(async {
            let store = house.open();
            follows(&store, &folded(&store, &keys).await).await;
        });
    }
}

// === Whose leases end ===

fn lease(id: &str) -> Lease {
    Lease { step: step(id, 1), attempt: AttemptNo(1), agent: agent("ann"), incarnation: incarnation("i1") }
}

/// Takes two tasks, of which the first's lease is accepted, by an agent at this address, if any; restarts after a while.
fn after_a_restart(house: &House, url: Option<&str>, away_ms: u64) -> (Vec<String>, Vec<String>) {
    run(async {
        let store = house.open();
        store.put_agent(record("ann", &["analyze"], url, store.now()), 15_000).await.unwrap();
        for id in ["t1", "t2"] {
            take(&store, id, 2).await;
        }
        store.renew(vec![(key("t1"), lease("t1"))], 15_000).await.unwrap();
    });
    house.clock.advance(away_ms);
    run(async {
        let store = house.open();
        let expired = async || {
            let due = store.expired_leases(9, 1_000_000).await.unwrap().due;
            due.into_iter().map(|(key, _)| key.id.to_string()).collect::<Vec<_>>()
        };
        let at_once = expired().await;
        house.clock.advance(14_999);
        assert_eq!(expired().await, [""; 0]);
        house.clock.advance(1);
        (at_once, expired().await)
    })
}

#[test]
fn leases_of_agents_of_the_earlier_process_end_at_once() {
    let (at_once, later) = after_a_restart(&House::new(), None, 0);
    assert_eq!((at_once.len(), later.len()), (2, 0));
}

#[test]
fn accepted_leases_of_remote_agents_get_one_heartbeat() {
    for away_ms in [0, 60_000] {
        let (at_once, later) = after_a_restart(&House::new(), Some("http://ann"), away_ms);
        assert_eq!((at_once, later), (vec!["t2".to_owned()], vec!["t1".to_owned()]));
    }
}

#[test]
fn local_agents_are_forgotten_and_capabilities_are_not() {
    let house = House::new();
    let remote = record("bob", &["paint"], Some("http://bob"), At(START));
    run(async {
        let store = house.open();
        store.put_agent(record("ann", &["analyze"], None, At(START)), 15_000).await.unwrap();
        store.put_agent(remote.clone(), 15_000).await.unwrap();
    });
    let seen: Vec<(Capability, At)> = vec![(capability("analyze"), At(START)), (capability("paint"), At(START))];
    house.clock.advance(14_999);
    let store = house.open();
    assert_eq!(run(store.agents()), Ok(vec![remote]));
    assert_eq!(run(store.capabilities_seen()), Ok(seen));
    house.clock.advance(1);
    assert_eq!(run(store.agents()), Ok(vec![]));
}

// === What it refuses ===

#[test]
fn a_second_opening_is_refused() {
    let house = House::new();
    let store = house.open();
    let error = refusal(house.options()).to_string();
    for part in [house.path().to_str().unwrap(), &format!("process {}", std::process::id()), "--store", "redis://HOST"]
    {
        assert!(error.contains(part), "{error}");
    }
    run(store.close()).unwrap();
    // Free as soon as it is closed, even while the closed store is still held.
    run(house.open().check()).unwrap();
}

#[test]
fn only_one_file_is_left_after_closing() {
    let house = House::new();
    let store = house.open();
    run(async {
        live(&store, "t1").await;
        store.close().await.unwrap();
    });
    let mut left: Vec<_> = house.folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["callboard.db", "callboard.db.lock"]);
}

#[test]
fn a_missing_folder_is_named() {
    let house = House::new();
    let path = house.folder.path().join("nowhere/callboard.db");
    let error = refusal(SqliteOptions::new(path)).to_string();
    assert!(error.contains("nowhere does not exist"), "{error}");
}

#[test]
fn what_is_no_database_of_ours_is_left_alone() {
    let house = House::new();
    let text = "some words that are no database, and long enough to be looked at as one. ".repeat(20);
    std::fs::write(house.path(), &text).unwrap();
    let error = refusal(house.options());
    assert!(matches!(&error, StoreError::Corrupt(what) if what.contains("is not a database")), "{error}");
    assert_eq!(std::fs::read_to_string(house.path()).unwrap(), text);
    std::fs::remove_file(house.path()).unwrap();
    house.raw().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = refusal(house.options());
    assert!(matches!(&error, StoreError::Corrupt(what) if what.contains("another program's")), "{error}");
    let folder = refusal(SqliteOptions::new(house.folder.path()));
    assert!(matches!(&folder, StoreError::Unavailable(_)), "{folder}");
}

#[test]
fn newer_tables_are_left_alone() {
    let house = House::new();
    drop(house.open());
    house.raw().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(house.options());
    assert!(matches!(&error, StoreError::Newer(what) if what.contains("99")), "{error}");
}

#[test]
fn newer_tasks_are_left_alone_and_the_others_go_on() {
    let house = House::new();
    run(async {
        let store = house.open();
        for id in ["t1", "t2", "t3", "t4"] {
            take(&store, id, 0).await;
        }
        live(&store, "t5").await;
    });
    // A newer program raised the schema of t1, wrote an event of an unknown kind to t2 and t5, and one to t3 that holds a
    // priority that does not exist yet.
    house
        .raw()
        .execute_batch(
            r#"UPDATE tasks SET schema = 2 WHERE id = 't1';
            INSERT INTO kinds VALUES ('task_dreamt');
            UPDATE commits SET events = replace(events, '"planned"', '"task_dreamt"')
                WHERE place >> 24 IN (SELECT ordinal FROM tasks WHERE id IN ('t2', 't5'));
            UPDATE commits SET events = replace(events, '"normal"', '"dreaming"')
                WHERE place >> 24 = (SELECT ordinal FROM tasks WHERE id = 't3');"#,
        )
        .unwrap();
    let store = house.open();
    run(async {
        let waiting = store.waiting(&capability("analyze"), 9).await.unwrap();
        assert_eq!(waiting.entries.iter().map(|(key, _)| key.id.as_str()).collect::<Vec<_>>(), ["t4"]);
        let good = store.load(&key("t4")).await.unwrap().unwrap();
        for id in ["t1", "t2", "t3", "t5"] {
            let newer = store.load(&key(id)).await.unwrap_err();
            assert!(matches!(&newer, StoreError::Newer(what) if what.contains(id)), "{newer}");
        }
        for id in ["t1", "t2"] {
            assert!(matches!(store.events(&key(id), 0, 9).await, Err(StoreError::Newer(_))));
            let task = Arc::new(callboard::task::Task { key: key(id), version: good.version + 1, ..(*good).clone() });
            let commit = next(&good, Input::Cancel("no".into()), &fleet(0), store.now()).unwrap();
            let commit = Commit { id: commit_id(), key: key(id), task, ..commit };
            assert!(matches!(store.commit(commit).await, Err(StoreError::Newer(_))), "{id}");
        }
        let task = feed(&store, &good, Input::Claim(step("t4", 1)), 1).await;
        feed(&store, &task, succeeded(step("t4", 1)), 1).await;
        assert_eq!(
            store.list(ListQuery { tenant: None, status: None, before: None, limit: 9 }).await.unwrap().tasks.len(),
            5
        );
    });
}

// === What it costs ===

#[test]
fn every_list_is_read_off_an_index() {
    let house = House::new();
    drop(house.open());
    let raw = house.raw();
    for conditions in ["", "AND tenant = 'x'", "AND status = 1", "AND tenant = 'x' AND status = 1"] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT summary FROM tasks WHERE ordinal < 7 {conditions} ORDER BY ordinal DESC LIMIT 5"
        );
        let plan: String = raw.query_row(&sql, [], |row| row.get(3)).unwrap();
        assert!(plan.starts_with("SEARCH"), "{conditions}: {plan}");
        let steps = raw.prepare(&sql).unwrap().query_map([], |_| Ok(())).unwrap().count();
        assert_eq!(steps, 1, "{conditions}: sorted apart");
    }
    let sql = "EXPLAIN QUERY PLAN SELECT state FROM tasks WHERE status < 3 ORDER BY ordinal";
    let plan: String = raw.query_row(sql, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("tasks_open"), "{plan}");
}

// === Room ===

#[test]
fn room_that_tasks_leave_is_given_back_or_used_again() {
    let house = House::new();
    let size = || std::fs::metadata(house.path()).unwrap().len();
    let fill = || {
        run(async {
            let store = house.open();
            for n in 0..200 {
                let commit = first(&submission(&key(&format!("t{n}")), &"x".repeat(20_000)), &fleet(9), store.now());
                let (task, id) = (commit.task.clone(), commit.key.id.to_string());
                assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
                let task = feed(&store, &task, succeeded(step(&id, 1)), 9).await;
                feed(&store, &task, succeeded(step(&id, 2)), 9).await;
            }
        });
        size()
    };
    let full = fill();
    run(async {
        let store = house.open();
        let all = callboard::store::RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
        while store.remove_finished(all.clone(), 20).await.unwrap().more {}
    });
    let emptied = size();
    assert!(emptied < full / 2, "{emptied} of {full} bytes are left");
    let again = fill();
    assert!(again < full + full / 10, "{again} bytes for what took {full}");
}

#[test]
fn a_file_without_the_later_indexes_gets_them() {
    let house = House::new();
    run(async {
        live(&house.open(), "t1").await;
    });
    house.raw().execute_batch("DROP INDEX tasks_ended; DROP INDEX submissions_of_task;").unwrap();
    run(async {
        let store = house.open();
        let all = callboard::store::RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
        assert_eq!(store.remove_finished(all, 20).await.unwrap().tasks, 1);
    });
}
