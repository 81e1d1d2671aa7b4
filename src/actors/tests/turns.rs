//! What an actor arranges for later, and the tasks that it starts.

use super::*;

// === Turns ===

/// Notes the order of what it arranged.
struct Arranger {
    notes: Rc<RefCell<Vec<&'static str>>>,
    ticks: u32,
}
impl Behaviour for Arranger {
    const KIND: &'static str = "arranger";
    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        turn.later(MS * 25, |state, turn| {
            state.notes.borrow_mut().push("later");
            turn.stop();
        });
        turn.every(MS * 10, |state, _| {
            state.ticks += 1;
            state.notes.borrow_mut().push("tick");
        });
        turn.defer(|state, _| state.notes.borrow_mut().push("deferred"));
        self.notes.borrow_mut().push("started");
    }
    fn stopping(&mut self) {
        self.notes.borrow_mut().push("stopping");
    }
}

thread_local! {
    static NOTES: Rc<RefCell<Vec<&'static str>>> = Rc::default();
}

#[actix::test]
async fn what_a_turn_arranges_comes_in_its_time() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let create = || Arranger { notes: NOTES.with(Rc::clone), ticks: 0 };
    let address = supervise(&tree.root(), Spec::new("a", create).policy(Policy::Transient));
    address.node().ended().await;
    let notes = NOTES.with(|notes| notes.take());
    assert_eq!(notes, ["started", "deferred", "tick", "tick", "later", "stopping"]);
}

// === Tasks ===

#[actix::test]
async fn a_task_ends_as_it_ends_and_is_seen_only_while_it_runs() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let finished = spawn_task(&tree.root(), "t/1", async { 5 });
    let panicked = spawn_task(&tree.root(), "t/2", async { panic!("poison") });
    let aborted = spawn_task(&tree.root(), "t/3", std::future::pending::<()>());
    let namesake = spawn_task(&tree.root(), "t/3", std::future::pending::<()>());
    let view = tree.snapshot();
    let names: Vec<_> = view.children.iter().map(|child| &*child.name).collect();
    assert_eq!(names, ["t.1", "t.2", "t.3", "t.3"]);
    aborted.abort();
    namesake.abort();
    assert_eq!(finished.await, TaskEnd::Finished(5));
    assert_eq!(panicked.await, TaskEnd::<()>::Panicked("poison".into()));
    assert_eq!((aborted.await, namesake.await), (TaskEnd::Aborted, TaskEnd::Aborted));
    assert_eq!(tree.snapshot().children, []);
}

#[actix::test]
async fn a_task_whose_remains_panic_too_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let (tree, _root) = Tree::new(Restarts::NONE);
    let bomb = Bomb;
    let aborted = spawn_task(&tree.root(), "t", async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    aborted.abort();
    assert_eq!(aborted.await, TaskEnd::Aborted);
}

/// Runs a step per message, as an agent does.
struct Agent {
    steps: TaskSet<u32>,
    done: u32,
}
struct Step(u32, oneshot::Receiver<()>);
impl Message for Step {
    const NAME: &'static str = "step";
    type Reply = ();
}
impl Behaviour for Agent {
    const KIND: &'static str = "agent";
}
impl Handle<Step> for Agent {
    fn handle(&mut self, step: Step, _: CallContext, reply: Reply<Step>, turn: &mut Turn<'_, Self>) {
        let task = spawn_task(turn.node(), format!("step-{}", step.0), async move { step.1.await.expect("poison") });
        self.steps.insert(step.0, task.abort_handle());
        turn.spawn(task, move |state, _outcome, _| {
            state.steps.remove(&step.0);
            state.done += 1;
            reply.send(());
        });
    }
}
impl Handle<Crash> for Agent {
    fn handle(&mut self, _: Crash, _: CallContext, _: Reply<Crash>, _: &mut Turn<'_, Self>) {
        panic!("told to crash");
    }
}

#[actix::test]
async fn a_panicking_step_is_not_its_agents_crash_and_a_crashing_agent_reports_its_steps() {
    tokio::time::pause();
    let lost = Arc::new(AtomicU32::new(0));
    let report = Arc::clone(&lost);
    let create = move || {
        let report = Arc::clone(&report);
        Agent {
            steps: TaskSet::new(move |step| {
                report.fetch_add(step, Relaxed);
            }),
            done: 0,
        }
    };
    let (tree, _root) = Tree::new(Restarts::NONE);
    let agent = supervise(&tree.root(), Spec::new("agent", create));
    let to = agent.actor_ref::<Step>();
    for step in 0..20 {
        let (panics, wait) = oneshot::channel();
        drop(panics);
        assert_eq!(to.ask(Step(step, wait), context(), SOON).await, Ok(()));
    }
    assert_eq!(find(&tree.snapshot(), "agent").map(|agent| agent.restarts), Some(0));
    let channels: Vec<_> = (0..2).map(|_| oneshot::channel()).collect();
    let mut steps = Vec::new();
    let mut running = Vec::new();
    for (nth, (sender, wait)) in channels.into_iter().enumerate() {
        steps.push(to.ask(Step(100 << nth, wait), context(), SOON));
        running.push(sender);
    }
    let crashed = agent.actor_ref().ask(Crash, context(), SOON);
    assert_eq!(crashed.await, Err(CallError::Crashed));
    for step in steps {
        assert_eq!(step.await, Err(CallError::Crashed));
    }
    assert_eq!(lost.load(Relaxed), 300, "both, at once and once");
    for sender in &mut running {
        sender.closed().await;
    }
    assert_eq!(find(&tree.snapshot(), "agent").map(|agent| agent.children.len()), Some(0));
}

#[actix::test]
async fn ten_thousand_short_steps_leave_nothing_behind() {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let parent = tree.root().group("agent", Restarts::NONE);
    let count = Rc::new(Cell::new(0));
    for nth in 0..10_000 {
        let count = Rc::clone(&count);
        let step = spawn_task(&parent, format!("step-{nth}"), async move { count.set(count.get() + 1) });
        assert_eq!(step.await, TaskEnd::Finished(()));
    }
    assert_eq!(count.get(), 10_000);
    assert_eq!(find(&tree.snapshot(), "agent").map(|agent| agent.children.len()), Some(0));
}
