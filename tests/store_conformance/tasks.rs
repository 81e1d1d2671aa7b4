//! Commits, submissions, events, payloads and lists.

use crate::subject::{
    Subject, capability, commit_id, feed, first, fleet, key, key_of, live, named, next, step, submission, succeeded,
    take,
};
use callboard::store::{Clash, Clock, Commit, Committed, ListQuery, Store, StoreError};
use callboard::task::{Input, Json, Status, StepState, Submission, TaskKey, Tenant};
use futures_util::future::join_all;

pub async fn a_commit_is_there_whole(Subject { store, .. }: Subject) {
    let absent = key("absent");
    assert_eq!(store.load(&absent).await, Ok(None));
    assert_eq!(store.events(&absent, 0, 10).await, Ok(None));
    assert_eq!(store.payload(&absent, "x").await, Ok(None));
    let task = take(&*store, "t1", 1).await;
    assert_eq!(store.load(&key("t1")).await, Ok(Some(task.clone())));
    let events = store.events(&key("t1"), 0, 10).await.unwrap().unwrap();
    assert_eq!(events.len() as u64, task.version);
    assert_eq!(callboard::task::replay(&task.key, &events).as_ref(), Ok(&*task));
}

pub async fn a_stale_commit_changes_nothing(Subject { store, .. }: Subject) {
    let before = take(&*store, "t1", 1).await;
    let after = feed(&*store, &before, succeeded(step("t1", 1)), 1).await;
    let stale = next(&before, Input::Cancel("late".into()), &fleet(1), store.now()).unwrap();
    assert_eq!(store.commit(stale).await, Ok(Committed::Conflict));
    let absent = Commit { key: key("nobody"), task: after.clone(), ..stale_of_another(&after) };
    assert!(store.commit(absent).await.is_err());
    assert_eq!(store.load(&key("t1")).await, Ok(Some(after.clone())));
    assert_eq!(store.events(&key("t1"), after.version, 10).await, Ok(Some(vec![])));
    assert_eq!(store.list(all()).await.unwrap().tasks[0].status, Status::Running);
}

fn stale_of_another(task: &callboard::task::Task) -> Commit {
    next(task, Input::Cancel("late".into()), &fleet(1), task.updated_at).unwrap()
}

pub async fn the_same_commit_twice_is_once(Subject { store, .. }: Subject) {
    let one = first(&submission(&key("t1"), "why?"), &fleet(1), store.now());
    assert_eq!(store.commit(one.clone()).await, Ok(Committed::Applied));
    assert_eq!(store.commit(one.clone()).await, Ok(Committed::AlreadyApplied));
    let two = next(&one.task, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
    assert_eq!(store.commit(two.clone()).await, Ok(Committed::Applied));
    let three = next(&two.task, succeeded(step("t1", 2)), &fleet(1), store.now()).unwrap();
    assert_eq!(store.commit(three.clone()).await, Ok(Committed::Applied));
    for again in [one, two, three.clone()] {
        assert_eq!(store.commit(again).await, Ok(Committed::AlreadyApplied));
    }
    let other = Commit { id: commit_id(), ..three.clone() };
    assert_eq!(store.commit(other).await, Ok(Committed::Conflict));
    assert_eq!(store.events(&key("t1"), 0, 100).await.unwrap().unwrap().len() as u64, three.task.version);
    assert_eq!(store.stats().commits, 3);
}

pub async fn of_two_masters_one_wins(Subject { store, .. }: Subject) {
    let mut task = take(&*store, "t1", 0).await;
    for round in 0..20 {
        let claim = |slots| next(&task, Input::Claim(step("t1", 1)), &fleet(slots), store.now()).unwrap();
        let answers = join_all([1, 2, 3].map(|slots| store.commit(claim(slots)))).await;
        let count = |answer: &Committed| answers.iter().filter(|other| other.as_ref() == Ok(answer)).count();
        assert_eq!((count(&Committed::Applied), count(&Committed::Conflict)), (1, 2), "round {round}: {answers:?}");
        task = store.load(&task.key).await.unwrap().unwrap();
        let lost = callboard::task::AttemptEnd::Lost(callboard::task::Loss::Drained);
        let lost = crate::subject::report(step("t1", 1), callboard::task::Outcome::Ended(lost));
        task = feed(&*store, &task, lost, 0).await;
        if matches!(task.steps[0].state, StepState::BackingOff { .. }) {
            task = feed(&*store, &task, crate::subject::pause_over(&task), 0).await;
        }
    }
}

pub async fn nonsense_is_refused(Subject { store, .. }: Subject) {
    let good = first(&submission(&key("t1"), "why?"), &fleet(1), store.now());
    let mut gap = good.clone();
    gap.events = gap.events[1..].into();
    let empty = Commit { events: [].into(), ..good.clone() };
    let other = Commit { key: key("t2"), ..good };
    for commit in [gap, empty, other] {
        assert!(matches!(store.commit(commit).await, Err(StoreError::Corrupt(_))));
    }
    assert!(store.list(all()).await.unwrap().tasks.is_empty());
}

// === Submissions ===

async fn submit(store: &dyn Store, submission: &Submission) -> Committed {
    store.commit(first(submission, &fleet(0), store.now())).await.unwrap()
}

fn without_id(key: &TaskKey, objective: &str) -> Submission {
    Submission { id_given: false, ..submission(key, objective) }
}

pub async fn an_id_is_one_tenants(Subject { store, .. }: Subject) {
    assert_eq!(submit(&*store, &submission(&key_of("one", "t1"), "why?")).await, Committed::Applied);
    let other = submission(&key_of("two", "t1"), "why?");
    assert_eq!(submit(&*store, &other).await, Committed::Clash(Clash::TaskId));
    assert_eq!(submit(&*store, &named(other, "k")).await, Committed::Clash(Clash::TaskId));
    let theirs = key_of("two", "t1");
    assert_eq!(store.load(&theirs).await, Ok(None));
    assert_eq!(store.events(&theirs, 0, 10).await, Ok(None));
    let task = store.load(&key_of("one", "t1")).await.unwrap().unwrap();
    let mut foreign = next(&task, Input::Cancel("mine".into()), &fleet(0), store.now()).unwrap();
    foreign.key = theirs.clone();
    foreign.task = std::sync::Arc::new(callboard::task::Task { key: theirs, ..(*foreign.task).clone() });
    assert_eq!(store.commit(foreign).await, Ok(Committed::Conflict));
    assert_eq!(store.load(&key_of("one", "t1")).await, Ok(Some(task)));
}

pub async fn a_repeated_submission_is_recognised(Subject { store, .. }: Subject) {
    assert_eq!(submit(&*store, &submission(&key("t1"), "why?")).await, Committed::Applied);
    assert_eq!(submit(&*store, &submission(&key("t1"), "why?")).await, Committed::Repeated(key("t1")));
    assert_eq!(submit(&*store, &submission(&key("t1"), "how?")).await, Committed::Clash(Clash::TaskId));
    assert_eq!(submit(&*store, &named(without_id(&key("u1"), "why?"), "k")).await, Committed::Applied);
    assert_eq!(submit(&*store, &named(without_id(&key("u2"), "why?"), "k")).await, Committed::Repeated(key("u1")));
    assert_eq!(
        submit(&*store, &named(without_id(&key("u3"), "how?"), "k")).await,
        Committed::Clash(Clash::IdempotencyKey)
    );
    // Another tenant's key is another key.
    assert_eq!(submit(&*store, &named(without_id(&key_of("two", "u4"), "how?"), "k")).await, Committed::Applied);
    // Without either, nothing identifies it.
    assert_eq!(submit(&*store, &without_id(&key("u5"), "why?")).await, Committed::Applied);
    assert_eq!(submit(&*store, &without_id(&key("u5"), "why?")).await, Committed::Clash(Clash::TaskId));
    // Also when the task has long ended.
    live(&*store, "t9").await;
    assert_eq!(submit(&*store, &submission(&key("t9"), "why?")).await, Committed::Repeated(key("t9")));
    assert_eq!(store.stats().open_tasks, 4);
}

pub async fn two_key_spaces_must_agree(Subject { store, .. }: Subject) {
    let both = named(submission(&key("t1"), "why?"), "k1");
    assert_eq!(submit(&*store, &both).await, Committed::Applied);
    assert_eq!(submit(&*store, &both).await, Committed::Repeated(key("t1")));
    let different = named(submission(&key("t1"), "how?"), "k1");
    assert_eq!(submit(&*store, &different).await, Committed::Clash(Clash::TaskId));
    let disagree = Committed::Clash(Clash::Disagree);
    assert_eq!(submit(&*store, &named(submission(&key("t1"), "why?"), "k2")).await, disagree);
    assert_eq!(submit(&*store, &named(submission(&key("t2"), "why?"), "k1")).await, disagree);
    assert_eq!(submit(&*store, &named(submission(&key("t2"), "why?"), "k2")).await, Committed::Applied);
    assert_eq!(submit(&*store, &named(submission(&key("t1"), "why?"), "k2")).await, disagree);
}

pub async fn a_full_store_says_so(Subject { store, .. }: Subject) {
    let bounded = |id: &str| {
        let mut commit = first(&submission(&key(id), "why?"), &fleet(1), store.now());
        commit.submission.as_mut().unwrap().max_open = 2;
        commit
    };
    let answers = join_all(["t1", "t2", "t3", "t4"].map(|id| store.commit(bounded(id)))).await;
    let full = answers.iter().filter(|answer| **answer == Ok(Committed::Full)).count();
    assert_eq!((full, store.stats().open_tasks), (2, 2));
    // A repetition takes no room.
    assert_eq!(store.commit(bounded("t1")).await, Ok(Committed::Repeated(key("t1"))));
    let task = store.load(&key("t1")).await.unwrap().unwrap();
    feed(&*store, &task, Input::Cancel("room".into()), 1).await;
    assert_eq!(store.stats().open_tasks, 1);
    assert_eq!(store.commit(bounded("t5")).await, Ok(Committed::Applied));
}

pub async fn equal_submissions_at_once_make_one_task(Subject { store, .. }: Subject) {
    let ids: Vec<_> = (0..20).map(|n| key(&format!("t{n}"))).collect();
    let commits = ids.iter().map(|id| first(&named(without_id(id, "why?"), "k"), &fleet(1), store.now()));
    let answers = join_all(commits.map(|commit| store.commit(commit))).await;
    let made: Vec<_> = answers.iter().filter(|answer| **answer == Ok(Committed::Applied)).collect();
    assert_eq!(made.len(), 1);
    let only = store.list(all()).await.unwrap().tasks;
    assert_eq!(only.len(), 1);
    let repeated = Ok(Committed::Repeated(only[0].key.clone()));
    assert_eq!(answers.iter().filter(|answer| **answer == repeated).count(), 19);
}

// === Events and payloads ===

pub async fn events_come_in_pages(Subject { store, .. }: Subject) {
    let task = live(&*store, "t1").await;
    let whole = store.events(&task.key, 0, 100).await.unwrap().unwrap();
    assert_eq!(whole.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=task.version).collect::<Vec<_>>());
    for limit in 1..=whole.len() {
        for after in 0..=whole.len() + 1 {
            let page = store.events(&task.key, after as u64, limit).await.unwrap().unwrap();
            let expected: Vec<_> = whole.iter().skip(after).take(limit).cloned().collect();
            assert_eq!(page, expected, "after {after}, at most {limit}");
        }
    }
    assert_eq!(store.events(&task.key, u64::MAX, 5).await, Ok(Some(vec![])));
    assert_eq!(store.events(&task.key, 0, 0).await, Ok(Some(vec![])));
}

pub async fn readers_are_woken(Subject { store, .. }: Subject) {
    // Before there is such a task, too.
    let mut early = store.wake(&key("t1"));
    let task = take(&*store, "t1", 1).await;
    early.changed().await.unwrap();
    assert_eq!(early.borrow_and_update().version, task.version);
    let mut late = store.wake(&key("t1"));
    let mut other = store.wake(&key("t2"));
    assert!(!late.has_changed().unwrap());
    let done = feed(&*store, &task, succeeded(step("t1", 1)), 1).await;
    for reader in [&mut early, &mut late] {
        reader.changed().await.unwrap();
        assert_eq!(reader.borrow_and_update().version, done.version);
    }
    assert!(!other.has_changed().unwrap());
    // Who is woken sees what woke it.
    let woken = async {
        late.changed().await.unwrap();
        store.load(&key("t1")).await.unwrap().unwrap().version
    };
    let (version, ended) = tokio::join!(woken, feed(&*store, &done, succeeded(step("t1", 2)), 1));
    assert_eq!(version, ended.version);
    assert!(!other.has_changed().unwrap());
    other.mark_unchanged();
}

pub async fn payloads_stay_beside(Subject { store, .. }: Subject) {
    let objective = "x".repeat(5000);
    let commit = first(&submission(&key("t1"), &objective), &fleet(1), store.now());
    let (name, value) = commit.payloads[0].clone();
    assert_eq!(store.commit(commit.clone()).await, Ok(Committed::Applied));
    assert_eq!(store.payload(&key("t1"), &name).await, Ok(Some(value)));
    assert_eq!(store.payload(&key("t1"), "other").await, Ok(None));
    assert_eq!(store.payload(&key_of("two", "t1"), &name).await, Ok(None));
    let mut later = next(&commit.task, succeeded(step("t1", 1)), &fleet(1), store.now()).unwrap();
    let output = Json::of(&"y".repeat(3000)).unwrap();
    later.payloads.push(("out-1".into(), output.clone()));
    assert_eq!(store.commit(later).await, Ok(Committed::Applied));
    assert_eq!(store.payload(&key("t1"), "out-1").await, Ok(Some(output)));
}

// === Lists ===

fn all() -> ListQuery {
    ListQuery { tenant: None, status: None, before: None, limit: 1000 }
}

fn ids(page: &callboard::store::ListPage) -> Vec<String> {
    page.tasks.iter().map(|task| task.key.id.to_string()).collect()
}

pub async fn lists_are_stable(Subject { store, clock, .. }: Subject) {
    for n in 1..=7 {
        clock.advance(1);
        take(&*store, &format!("t{n}"), 1).await;
    }
    let page = |before| store.list(ListQuery { before, limit: 3, ..all() });
    let one = page(None).await.unwrap();
    assert_eq!(ids(&one), ["t7", "t6", "t5"]);
    assert_eq!(one.tasks[0].accepted_at, clock.now());
    assert_eq!(&*one.tasks[0].summary, "why?");
    // What comes or moves in between does not shift the pages.
    take(&*store, "t8", 1).await;
    let task = store.load(&key("t3")).await.unwrap().unwrap();
    feed(&*store, &task, Input::Cancel("enough".into()), 1).await;
    let two = page(one.next).await.unwrap();
    assert_eq!(ids(&two), ["t4", "t3", "t2"]);
    let three = page(two.next).await.unwrap();
    assert_eq!((ids(&three), three.next), (vec!["t1".to_owned()], None));
    // A place in the list is a cursor.
    let rest = page(Some(two.tasks[0].place)).await.unwrap();
    assert_eq!(ids(&rest), ["t3", "t2", "t1"]);
    let exact = store.list(ListQuery { limit: 8, ..all() }).await.unwrap();
    assert_eq!((exact.tasks.len(), exact.next), (8, None));
    let none = store.list(ListQuery { limit: 0, ..all() }).await.unwrap();
    assert_eq!((none.tasks.len(), none.next), (0, None));
}

pub async fn lists_can_be_narrowed(Subject { store, .. }: Subject) {
    for (tenant, id) in [("one", "a1"), ("two", "b1"), ("one", "a2"), ("two", "b2"), ("one", "a3")] {
        submit(&*store, &submission(&key_of(tenant, id), "why?")).await;
    }
    let a2 = store.load(&key_of("one", "a2")).await.unwrap().unwrap();
    feed(&*store, &a2, Input::Cancel("enough".into()), 0).await;
    let list = |tenant: Option<&str>, status, limit| {
        store.list(ListQuery {
            tenant: tenant.map(|name| Tenant::trusted(name.to_owned())),
            status,
            before: None,
            limit,
        })
    };
    assert_eq!(ids(&list(Some("one"), None, 9).await.unwrap()), ["a3", "a2", "a1"]);
    assert_eq!(ids(&list(Some("one"), Some(Status::Cancelled), 9).await.unwrap()), ["a2"]);
    let waiting = Some(Status::WaitingForAgent);
    assert_eq!(ids(&list(Some("one"), waiting, 9).await.unwrap()), ["a3", "a1"]);
    assert_eq!(ids(&list(None, waiting, 9).await.unwrap()), ["a3", "b2", "b1", "a1"]);
    assert_eq!(ids(&list(None, Some(Status::Failed), 9).await.unwrap()), [""; 0]);
    assert_eq!(ids(&list(Some("three"), None, 9).await.unwrap()), [""; 0]);
    let first = list(None, waiting, 2).await.unwrap();
    let rest = store.list(ListQuery { status: waiting, before: first.next, ..all() }).await.unwrap();
    assert_eq!(ids(&rest), ["b1", "a1"]);
}

// === The store itself ===

pub async fn stats_count(Subject { store, .. }: Subject) {
    store.check().await.unwrap();
    assert!(!store.describe().is_empty());
    live(&*store, "t1").await;
    take(&*store, "t2", 1).await;
    let stats = store.stats();
    assert_eq!((stats.commits, stats.open_tasks), (4, 1));
}

pub async fn a_closed_store_says_so(Subject { store, .. }: Subject) {
    let task = take(&*store, "t1", 0).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let refused = |error: StoreError| assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let commit = next(&task, Input::Cancel("late".into()), &fleet(0), store.now()).unwrap();
    refused(store.commit(commit).await.unwrap_err());
    refused(store.events(&task.key, 0, 1).await.unwrap_err());
    refused(store.waiting(&capability("analyze"), 1).await.unwrap_err());
    refused(store.check().await.unwrap_err());
}
