//! What only a store that several processes share promises: they hear of each other, go by the server's clock, and live
//! with whatever befalls the server and with those who know only the predecessor's names.

use crate::beside::record;
use crate::redis_server::{Redis, Wanted};
use crate::subject::{
    agent, capability, feed, first, fleet, incarnation, key, live, next, redis_options, run, step, submission,
    succeeded, take,
};
use callboard::messages::ForeignBeat;
use callboard::store::{Beacon, Clock, Commit, Committed, RedisOptions, RedisStore, Store, StoreError};
use callboard::task::{Fleet, Input, Json, Member, StepId, Tenant};
use callboard::testkit::TestClock;
use std::sync::Arc;
use std::time::Duration;

async fn open(options: &RedisOptions) -> RedisStore {
    RedisStore::connect(options.clone()).await.unwrap()
}

fn options(server: &Redis) -> (RedisOptions, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    (redis_options(server, &clock), clock)
}

#[test]
fn processes_hear_of_each_other() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let (one, two) = (open(&options).await, open(&options).await);
        let mut wake = two.wake(&key("t1"));
        let task = take(&one, "t1", 1).await;
        wake.wait_for(|woken| woken.version == task.version).await.unwrap();
        assert_eq!(two.load(&key("t1")).await, Ok(Some(task.clone())));
        let mut changed = two.agents_changed();
        one.put_agent(record("ann", &["analyze"], Some("http://a"), one.now()), 5_000).await.unwrap();
        changed.changed().await.unwrap();
        // One of them lost sight of the other's doing: it sees that, and decides anew.
        let stale = next(&task, Input::Cancel("enough".into()), &fleet(1), two.now()).unwrap();
        let task = feed(&one, &task, succeeded(step("t1", 1)), 1).await;
        wake.wait_for(|woken| woken.version == task.version).await.unwrap();
        assert_eq!(two.commit(stale).await, Ok(Committed::Conflict));
        feed(&two, &task, succeeded(step("t1", 2)), 1).await;
        assert_eq!(two.stats().open_tasks, 0);
        let query = callboard::store::RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
        assert_eq!(one.remove_finished(query, 9).await.unwrap().tasks, 1);
        while wake.changed().await.is_ok() {}
    });
}

#[test]
fn masters_give_an_agent_no_more_than_it_takes_together() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let (one, two) = (open(&options).await, open(&options).await);
        let slots = |most| vec![(agent("ann"), most)];
        let placed = take(&one, "t1", 1).await;
        let theirs = one.leases().await.unwrap();
        let other = first(&submission(&key("t2"), "why?"), &fleet(1), two.now());
        let other = Commit { slots: slots(1), ..other };
        assert_eq!(two.commit(other.clone()).await, Ok(Committed::NoSlot(theirs.clone())));
        assert_eq!((two.load(&key("t2")).await, two.leases().await), (Ok(None), Ok(theirs)), "nothing was written");
        // What it gives back makes room for what it gets.
        let done = next(&placed, succeeded(step("t1", 1)), &fleet(1), one.now()).unwrap();
        assert!(!done.effects.release.is_empty() && !done.effects.lease.is_empty());
        let (id, done) = (done.id.clone(), Commit { slots: slots(1), ..done });
        assert_eq!(one.commit(done.clone()).await, Ok(Committed::Applied));
        assert_eq!(one.commit(done).await, Ok(Committed::AlreadyApplied), "{id:?}");
        assert_eq!(two.commit(Commit { slots: slots(2), ..other }).await, Ok(Committed::Applied));
        // The leases of an earlier life are in nobody's way.
        let mut anew = Fleet::new(15_000);
        anew.join(agent("ann"), Member::new(incarnation("i2"), vec![capability("analyze")], 1), two.now());
        let later = first(&submission(&key("t3"), "why?"), &anew, two.now());
        assert_eq!(two.commit(Commit { slots: slots(1), ..later }).await, Ok(Committed::Applied));
    });
}

#[test]
fn prefixes_keep_stores_apart() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let other = RedisOptions { prefix: "other:".into(), predecessor_keys: false, ..options.clone() };
        let (one, two) = (open(&options).await, open(&other).await);
        take(&one, "t1", 1).await;
        assert_eq!(two.load(&key("t1")).await, Ok(None));
        assert_eq!((two.leases().await, two.stats().open_tasks), (Ok(vec![]), 0));
        assert_eq!(take(&two, "t1", 0).await.version, 3, "the id is free there");
        assert_eq!(open(&options).await.stats().open_tasks, 1, "whoever comes later is told");
    });
}

#[test]
fn whatever_may_have_been_missed_wakes() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let (one, two) = (open(&options).await, open(&options).await);
        let task = take(&one, "t1", 1).await;
        let mut wake = two.wake(&key("t1"));
        // Its readers' connections are cut, and come back.
        server.say("CLIENT KILL TYPE normal");
        feed(&one, &task, succeeded(step("t1", 1)), 1).await;
        wake.changed().await.unwrap();
        // The feed begins anew, as after a fail-over to a server that had less of it.
        wake.borrow_and_update();
        server.say("DEL callboard:feed callboard:fed");
        wake.changed().await.unwrap();
    });
}

#[test]
fn the_servers_clock_counts() {
    let server = Redis::start();
    let options = RedisOptions { clock: None, ..options(&server).0 };
    run(async {
        let store = open(&options).await;
        let time = server.say("TIME").texts();
        let ms = time[0].parse::<u64>().unwrap() * 1000;
        // Both are of this machine; an hour is longer than anything takes.
        assert!(store.now().0.abs_diff(ms) < 3_600_000);
        let before = store.now();
        let task = take(&store, "t1", 1).await;
        assert!(store.now() >= before);
        let page = store.due_timers(9, 5_000).await.unwrap();
        assert_eq!((page.due, page.next), (vec![], callboard::task::timers(&task).iter().map(|timer| timer.due).min()));
    });
}

#[test]
fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let store = open(&options).await;
        let task = take(&store, "t1", 1).await;
        server.say("SCRIPT FLUSH");
        feed(&store, &task, succeeded(step("t1", 1)), 1).await;
    });
}

#[test]
fn a_commit_is_one_round_trip() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let store = open(&options).await;
        take(&store, "warm", 1).await;
        let before = store.stats();
        let task = live(&store, "t1").await;
        assert_eq!(store.stats().commits - before.commits, 3);
        assert_eq!(store.stats().round_trips - before.round_trips, 3);
        assert_eq!(store.stats().commands - before.commands, 3);
        assert!(task.end.is_some());
    });
}

#[test]
fn an_acceptance_and_an_end_wait_for_replicas() {
    let server = Redis::start();
    let (options, _) = options(&server);
    // Replicas are waited for half as long as an answer.
    let hasty = RedisOptions { wait_replicas: 1, timeout: Duration::from_secs(2), ..options.clone() };
    run(async {
        let store = open(&hasty).await;
        let commit = first(&submission(&key("t1"), "why?"), &fleet(1), store.now());
        for _ in 0..2 {
            let told = store.commit(commit.clone()).await.unwrap_err();
            assert!(matches!(&told, StoreError::Unavailable(words) if words.contains("0 of 1 replicas")), "{told}");
        }
        // The client that was told so hands it in again, to whichever process.
        let repeated = first(&submission(&key("t1"), "why?"), &fleet(1), store.now());
        let told = store.commit(repeated.clone()).await;
        assert!(
            matches!(&told, Err(StoreError::Unavailable(words)) if words.contains("0 of 1 replicas")),
            "no replica has it: {told:?}"
        );
        assert_eq!(server.say("GET callboard:touched").text(), "2", "what nobody wrote, no replica is waited for");
        let task = feed(&store, &commit.task, succeeded(step("t1", 1)), 1).await;
        drop(store);
        let patient = RedisOptions { timeout: Duration::from_secs(60), ..hasty };
        let store = open(&patient).await;
        let replica = Wanted::default().line(&format!("replicaof 127.0.0.1 {}", server.port())).start();
        assert_eq!(store.commit(commit).await, Ok(Committed::AlreadyApplied));
        assert_eq!(store.commit(repeated).await, Ok(Committed::Repeated(key("t1"))));
        feed(&store, &task, succeeded(step("t1", 2)), 1).await;
        assert_eq!(replica.say("HGET callboard:task:t1 status").text(), "3", "it was there before anybody was told");
    });
}

#[test]
fn what_others_put_under_the_predecessors_names_harms_nothing() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let store = open(&options).await;
        for key in ["subtasks:t1", "results:t1", "dispatch_log:t1", "routing", "cap_index:analyze", "global:context"] {
            server.say(&format!("SET {key} theirs"));
        }
        live(&store, "t1").await;
        store.put_agent(record("ann", &["analyze"], None, store.now()), 5_000).await.unwrap();
        store.set_context(&Tenant::default(), "a", Some(Json::null())).await.unwrap();
        store.remove_agent(&agent("ann")).await.unwrap();
        assert_eq!(server.say("GET results:t1").text(), "theirs");
        assert_eq!(store.context(&Tenant::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn nothing_of_a_removed_task_is_left_under_any_name() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let store = open(&options).await;
        let names = || {
            let own = ["callboard:feed", "callboard:fed", "callboard:arrivals", "callboard:ordinals", "callboard:open"];
            let all = server.say("KEYS *").texts().into_iter();
            all.filter(|key| !own.contains(&key.as_str()) && key != "callboard:checked").collect::<Vec<_>>()
        };
        assert_eq!(names(), [""; 0]);
        live(&store, "t1").await;
        store.append_trace(&key("t1"), &agent("ann"), vec![Json::null()]).await.unwrap();
        assert!(names().contains(&"ag2:trace:t1:ann".to_owned()) && names().len() > 10, "{:?}", names());
        let query = callboard::store::RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
        assert_eq!(store.remove_finished(query, 9).await.unwrap().tasks, 1);
        assert_eq!(names(), [""; 0]);
    });
}

#[test]
fn a_foreign_agent_lives_as_long_as_its_own_key() {
    let server = Redis::start();
    let (options, clock) = options(&server);
    run(async {
        let store = open(&options).await;
        let mut foreign = record("ann", &["analyze"], Some("http://a"), clock.now());
        foreign.declaration.foreign = true;
        store.put_agent(foreign.clone(), 5_000).await.unwrap();
        store.put_agent(record("bob", &["paint"], None, clock.now()), 5_000).await.unwrap();
        assert_eq!(store.foreign_beats().await, Ok(vec![]));
        assert_eq!(store.agents().await.unwrap().len(), 2);
        clock.advance(5_000);
        assert_eq!(store.agents().await, Ok(vec![]));
        // It comes back by itself: it registers but once.
        let beat = r#"{"agent_id":"ann","load":0.5,"active_tasks":["t1-P1","t1-P2"]}"#;
        server.command(&["SET", "heartbeat:ann", beat, "EX", "30"]);
        server.command(&["SET", "heartbeat:bob", "{}"]);
        let active = ["t1-P1", "t1-P2"].map(StepId::trusted).to_vec();
        assert_eq!(store.foreign_beats().await, Ok(vec![ForeignBeat { agent: agent("ann"), load: 0.5, active }]));
        let live = store.agents().await.unwrap();
        assert_eq!(live.iter().map(|record| record.declaration.agent.as_str()).collect::<Vec<_>>(), ["ann"]);
        assert_eq!((live[0].load, live[0].active), (0.5, 2));
        assert!(live[0].last_heartbeat > foreign.last_heartbeat);
        // A day without a sign of life is enough.
        server.say("DEL heartbeat:ann");
        clock.advance(24 * 3_600_000);
        assert_eq!(store.agents().await, Ok(vec![]));
        assert_eq!(server.say("HLEN routing").number(), 0);
        server.say("SET heartbeat:ann {}");
        assert_eq!(store.agents().await, Ok(vec![]));
    });
}

#[test]
fn a_beacon_is_a_key_for_half_a_minute() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let beacon = Beacon::connect(&options).await.unwrap();
        beacon.beat(&agent("ann"), 0.25, &[step("t1", 1)]).await.unwrap();
        let text = server.say("GET heartbeat:ann").text();
        assert_eq!(text, r#"{"active_tasks":["t1-P1"],"agent_id":"ann","load":0.25}"#);
        assert!((1..=30).contains(&server.say("TTL heartbeat:ann").number()));
    });
}

#[test]
fn what_a_newer_version_wrote_is_left_alone() {
    let server = Redis::start();
    let (options, _) = options(&server);
    run(async {
        let store = open(&options).await;
        let task = take(&store, "t1", 1).await;
        let newer = |error: StoreError| assert!(matches!(error, StoreError::Newer(_)), "{error:?}");
        server.say("HSET callboard:task:t1 kinds ,accepted,task_dreamt,");
        newer(store.load(&task.key).await.unwrap_err());
        server.say("HSET callboard:task:t1 kinds ,accepted, schema 999");
        newer(store.load(&task.key).await.unwrap_err());
        newer(store.events(&task.key, 0, 9).await.unwrap_err());
        let commit = next(&task, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
        newer(store.commit(commit).await.unwrap_err());
        assert_eq!(store.events(&key("t2"), 0, 9).await, Ok(None));
    });
}
