//! Our vocabulary for writing an actor: a state, short handlers, and a turn in which to arrange what comes later. It
//! never lets a handler await, and never shows an actor file the framework underneath.

use super::actor_ref::{ActorRef, Envelope, Reply};
use super::status::{NodeState, NodeStatus};
use super::supervise::panic_text;
use super::tree::Node;
use crate::messages::{CallContext, Message};
use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// An actor's state, and what it does with its life.
pub trait Behaviour: Sized + Unpin + 'static {
    /// What it is, in the tree and in logs.
    const KIND: &'static str;

    /// Called on each start, also after a restart, before any message.
    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        let _ = turn;
    }

    /// Last words on an orderly stop; never after a crash. What it would spawn would not run any more.
    fn stopping(&mut self) {}
}

/// What an actor does with one type of message.
pub trait Handle<M: Message>: Behaviour {
    /// Handles it: short, and without waiting. Longer work goes to [`Turn::spawn`] or a task, with the reply in it.
    fn handle(&mut self, message: M, context: CallContext, reply: Reply<M>, turn: &mut Turn<'_, Self>);
}

/// What a handler can arrange while it has the state. All of it dies with a restart, unlike queued messages; so does
/// what is started under [`Turn::node`].
pub struct Turn<'a, B: Behaviour> {
    node: &'a Node,
    pending: &'a mut Pending<B>,
    context: &'a mut Context<Live<B>>,
}

/// What follows a future, with the state in hand.
type Continuation<B> = Box<dyn FnOnce(&mut B, &mut Turn<'_, B>)>;
/// Everything an actor waits for. Each wake-up touches only what woke up, where actix's own list polls all of it.
type Pending<B> = FuturesUnordered<LocalBoxFuture<'static, Continuation<B>>>;

/// After this many messages, or continuations, in a row an actor lets the others on its thread go first.
const ROW: u32 = 128;

// === impl Turn ===

impl<B: Behaviour> Turn<'_, B> {
    /// Runs a future beside the actor's messages, then continues with its output and the state of that moment.
    pub fn spawn<F>(&mut self, future: F, then: impl FnOnce(&mut B, F::Output, &mut Turn<'_, B>) + 'static)
    where
        F: Future + 'static,
    {
        self.pending.push(Box::pin(async move {
            let output = future.await;
            let next: Continuation<B> = Box::new(move |state, turn| then(state, output, turn));
            next
        }));
    }

    /// Continues after a while.
    pub fn later(&mut self, delay: Duration, then: impl FnOnce(&mut B, &mut Turn<'_, B>) + 'static) {
        self.spawn(tokio::time::sleep(delay), |state, (), turn| then(state, turn));
    }

    /// Continues again and again, each time that long after the last time ended.
    pub fn every(&mut self, period: Duration, mut each: impl FnMut(&mut B, &mut Turn<'_, B>) + 'static) {
        self.later(period, move |state, turn| {
            each(state, turn);
            turn.every(period, each);
        });
    }

    /// Continues as soon as the others on this thread had their turn: the way to loop without blocking them.
    pub fn defer(&mut self, then: impl FnOnce(&mut B, &mut Turn<'_, B>) + 'static) {
        self.spawn(tokio::task::yield_now(), |state, (), turn| then(state, turn));
    }

    /// The actor's own place in the tree, to start children and tasks under.
    pub fn node(&self) -> &Node {
        self.node
    }

    /// The actor's own address for a type of message.
    pub fn actor_ref<M: Message>(&self) -> ActorRef<M>
    where
        B: Handle<M>,
    {
        ActorRef::new(self.context.address().recipient(), self.node.status.clone())
    }

    /// Ends the actor after this turn. A permanent one starts over.
    pub fn stop(&mut self) {
        self.context.stop();
    }
}

// === The actix actor under every behaviour ===

/// Holds one life's state at a time; none while it waits for its next start.
pub(super) struct Live<B: Behaviour> {
    node: Node,
    create: Box<dyn Fn() -> B>,
    state: Option<B>,
    pending: Pending<B>,
    row: u32,
}

impl<B: Behaviour> Live<B> {
    pub(super) fn new(node: Node, create: Box<dyn Fn() -> B>) -> Self {
        Self { node, create, state: None, pending: Pending::new(), row: 0 }
    }

    fn status(&self) -> &NodeStatus {
        &self.node.status
    }

    /// Does what must not stop the rest: a panic while another unwinds would end the process.
    fn caught(&self, last: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(last)) {
            let reason = panic_text(&*payload);
            tracing::error!(actor.path = %self.node.path(), reason, "the remains of an actor panicked");
        }
    }

    fn with_turn(&mut self, context: &mut Context<Self>, act: impl FnOnce(&mut B, &mut Turn<'_, B>)) {
        if let Some(state) = &mut self.state {
            let mut turn = Turn { node: &self.node, pending: &mut self.pending, context };
            act(state, &mut turn);
        }
    }
}

impl<B: Behaviour> Actor for Live<B> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Dropping a context that waits for its start would start it once more.
        if self.status().state().is_final() {
            return;
        }
        self.status().begin("start");
        self.state = Some((self.create)());
        self.with_turn(context, |state, turn| state.started(turn));
        self.status().set_state(NodeState::Running);
        context.spawn(Continue);
    }

    fn stopping(&mut self, _context: &mut Self::Context) -> actix::Running {
        self.status().begin("stop");
        if let Some(mut state) = self.state.take() {
            self.caught(|| state.stopping());
            self.caught(|| drop(state));
        }
        actix::Running::Stop
    }
}

impl<B: Behaviour> actix::Supervised for Live<B> {
    /// Called right after a crash, before the back-off: drops everything of the old life. The next one is created by
    /// `started`, after the back-off.
    fn restarting(&mut self, _context: &mut Self::Context) {
        let (pending, state) = (std::mem::take(&mut self.pending), self.state.take());
        self.caught(|| drop(state));
        for future in pending {
            self.caught(|| drop(future));
        }
    }
}

impl<M: Message, B: Handle<M>> actix::Handler<Envelope<M>> for Live<B> {
    type Result = ();

    fn handle(&mut self, envelope: Envelope<M>, context: &mut Self::Context) {
        let Envelope { message, context: call, reply } = envelope;
        self.status().handles(M::NAME);
        self.with_turn(context, |state, turn| state.handle(message, call, reply, turn));
        self.row += 1;
        if self.row >= ROW {
            self.row = 0;
            // A mailbox is read until it is empty, so a flood from another thread would never let the turn end.
            context.wait(LetOthers { had_turn: false });
        }
    }
}

/// Drives whatever the actor waits for.
struct Continue;

impl<B: Behaviour> ActorFuture<Live<B>> for Continue {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        live: &mut Live<B>,
        context: &mut Context<Live<B>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        for _ in 0..ROW {
            let Poll::Ready(Some(next)) = live.pending.poll_next_unpin(task) else { return Poll::Pending };
            live.status().begin("continuation");
            live.with_turn(context, next);
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Ends the turn once, to go on in the next.
struct LetOthers {
    had_turn: bool,
}

impl<B: Behaviour> ActorFuture<Live<B>> for LetOthers {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        _live: &mut Live<B>,
        _context: &mut Context<Live<B>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        if self.had_turn {
            return Poll::Ready(());
        }
        self.had_turn = true;
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
