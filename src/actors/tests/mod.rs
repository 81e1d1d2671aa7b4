//! What an actor's life looks like from outside: crashes, restarts, escalation, bounds, tasks. Timers run on paused
//! time, on the test's own thread.

use super::*;
use crate::messages::{CallContext, CallError, Lane, Message};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(60);
const MS: Duration = Duration::from_millis(1);

mod asking;
mod escalation;
mod threads;
mod turns;

// === An actor that does what it is told ===

/// Counts, and answers the count of its present life.
struct Count;
impl Message for Count {
    const NAME: &'static str = "count";
    type Reply = u32;
}

/// Panics.
struct Crash;
impl Message for Crash {
    const NAME: &'static str = "crash";
    type Reply = ();
}

/// Ends by itself.
struct Leave;
impl Message for Leave {
    const NAME: &'static str = "leave";
    type Reply = ();
}

/// Answers when it is told to.
struct Wait(oneshot::Receiver<u32>);
impl Message for Wait {
    const NAME: &'static str = "wait";
    type Reply = u32;
}

/// Asks how it is, past all work.
struct Ping;
impl Message for Ping {
    const NAME: &'static str = "ping";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

#[derive(Default)]
struct Counter {
    count: u32,
}

impl Behaviour for Counter {
    const KIND: &'static str = "counter";
}

impl Handle<Count> for Counter {
    fn handle(&mut self, _: Count, _: CallContext, reply: Reply<Count>, _: &mut Turn<'_, Self>) {
        self.count += 1;
        reply.send(self.count);
    }
}

impl Handle<Crash> for Counter {
    fn handle(&mut self, _: Crash, _: CallContext, _reply: Reply<Crash>, _: &mut Turn<'_, Self>) {
        panic!("told to crash");
    }
}

impl Handle<Leave> for Counter {
    fn handle(&mut self, _: Leave, _: CallContext, reply: Reply<Leave>, turn: &mut Turn<'_, Self>) {
        reply.send(());
        turn.stop();
    }
}

impl Handle<Wait> for Counter {
    fn handle(&mut self, wait: Wait, _: CallContext, reply: Reply<Wait>, turn: &mut Turn<'_, Self>) {
        turn.spawn(wait.0, |_, answer, _| reply.send(answer.unwrap_or(0)));
    }
}

impl Handle<Ping> for Counter {
    fn handle(&mut self, _: Ping, _: CallContext, reply: Reply<Ping>, _: &mut Turn<'_, Self>) {
        reply.send(());
    }
}

fn context() -> CallContext {
    CallContext::default()
}

fn counter(name: &str) -> Spec<Counter> {
    Spec::new(name, Counter::default).seed(1)
}

async fn count(address: &Address<Counter>) -> Result<u32, CallError> {
    address.actor_ref().ask(Count, context(), SOON).await
}

async fn crash(address: &Address<Counter>) -> CallError {
    address.actor_ref().ask(Crash, context(), SOON).await.expect_err("a crash has no answer")
}

fn find<'a>(view: &'a NodeView, name: &str) -> Option<&'a NodeView> {
    if view.name == name { Some(view) } else { view.children.iter().find_map(|child| find(child, name)) }
}

// === Restart in place ===

#[actix::test]
async fn a_crash_starts_it_over_in_place_with_queued_messages_and_fresh_state() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a"));
    assert_eq!(count(&address).await, Ok(1));
    let to = address.actor_ref::<Count>();
    let crashed = address.actor_ref::<Crash>().ask(Crash, context(), SOON);
    let queued = (to.ask(Count, context(), SOON), to.ask(Count, context(), SOON));
    assert_eq!(crashed.await, Err(CallError::Crashed));
    assert_eq!((queued.0.await, queued.1.await), (Ok(1), Ok(2)));
    assert_eq!(count(&address).await, Ok(3));
    let view = tree.snapshot();
    let node = find(&view, "a").expect("it is in the tree");
    assert_eq!((node.state, node.restarts, node.handled), (NodeState::Running, 1, 5));
    let failure = node.last_failure.as_ref().expect("it says why");
    assert_eq!(&*failure.text, "panicked in crash: told to crash");
}

#[actix::test]
async fn what_an_actor_waits_for_ends_with_the_crash_and_not_after_the_back_off() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").back_off(SOON, SOON));
    let (_never, wait) = oneshot::channel();
    let waiting = address.actor_ref().ask(Wait(wait), context(), SOON * 10);
    let before = tokio::time::Instant::now();
    assert_eq!(crash(&address).await, CallError::Crashed);
    assert_eq!(waiting.await, Err(CallError::Crashed));
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(address.node().state(), NodeState::BackingOff);
    assert_eq!(address.actor_ref().ask(Count, context(), SOON * 10).await, Ok(1));
    assert!(before.elapsed() >= SOON / 2);
}

#[actix::test]
async fn a_failing_factory_is_a_crash_like_any_other() {
    tokio::time::pause();
    let (tree, mut root) = Tree::new(Restarts::NONE);
    let spec = Spec::<Counter>::new("a", || panic!("no state today")).restarts(2, SOON);
    let address = supervise(&tree.root(), spec);
    let down = root.failed().await;
    assert_eq!((&*down.path, &*down.reason, down.restarts), ("root/a", "panicked in start: no state today", 2));
    assert_eq!(count(&address).await, Err(CallError::Unavailable));
}

#[actix::test]
async fn a_transient_actor_may_leave_and_a_permanent_one_may_not() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let transient = supervise(&tree.root(), counter("transient").policy(Policy::Transient));
    let permanent = supervise(&tree.root(), counter("permanent"));
    for address in [&transient, &permanent] {
        assert_eq!(address.actor_ref().ask(Leave, context(), SOON).await, Ok(()));
    }
    assert_eq!(count(&transient).await, Err(CallError::Unavailable));
    assert_eq!(count(&permanent).await, Ok(1));
    assert_eq!((transient.node().state(), permanent.node().state()), (NodeState::Stopped, NodeState::Running));
}

#[actix::test]
async fn a_temporary_actor_ends_with_its_first_crash_and_nobody_above_hears_of_it() {
    let (tree, mut root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").policy(Policy::Temporary));
    crash(&address).await;
    address.node().ended().await;
    assert_eq!(count(&address).await, Err(CallError::Unavailable));
    let unheard = futures_util::FutureExt::now_or_never(root.failed());
    assert_eq!(unheard, None);
}

#[actix::test]
async fn stopped_during_its_back_off_it_does_not_start_once_more() {
    tokio::time::pause();
    let created = Arc::new(AtomicU32::new(0));
    let (tree, _root) = Tree::new(Restarts::NONE);
    let counting = Arc::clone(&created);
    let create = move || {
        counting.fetch_add(1, Relaxed);
        Counter::default()
    };
    let address = supervise(&tree.root(), Spec::new("a", create).back_off(SOON, SOON));
    crash(&address).await;
    let queued = address.actor_ref().ask(Count, context(), SOON * 10);
    address.node().stopped().await;
    assert_eq!(queued.await, Err(CallError::Unavailable));
    assert_eq!((created.load(Relaxed), address.node().state()), (1, NodeState::Stopped));
}

/// Panics when handled, when dropped and when stopped.
struct Grenade;
impl Behaviour for Grenade {
    const KIND: &'static str = "grenade";
    fn stopping(&mut self) {
        panic!("in stopping");
    }
}
impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("in drop");
    }
}
impl Handle<Crash> for Grenade {
    fn handle(&mut self, _: Crash, _: CallContext, _: Reply<Crash>, _: &mut Turn<'_, Self>) {
        panic!("told to crash");
    }
}

#[actix::test]
async fn whatever_panics_after_a_panic_harms_nobody_else() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let (neighbour, address) =
        (supervise(&tree.root(), counter("a")), supervise(&tree.root(), Spec::new("g", || Grenade)));
    for _ in 0..2 {
        let crashed = address.actor_ref::<Crash>().ask(Crash, context(), SOON).await;
        assert_eq!(crashed, Err(CallError::Crashed));
    }
    address.node().stopped().await;
    assert_eq!(count(&neighbour).await, Ok(1));
}

// === Killed from outside ===

#[actix::test]
async fn a_killed_actor_crashes_like_any_other_and_escalates_like_any_other() {
    tokio::time::pause();
    let (tree, mut root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").restarts(2, SOON).back_off(MS, MS));
    assert_eq!(count(&address).await, Ok(1));
    let (_never, wait) = oneshot::channel();
    let waiting = address.actor_ref().ask(Wait(wait), context(), SOON);
    tokio::task::yield_now().await;
    assert!(tree.kill("root/a"));
    let queued = address.actor_ref::<Count>().ask(Count, context(), SOON);
    assert_eq!((waiting.await, queued.await), (Err(CallError::Crashed), Ok(1)));
    let view = tree.snapshot();
    let node = find(&view, "a").expect("it is in the tree");
    assert_eq!((node.state, node.restarts), (NodeState::Running, 1));
    assert_eq!(&*node.last_failure.as_ref().expect("it says why").text, "killed from outside");
    for _ in 0..2 {
        assert!(tree.kill("root/a"));
        tokio::time::sleep(MS * 10).await;
    }
    let down = root.failed().await;
    assert_eq!((&*down.path, &*down.reason, down.restarts), ("root/a", "killed from outside", 2));
    assert!(!tree.kill("root/a"), "it has ended");
}

#[actix::test]
async fn a_killed_task_panicked_and_neither_groups_nor_strangers_can_be_killed() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let group = tree.root().group("agents", Restarts::NONE);
    let task = spawn_task(&group, "step", std::future::pending::<()>());
    assert!(!tree.kill("root/agents") && !tree.kill("root/nobody") && !tree.kill("root"));
    assert!(tree.kill("root/agents/step"));
    assert_eq!(task.await, TaskEnd::Panicked("killed from outside".into()));
}

#[actix::test]
async fn an_actor_that_is_down_is_not_killed_once_more() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").back_off(SOON, SOON));
    crash(&address).await;
    assert!(tree.kill("root/a"));
    assert_eq!(address.actor_ref().ask(Count, context(), SOON * 10).await, Ok(1));
    assert_eq!(find(&tree.snapshot(), "a").map(|node| node.restarts), Some(1));
}
