//! Removing finished tasks: which ones, and that nothing of them is left.

use crate::subject::{Subject, agent, feed, first, fleet, key, key_of, live, named, step, submission, succeeded, take};
use callboard::store::{Commit, Committed, ListQuery, Removed, RetentionQuery, Spend, Store};
use callboard::task::{At, Json, Scope, Tenant};

fn older(than: At) -> RetentionQuery {
    RetentionQuery { tenant: None, ended_before: Some(than), keep: None }
}

fn all_but(keep: u64) -> RetentionQuery {
    RetentionQuery { tenant: None, ended_before: None, keep: Some(keep) }
}

async fn listed(store: &dyn Store) -> Vec<String> {
    let page = store.list(ListQuery { tenant: None, status: None, before: None, limit: 100 }).await.unwrap();
    page.tasks.iter().map(|task| task.key.id.to_string()).collect()
}

pub async fn old_tasks_go_and_open_ones_never_do(Subject { store, clock, .. }: Subject) {
    let open = take(&*store, "open", 9).await;
    live(&*store, "first").await;
    clock.advance(1_000);
    let border = store.now();
    live(&*store, "second").await;
    assert_eq!(store.count_finished(older(border)).await, Ok(1));
    assert_eq!(store.remove_finished(older(border), 100).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(listed(&*store).await, ["second", "open"]);
    clock.advance(1_000_000);
    assert_eq!(store.remove_finished(older(store.now()), 100).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(listed(&*store).await, ["open"]);
    // It goes on as if nothing had happened, and goes once it has ended.
    let open = feed(&*store, &open, succeeded(step("open", 1)), 9).await;
    feed(&*store, &open, succeeded(step("open", 2)), 9).await;
    assert_eq!(store.remove_finished(all_but(0), 100).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(store.stats().open_tasks, 0);
}

pub async fn the_newest_stay(Subject { store, clock, .. }: Subject) {
    // Accepted in one order, ended in the other: the end counts.
    let early = take(&*store, "early", 9).await;
    let early = feed(&*store, &early, succeeded(step("early", 1)), 9).await;
    for id in ["t1", "t2", "t3"] {
        clock.advance(10);
        live(&*store, id).await;
    }
    clock.advance(10);
    feed(&*store, &early, succeeded(step("early", 2)), 9).await;
    assert_eq!(store.count_finished(all_but(2)).await, Ok(2));
    assert_eq!(store.remove_finished(all_but(2), 1).await, Ok(Removed { tasks: 1, more: true }));
    assert_eq!(listed(&*store).await, ["t3", "t2", "early"]);
    assert_eq!(store.remove_finished(all_but(2), 1).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(store.remove_finished(all_but(2), 1).await, Ok(Removed { tasks: 0, more: false }));
    assert_eq!(listed(&*store).await, ["t3", "early"]);
    let nothing = RetentionQuery { tenant: None, ended_before: None, keep: None };
    assert_eq!(store.remove_finished(nothing, 100).await, Ok(Removed { tasks: 0, more: false }));
    // Each limit is enough by itself.
    let both = RetentionQuery { tenant: None, ended_before: Some(store.now()), keep: Some(2) };
    assert_eq!(store.remove_finished(both, 100).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(listed(&*store).await, ["early"]);
}

pub async fn one_tenants_tasks_go_alone(Subject { store, .. }: Subject) {
    for (tenant, id) in [("one", "a1"), ("two", "b1"), ("one", "a2")] {
        end(&*store, first(&submission(&key_of(tenant, id), "why?"), &fleet(9), store.now())).await;
    }
    let query = RetentionQuery { tenant: Some(Tenant::trusted("one")), ended_before: None, keep: Some(1) };
    assert_eq!(store.count_finished(query.clone()).await, Ok(1));
    assert_eq!(store.remove_finished(query, 9).await, Ok(Removed { tasks: 1, more: false }));
    assert_eq!(listed(&*store).await, ["a2", "b1"]);
}

async fn end(store: &dyn Store, commit: Commit) {
    let (task, id) = (commit.task.clone(), commit.key.id.to_string());
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
    let task = feed(store, &task, succeeded(step(&id, 1)), 9).await;
    feed(store, &task, succeeded(step(&id, 2)), 9).await;
}

pub async fn nothing_of_a_removed_task_is_left(Subject { store, .. }: Subject) {
    let question = named(submission(&key("t1"), &"x".repeat(9000)), "name");
    end(&*store, first(&question, &fleet(9), store.now())).await;
    let value = Json::from_text("[1]".into()).unwrap();
    let scope = Scope::trusted("task:t1");
    store.append_trace(&key("t1"), &agent("ann"), vec![value.clone()]).await.unwrap();
    store.append_trace(&key("t11"), &agent("ann"), vec![value.clone()]).await.unwrap();
    store.set_budget(&scope, Some(Spend { tokens: 1, micro_usd: 1 })).await.unwrap();
    let mut wake = store.wake(&key("t1"));
    assert_eq!(store.remove_finished(all_but(0), 9).await, Ok(Removed { tasks: 1, more: false }));

    assert!(wake.changed().await.is_err(), "whoever waits for it is told");
    assert_eq!(store.load(&key("t1")).await, Ok(None));
    assert_eq!(store.events(&key("t1"), 0, 9).await, Ok(None));
    assert_eq!(store.payload(&key("t1"), "request").await, Ok(None));
    assert_eq!(store.trace(&key("t1"), &agent("ann")).await, Ok(vec![]));
    assert_eq!(store.trace(&key("t11"), &agent("ann")).await, Ok(vec![value]), "it is another's");
    assert_eq!(store.balance(&scope).await.unwrap().limit, None);
    assert_eq!(listed(&*store).await, Vec::<String>::new());
    // Its id and its key are free: what comes under them is new.
    let other = named(submission(&key("t1"), "something else"), "name");
    end(&*store, first(&other, &fleet(9), store.now())).await;
    assert_eq!(store.payload(&key("t1"), "request").await, Ok(None));
    assert_eq!(store.events(&key("t1"), 0, 99).await.unwrap().unwrap().len() as u64, {
        store.load(&key("t1")).await.unwrap().unwrap().version
    });
    assert_eq!(listed(&*store).await, ["t1"]);
}
