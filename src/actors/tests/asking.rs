//! What a sender sees: bounds, limits of time, and addressees that are gone or busy.

use super::*;

#[actix::test]
async fn a_full_lane_refuses_at_once_and_control_still_gets_in() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").bounds(2, 1));
    let to = address.actor_ref::<Wait>();
    let (first, wait) = oneshot::channel();
    let waiting = to.ask(Wait(wait), context(), SOON);
    let (_second, wait) = oneshot::channel();
    assert_eq!(to.clone().tell(Wait(wait), context()), Ok(()));
    assert_eq!(count(&address).await, Err(CallError::Overloaded), "all types and clones share the lane");
    assert_eq!(address.actor_ref().ask(Ping, context(), SOON).await, Ok(()));
    let view = tree.snapshot();
    let node = find(&view, "a").expect("it is in the tree");
    assert_eq!(node.in_flight, InFlight { work: 2, control: 0 });
    assert!(node.oldest_in_flight_ms.is_some());
    first.send(7).unwrap();
    assert_eq!(waiting.await, Ok(7));
    assert_eq!(count(&address).await, Ok(1));
}

#[actix::test]
async fn giving_up_frees_no_place_and_takes_nothing_back() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a").bounds(1, 1));
    let (answer, wait) = oneshot::channel();
    let asked = address.actor_ref().ask(Wait(wait), context(), MS);
    assert_eq!(asked.await, Err(CallError::Timeout));
    assert_eq!(count(&address).await, Err(CallError::Overloaded));
    answer.send(1).unwrap();
    address.actor_ref().ask(Ping, context(), SOON).await.unwrap();
    drop(address.actor_ref().ask(Count, context(), SOON));
    address.actor_ref().ask(Ping, context(), SOON).await.unwrap();
    assert_eq!(count(&address).await, Ok(2));
}

#[actix::test]
async fn the_sooner_of_timeout_and_deadline_counts_and_a_past_one_sends_nothing() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let address = supervise(&tree.root(), counter("a"));
    let before = tokio::time::Instant::now();
    let deadline = Some((before + MS * 5).into_std());
    let (_never, wait) = oneshot::channel();
    let asked = address.actor_ref().ask(Wait(wait), CallContext { deadline, ..context() }, SOON);
    assert_eq!(asked.await, Err(CallError::Timeout));
    assert!(before.elapsed() < SOON);
    let late = address.actor_ref().ask(Count, CallContext { deadline, ..context() }, SOON);
    assert_eq!(late.await, Err(CallError::Timeout));
    assert_eq!(count(&address).await, Ok(1));
}

#[actix::test]
async fn a_stopped_subtree_answers_unavailable_to_all() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let group = tree.root().group("g", Restarts::NONE);
    let (one, other) = (supervise(&group, counter("a")), supervise(&group.group("h", Restarts::NONE), counter("b")));
    let beside = supervise(&tree.root(), counter("g-beside"));
    let (_never, wait) = oneshot::channel();
    let waiting = other.actor_ref().ask(Wait(wait), context(), SOON);
    group.stopped().await;
    assert_eq!(waiting.await, Err(CallError::Unavailable));
    assert_eq!(count(&one).await, Err(CallError::Unavailable));
    assert_eq!(count(&beside).await, Ok(1));
    let late = supervise(&group, counter("late"));
    late.node().ended().await;
    assert!(!late.actor_ref::<Count>().is_connected());
}

/// An actor that loops by telling itself, which in plain actix never lets its thread go.
struct Busy;
struct Again;
impl Message for Again {
    const NAME: &'static str = "again";
    type Reply = ();
}
impl Behaviour for Busy {
    const KIND: &'static str = "busy";
    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        turn.actor_ref().tell(Again, context()).unwrap();
    }
}
impl Handle<Again> for Busy {
    fn handle(&mut self, _: Again, _: CallContext, _: Reply<Again>, turn: &mut Turn<'_, Self>) {
        turn.actor_ref().tell(Again, context()).unwrap();
    }
}

#[actix::test]
async fn a_busy_mailbox_lets_its_neighbours_in() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let busy = supervise(&tree.root(), Spec::new("busy", || Busy));
    let neighbour = supervise(&tree.root(), counter("a"));
    for nth in 1..100 {
        assert_eq!(count(&neighbour).await, Ok(nth));
    }
    busy.node().stopped().await;
}
