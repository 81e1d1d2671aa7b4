//! The supervisor of one actor: runs it, catches its panics and starts it over in place, address and queue kept and
//! state fresh. It never hides a failure: past the restart window it goes to the parent, from the root to the process.

use super::actor_ref::ActorRef;
use super::behaviour::{Behaviour, Handle, Live};
use super::restart::{BackOff, Policy, Restarts, Window};
use super::run::Place;
use super::status::{Birth, Bounds, Command, NodeState, NodeStatus};
use super::tree::{Node, Verdict};
use crate::messages::Message;
use actix::dev::ContextFut;
use actix::dev::channel::{self, AddressReceiver};
use actix::{Addr, Context};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// How to run an actor. The defaults suit most: permanent, 5 restarts in 30 s, 100 ms to 10 s of back-off.
pub struct Spec<B: Behaviour> {
    name: String,
    create: Box<dyn Fn() -> B + Send>,
    policy: Policy,
    restarts: Restarts,
    back_off: BackOff,
    bounds: Bounds,
    turn_budget: Duration,
    place: Place,
    rng: fastrand::Rng,
}

/// A supervised actor, as whoever started it holds it. Dropping it ends nothing: an actor lives until it is stopped.
pub struct Address<B: Behaviour> {
    addr: Addr<Live<B>>,
    node: Node,
}

/// Starts an actor under a parent and returns its address at once; what is sent before it runs waits for it. Started
/// under another actor it ends with that one's present life. To be called inside [`run`](super::run()).
pub fn supervise<B: Behaviour>(parent: &Node, spec: Spec<B>) -> Address<B> {
    let birth = Birth { kind: B::KIND, bounds: spec.bounds, turn_budget: spec.turn_budget, group: None };
    let node = parent.tree.add(&parent.status, &spec.name, birth);
    // The mailbox's own capacity is never asked: the permits bound it.
    let (sender, receiver) = channel::channel(0);
    let addr = Addr::new(sender);
    let place = spec.place.clone();
    let (there, itself) = (node.clone(), addr.clone());
    let unplaced = Unplaced(Some(there));
    place.run(move || {
        if let Some(there) = unplaced.placed() {
            spawn_here(Supervised::new(there, itself, receiver, spec));
        }
    });
    Address { addr, node }
}

/// An actor on its way to its thread. Dropped on the way, as when that thread ended, it ends the actor's node.
struct Unplaced(Option<Node>);

impl Unplaced {
    fn placed(mut self) -> Option<Node> {
        self.0.take()
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            end(node, NodeState::Stopped, Some("its thread is not running".into()));
        }
    }
}

/// Puts a future on the present thread. The one place that does; everything on it is named in the tree.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns; its futures catch their own panics")]
pub(super) fn spawn_here(future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(future);
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let literal = payload.downcast_ref::<&'static str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

// === impl Spec ===

impl<B: Behaviour> Spec<B> {
    /// An actor of this name, whose state `create` makes for each of its lives.
    pub fn new(name: impl Into<String>, create: impl Fn() -> B + Send + 'static) -> Self {
        Self {
            name: name.into(),
            create: Box::new(create),
            policy: Policy::Permanent,
            restarts: Restarts { max: 5, within: Duration::from_secs(30) },
            back_off: BackOff { first: Duration::from_millis(100), longest: Duration::from_secs(10) },
            bounds: Bounds { work: 1024, control: 64 },
            turn_budget: Duration::from_secs(1),
            place: Place::Here,
            rng: fastrand::Rng::new(),
        }
    }

    /// Whether it starts over.
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// How often it may start over before its parent is asked.
    pub fn restarts(self, max: u32, within: Duration) -> Self {
        Self { restarts: Restarts { max, within }, ..self }
    }

    /// How long it stays down after a crash.
    pub fn back_off(self, first: Duration, longest: Duration) -> Self {
        Self { back_off: BackOff { first, longest }, ..self }
    }

    /// How many messages it may have in flight, per lane.
    pub fn bounds(self, work: u32, control: u32) -> Self {
        Self { bounds: Bounds { work, control }, ..self }
    }

    /// How long one message may take before the watchdog calls the actor frozen.
    pub fn turn_budget(self, turn_budget: Duration) -> Self {
        Self { turn_budget, ..self }
    }

    /// On which thread it lives.
    pub fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Makes its jitter repeatable.
    pub fn seed(self, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), ..self }
    }
}

// === impl Address ===

impl<B: Behaviour> Address<B> {
    /// Where to send messages of one type.
    pub fn actor_ref<M: Message>(&self) -> ActorRef<M>
    where
        B: Handle<M>,
    {
        ActorRef::new(self.addr.clone().recipient(), Arc::clone(&self.node.status))
    }

    /// Its place in the tree, to stop it or to await its end.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl<B: Behaviour> Clone for Address<B> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone(), node: self.node.clone() }
    }
}

impl<B: Behaviour> fmt::Debug for Address<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("path", self.node.path()).finish()
    }
}

// === The supervising future ===

type Life<B> = ContextFut<Live<B>, Context<Live<B>>>;

/// Owns one actor through all its lives. Its own poll never panics.
struct Supervised<B: Behaviour> {
    node: Node,
    /// Keeps the mailbox open, so that an actor nobody knows yet can start over too.
    _itself: Addr<Live<B>>,
    /// None once it has ended.
    life: Option<Life<B>>,
    /// Until its next start.
    resting: Option<Pin<Box<Sleep>>>,
    policy: Policy,
    window: Window,
    back_off: BackOff,
    rng: fastrand::Rng,
}

impl<B: Behaviour> Supervised<B> {
    fn new(node: Node, itself: Addr<Live<B>>, receiver: AddressReceiver<Live<B>>, spec: Spec<B>) -> Self {
        let live = Live::new(node.clone(), spec.create);
        Self {
            node,
            _itself: itself,
            life: Some(Context::with_receiver(receiver).into_future(live)),
            resting: None,
            policy: spec.policy,
            window: Window::new(spec.restarts),
            back_off: spec.back_off,
            rng: spec.rng,
        }
    }

    fn status(&self) -> &NodeStatus {
        &self.node.status
    }

    /// Obeys a stop or a restart from above; true when that was the end.
    fn obey(&mut self) -> bool {
        match self.status().take_command() {
            Command::None => false,
            Command::Stop => {
                self.finish(NodeState::Stopped, None);
                true
            }
            Command::Restart => {
                tracing::warn!(actor.path = %self.node.path(), "started afresh with its group");
                self.window.clear();
                self.clear();
                self.rest(Duration::ZERO);
                false
            }
            // Down already, it cannot crash.
            Command::Kill if self.resting.is_some() => false,
            Command::Kill => self.outlive(Err("killed from outside".into())),
        }
    }

    /// One poll of the actor, with its turn on the watchdog's clock.
    fn take_turn(&mut self, task: &mut std::task::Context<'_>) -> Poll<Result<(), Arc<str>>> {
        let Some(life) = &mut self.life else { return Poll::Ready(Ok(())) };
        let status = &self.node.status;
        status.enter_turn();
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(life).poll(task)));
        status.leave_turn();
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(payload) => {
                let text = format!("panicked in {}: {}", status.doing(), panic_text(&*payload));
                Poll::Ready(Err(text.into()))
            }
        }
    }

    /// The actor's life ended, by itself or by a crash: starts over, or not. True when that was the end.
    fn outlive(&mut self, ended: Result<(), Arc<str>>) -> bool {
        let reason = match (ended, self.policy) {
            (Ok(()), Policy::Permanent) => Arc::from("stopped by itself, though permanent"),
            (Ok(()), _) => {
                self.finish(NodeState::Stopped, None);
                return true;
            }
            (Err(text), _) => text,
        };
        self.status().failed(Arc::clone(&reason));
        tracing::error!(actor.path = %self.node.path(), reason = %reason, "an actor crashed");
        if self.policy == Policy::Temporary {
            self.finish(NodeState::Stopped, None);
            return true;
        }
        // At once and not after the back-off: whoever waits for the old life learns of its end now.
        self.clear();
        let now = Instant::now();
        let delay = match self.window.take(now) {
            Some(nth) => self.back_off.delay(nth, &mut self.rng),
            None => match self.node.tree.escalate(&self.node.status, &reason, now) {
                Verdict::StartAfresh => {
                    self.window.clear();
                    // When its whole group starts afresh it was told so as well, and once is enough.
                    self.status().take_command();
                    self.back_off.longest
                }
                Verdict::GiveUp => {
                    self.finish(NodeState::Escalated, None);
                    return true;
                }
            },
        };
        self.rest(delay);
        false
    }

    /// Drops all of the actor's present life and stops what it started under itself. A panic on the way leaves less to
    /// drop for the second try.
    fn clear(&mut self) {
        self.node.tree.stop_below(&self.node.status);
        let Some(life) = &mut self.life else { return };
        for _ in 0..2 {
            match catch_unwind(AssertUnwindSafe(|| life.restart())) {
                Ok(_) => return,
                Err(payload) => {
                    let text = panic_text(&*payload);
                    tracing::error!(actor.path = %self.node.path(), reason = text, "the remains of a crash panicked too");
                }
            }
        }
    }

    fn rest(&mut self, delay: Duration) {
        self.status().restarted();
        self.status().set_state(NodeState::BackingOff);
        self.resting = Some(Box::pin(sleep(delay)));
    }

    /// Ends it for good. The state is told first, so that whoever still waits learns the right reason.
    fn finish(&mut self, state: NodeState, failure: Option<Arc<str>>) {
        self.status().set_state(state);
        let life = self.life.take();
        self.resting = None;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
            self.status().failed(format!("panicked while stopping: {}", panic_text(&*payload)).into());
        }
        end(&self.node, state, failure);
    }
}

impl<B: Behaviour> Future for Supervised<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut std::task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.status().listen(task.waker());
        loop {
            if this.obey() {
                return Poll::Ready(());
            }
            if let Some(resting) = &mut this.resting {
                std::task::ready!(resting.as_mut().poll(task));
                this.resting = None;
                this.status().started_at_ms.store(super::status::wall_ms(), Ordering::Relaxed);
            }
            let ended = std::task::ready!(this.take_turn(task));
            if this.outlive(ended) {
                return Poll::Ready(());
            }
        }
    }
}

impl<B: Behaviour> Drop for Supervised<B> {
    /// Its thread ended before it did.
    fn drop(&mut self) {
        if self.life.is_some() {
            self.finish(NodeState::Stopped, Some("its thread ended".into()));
        }
    }
}

/// Marks a node as ended, and stops what was started under it.
fn end(node: &Node, state: NodeState, failure: Option<Arc<str>>) {
    node.status.set_state(state);
    if let Some(failure) = failure {
        node.status.failed(failure);
    }
    node.tree.stop_below(&node.status);
    node.status.set_gone();
}
