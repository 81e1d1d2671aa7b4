//! Queues, timers and leases.

use crate::subject::{
    Subject, agent, capability, failed, feed, first, fleet, incarnation, key, step, submission, succeeded, take,
    with_priority,
};
use callboard::store::{Clock, Committed, Store};
use callboard::task::{AttemptNo, Input, Lease, Priority, TaskKey, TimerId, UNACCEPTED_LEASE_MS, leases, timers};

async fn waits(store: &dyn Store, id: &str, priority: Priority) {
    let submission = with_priority(submission(&key(id), "why?"), priority);
    assert_eq!(store.commit(first(&submission, &fleet(0), store.now())).await, Ok(Committed::Applied));
}

async fn order(store: &dyn Store, limit: usize) -> Vec<String> {
    let waiting = store.waiting(&capability("analyze"), limit).await.unwrap();
    waiting.entries.into_iter().map(|(key, _)| key.id.to_string()).collect()
}

pub async fn a_queue_has_an_order(Subject { store, clock, .. }: Subject) {
    assert_eq!(store.waiting_capabilities().await, Ok(vec![]));
    waits(&*store, "low", Priority::Low).await;
    clock.advance(10_000);
    waits(&*store, "normal-1", Priority::Normal).await;
    clock.advance(10_000);
    waits(&*store, "normal-2", Priority::Normal).await;
    clock.advance(10_000);
    waits(&*store, "high", Priority::High).await;
    assert_eq!(order(&*store, 9).await, ["high", "normal-1", "normal-2", "low"]);
    assert_eq!(order(&*store, 2).await, ["high", "normal-1"]);
    assert_eq!(store.waiting(&capability("analyze"), 0).await.unwrap().counts, [1, 2, 1]);
    assert_eq!(store.waiting_capabilities().await, Ok(vec![capability("analyze")]));
    // A low step that has waited five minutes longer goes before a fresh high one.
    clock.advance(300_000);
    waits(&*store, "fresh", Priority::High).await;
    assert_eq!(order(&*store, 9).await, ["high", "normal-1", "normal-2", "low", "fresh"]);
    assert_eq!(store.waiting(&capability("evaluate"), 9).await.unwrap().counts, [0; 3]);
}

pub async fn a_claimed_step_leaves_the_queue(Subject { store, .. }: Subject) {
    let task = take(&*store, "t1", 0).await;
    assert_eq!(order(&*store, 9).await, ["t1"]);
    let task = feed(&*store, &task, Input::Claim(step("t1", 1)), 1).await;
    assert_eq!(order(&*store, 9).await, [""; 0]);
    assert_eq!(store.waiting_capabilities().await, Ok(vec![]));
    feed(&*store, &task, succeeded(step("t1", 1)), 0).await;
    assert_eq!(store.waiting_capabilities().await, Ok(vec![capability("evaluate")]));
}

pub async fn timers_are_claimed(Subject { store, clock, .. }: Subject) {
    let task = take(&*store, "t1", 1).await;
    let [deadline, timeout] = timers(&task)[..] else { panic!("two timers") };
    let page = store.due_timers(9, 5_000).await.unwrap();
    assert_eq!((page.due, page.next), (vec![], Some(timeout.due)));
    clock.advance(timeout.due.since(clock.now()));
    let page = store.due_timers(9, 5_000).await.unwrap();
    assert_eq!(page.due, [(key("t1"), timeout)]);
    assert_eq!(page.next, Some(clock.now().plus(5_000)).min(Some(deadline.due)).map(|_| deadline.due));
    // Claimed: nobody else is given it until the claim ends.
    assert_eq!(store.due_timers(9, 5_000).await.unwrap().due, []);
    clock.advance(4_999);
    assert_eq!(store.due_timers(9, 5_000).await.unwrap().due, []);
    clock.advance(1);
    assert_eq!(store.due_timers(9, 5_000).await.unwrap().due, [(key("t1"), timeout)]);
    clock.advance(deadline.due.since(clock.now()));
    // In batches, earliest first, and told when to come again.
    let one = store.due_timers(1, 5_000).await.unwrap();
    assert_eq!((one.due, one.next), (vec![(key("t1"), timeout)], Some(deadline.due)));
    let two = store.due_timers(1, 5_000).await.unwrap();
    assert_eq!((two.due, two.next), (vec![(key("t1"), deadline)], Some(clock.now().plus(5_000))));
}

pub async fn cleared_timers_never_fire(Subject { store, clock, .. }: Subject) {
    let task = take(&*store, "t1", 1).await;
    let task = feed(&*store, &task, failed(step("t1", 1)), 1).await;
    let backoff = *timers(&task).iter().find(|timer| timer.id != TimerId::Deadline).unwrap();
    clock.advance(20 * 60_000);
    let due = store.due_timers(9, 5_000).await.unwrap().due;
    assert_eq!(due, [(key("t1"), backoff)]);
    // Also one that is claimed.
    feed(&*store, &task, Input::Cancel("enough".into()), 1).await;
    clock.advance(30 * 24 * 3_600_000);
    let page = store.due_timers(9, 5_000).await.unwrap();
    assert_eq!((page.due, page.next), (vec![], None));
}

fn lease(id: &str, attempt: u32) -> Lease {
    Lease { step: step(id, 1), attempt: AttemptNo(attempt), agent: agent("ann"), incarnation: incarnation("i1") }
}

async fn ran_out(store: &dyn Store) -> Vec<(TaskKey, Lease)> {
    store.expired_leases(9, 5_000).await.unwrap().due
}

pub async fn leases_run_out(Subject { store, clock, .. }: Subject) {
    let task = take(&*store, "t1", 1).await;
    assert_eq!(leases(&task), [lease("t1", 1)]);
    let until = clock.now().plus(UNACCEPTED_LEASE_MS);
    let page = store.expired_leases(9, 5_000).await.unwrap();
    assert_eq!((page.due, page.next), (vec![], Some(until)));
    clock.advance(UNACCEPTED_LEASE_MS);
    assert_eq!(ran_out(&*store).await, [(key("t1"), lease("t1", 1))]);
    assert_eq!(ran_out(&*store).await, []);
    clock.advance(5_000);
    assert_eq!(ran_out(&*store).await, [(key("t1"), lease("t1", 1))]);
    assert_eq!(store.leases().await.unwrap(), [(key("t1"), lease("t1", 1))], "it stands until its end is committed");
    feed(&*store, &task, failed(step("t1", 1)), 1).await;
    clock.advance(5_000);
    let page = store.expired_leases(9, 5_000).await.unwrap();
    assert_eq!((page.due, page.next), (vec![], None));
    assert_eq!(store.leases().await.unwrap(), []);
}

pub async fn renewed_leases_stand(Subject { store, clock, .. }: Subject) {
    take(&*store, "t1", 1).await;
    clock.advance(UNACCEPTED_LEASE_MS - 1);
    assert_eq!(store.renew(vec![(key("t1"), lease("t1", 1))], 15_000).await, Ok(vec![]));
    clock.advance(14_999);
    assert_eq!(ran_out(&*store).await, []);
    clock.advance(1);
    assert_eq!(ran_out(&*store).await, [(key("t1"), lease("t1", 1))]);
    // It still stands until somebody commits its loss, so its holder may take it up again.
    assert_eq!(store.renew(vec![(key("t1"), lease("t1", 1))], 15_000).await, Ok(vec![]));
    clock.advance(14_999);
    assert_eq!(ran_out(&*store).await, []);
}

pub async fn leases_that_are_gone_are_answered(Subject { store, .. }: Subject) {
    let task = take(&*store, "t1", 1).await;
    take(&*store, "t2", 1).await;
    feed(&*store, &task, failed(step("t1", 1)), 1).await;
    let other_life = Lease { incarnation: incarnation("i2"), ..lease("t2", 1) };
    let gone = vec![
        (key("t1"), lease("t1", 1)),
        (key("t2"), lease("t2", 2)),
        (key("t2"), other_life),
        (key("t3"), lease("t3", 1)),
    ];
    let mut asked = gone.clone();
    asked.insert(1, (key("t2"), lease("t2", 1)));
    assert_eq!(store.renew(asked, 15_000).await, Ok(gone));
}

pub async fn an_agents_death_ends_its_leases(Subject { store, clock, .. }: Subject) {
    for id in ["t1", "t2"] {
        take(&*store, id, 2).await;
    }
    let held = ["t1", "t2"].map(|id| (key(id), lease(id, 1)));
    store.renew(held.to_vec(), 60_000).await.unwrap();
    store.expire_leases_of(&agent("ann"), &incarnation("i0")).await.unwrap();
    store.expire_leases_of(&agent("bob"), &incarnation("i1")).await.unwrap();
    assert_eq!(ran_out(&*store).await, []);
    store.expire_leases_of(&agent("ann"), &incarnation("i1")).await.unwrap();
    let mut expired = ran_out(&*store).await;
    expired.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(expired, held);
    // Who has claimed them keeps them.
    store.expire_leases_of(&agent("ann"), &incarnation("i1")).await.unwrap();
    assert_eq!(ran_out(&*store).await, []);
    clock.advance(5_000);
    assert_eq!(ran_out(&*store).await.len(), 2);
}
