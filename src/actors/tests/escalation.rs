//! How a failure climbs: from the child to its groups, and from the root to the process.

use super::*;

#[actix::test]
async fn past_its_window_a_child_is_started_afresh_by_its_group_and_then_fails_the_process() {
    tokio::time::pause();
    let (tree, mut root) = Tree::new(Restarts::NONE);
    let group = tree.root().group("agents", Restarts { max: 1, within: SOON * 60 });
    let address = supervise(&group, counter("a").restarts(2, SOON));
    let neighbour = supervise(&group, counter("b"));
    assert_eq!(count(&neighbour).await, Ok(1));
    // Two restarts of its own, one by the group, two more of its own; the sixth crash is one too many.
    for _ in 0..5 {
        assert_eq!(crash(&address).await, CallError::Crashed);
        assert_eq!(count(&address).await, Ok(1));
    }
    let last = address.actor_ref::<Crash>().ask(Crash, context(), SOON);
    let queued = address.actor_ref::<Count>().ask(Count, context(), SOON);
    let down = root.failed().await;
    assert_eq!((last.await, queued.await), (Err(CallError::Crashed), Err(CallError::Unavailable)));
    assert_eq!((&*down.path, down.restarts), ("root/agents/a", 5));
    assert_eq!(address.node().state(), NodeState::Escalated);
    assert_eq!(count(&neighbour).await, Ok(2), "the rest goes on, to drain");
    assert_eq!(root.failed().await, down);
}

#[actix::test]
async fn a_group_that_cannot_go_on_is_started_afresh_with_all_its_children_by_the_one_above() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let upper = tree.root().group("upper", Restarts { max: 1, within: SOON });
    let lower = upper.group("lower", Restarts::NONE);
    let address = supervise(&lower, counter("a").restarts(0, SOON));
    let sibling = supervise(&lower, counter("b"));
    let outside = supervise(&upper, counter("c"));
    for address in [&sibling, &outside] {
        assert_eq!(count(address).await, Ok(1));
    }
    crash(&address).await;
    assert_eq!(count(&address).await, Ok(1));
    assert_eq!(count(&sibling).await, Ok(1), "fresh, with its group");
    assert_eq!(count(&outside).await, Ok(2), "not of that group");
    let view = tree.snapshot();
    let restarts = ["lower", "a", "b", "c"].map(|name| find(&view, name).map(|node| node.restarts));
    assert_eq!(restarts, [Some(1), Some(1), Some(1), Some(0)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whenever the crashes come, there are as many restarts as the window allows, and it escalates at the next.
    #[test]
    fn crashes_at_any_times_give_exactly_the_restarts_the_window_allows(
        max in 0_u32..4,
        gaps in proptest::collection::vec(0_u32..400, 1..12),
    ) {
        let within = MS * 500;
        let (crashes, restarts, is_down) = actix::System::new().block_on(async {
            tokio::time::pause();
            let (tree, _root) = Tree::new(Restarts::NONE);
            let spec = counter("a").restarts(max, within).back_off(Duration::ZERO, Duration::ZERO);
            let address = supervise(&tree.root(), spec);
            let mut crashes = Vec::new();
            for gap in gaps {
                tokio::time::sleep(MS * gap).await;
                crashes.push(tokio::time::Instant::now());
                let _ = address.actor_ref().ask(Crash, context(), SOON).await;
                // Settles the crash before time goes on.
                let _ = count(&address).await;
            }
            let is_down = address.node().state() == NodeState::Escalated;
            (crashes, find(&tree.snapshot(), "a").map_or(0, |node| node.restarts), is_down)
        });
        let mut allowed = Vec::new();
        let first_too_many = crashes.iter().find(|now| {
            let recent = allowed.iter().filter(|at| **now - **at < within).count();
            allowed.push(**now);
            recent >= max as usize
        });
        let expected = allowed.len() - usize::from(first_too_many.is_some());
        prop_assert_eq!((restarts as usize, is_down), (expected, first_too_many.is_some()));
    }
}
