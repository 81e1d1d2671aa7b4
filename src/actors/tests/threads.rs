//! Actors on threads of their own, and the watchdog over them.

use super::*;

#[test]
fn an_actor_on_a_thread_of_its_own_ends_with_it() {
    let answers = run(async {
        let (tree, _root) = Tree::new(Restarts::NONE);
        let thread = ActorThread::start().unwrap();
        let place = thread.place();
        let address = supervise(&tree.root(), counter("a").place(place.clone()));
        crash(&address).await;
        let before = count(&address).await;
        thread.join();
        address.node().ended().await;
        let late = supervise(&tree.root(), counter("late").place(place));
        late.node().ended().await;
        [before, count(&address).await, count(&late).await]
    });
    assert_eq!(answers.unwrap(), [Ok(1), Err(CallError::Unavailable), Err(CallError::Unavailable)]);
}

/// Blocks its thread until told.
struct Block(std::sync::mpsc::Receiver<()>);
impl Message for Block {
    const NAME: &'static str = "block";
    type Reply = ();
}
impl Handle<Block> for Counter {
    fn handle(&mut self, block: Block, _: CallContext, reply: Reply<Block>, _: &mut Turn<'_, Self>) {
        block.0.recv().unwrap();
        reply.send(());
    }
}

#[test]
fn the_watchdog_marks_a_stuck_actor_and_asks_for_the_exit_once() {
    run(async {
        let (tree, _root) = Tree::new(Restarts::NONE);
        let thread = ActorThread::start().unwrap();
        let address = supervise(&tree.root(), counter("a").place(thread.place()).turn_budget(MS));
        let (exit, exited) = oneshot::channel();
        let options = WatchdogOptions { every: MS, frozen_exit: Some(MS * 5) };
        let watchdog = Watchdog::start(&tree, options, move |frozen| exit.send(frozen).unwrap()).unwrap();
        let (release, block) = std::sync::mpsc::channel();
        let blocked = address.actor_ref().ask(Block(block), context(), SOON);
        let frozen = exited.await.unwrap();
        assert_eq!((&*frozen.path, frozen.doing), ("root/a", "block"));
        assert_eq!(address.node().state(), NodeState::Frozen);
        release.send(()).unwrap();
        assert_eq!(blocked.await, Ok(()));
        while address.node().state() == NodeState::Frozen {
            tokio::task::yield_now().await;
        }
        drop(watchdog);
        thread.join();
    })
    .unwrap();
}
