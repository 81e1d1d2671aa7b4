//! The only way to send: a message goes in with its context, a bound on how many are under way, and a limit on how long
//! to wait. Every way to get no answer becomes one of four [`CallError`]s here, and nothing is ever sent twice.

use super::status::{NodeState, NodeStatus, Permit};
use crate::messages::{CallContext, CallError, Message};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A message on its way: what an actor's mailbox holds.
pub(super) struct Envelope<M: Message> {
    pub(super) message: M,
    pub(super) context: CallContext,
    pub(super) reply: Reply<M>,
}

impl<M: Message> actix::Message for Envelope<M> {
    type Result = ();
}

/// The handler's duty to answer, and the sender's place in the lane: it is free again once this is sent or dropped, not
/// when the sender gives up. Dropped unsent it tells the sender that the actor crashed.
pub struct Reply<M: Message> {
    /// None when nobody waits.
    sender: Option<oneshot::Sender<Result<M::Reply, CallError>>>,
    permit: Permit,
}

/// Where to send messages of one type. Cheap to clone; all clones share the addressee's bounds.
pub struct ActorRef<M: Message> {
    target: Arc<Target<M>>,
}

struct Target<M: Message> {
    recipient: actix::Recipient<Envelope<M>>,
    node: Arc<NodeStatus>,
}

/// What comes back, over its own channel.
type Answer<M> = oneshot::Receiver<Result<<M as Message>::Reply, CallError>>;

/// Lets the others on this thread have one turn. Most local answers are there after it, without the price of a timer.
async fn answer_in_next_turn<T>(answer: &mut oneshot::Receiver<Result<T, CallError>>) -> Option<Result<T, CallError>> {
    let mut had_turn = false;
    poll_fn(|task| match Pin::new(&mut *answer).poll(task) {
        Poll::Ready(answer) => Poll::Ready(Some(answer.unwrap_or(Err(CallError::Unavailable)))),
        Poll::Pending if had_turn => Poll::Ready(None),
        Poll::Pending => {
            had_turn = true;
            task.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

// === impl ActorRef ===

impl<M: Message> ActorRef<M> {
    pub(super) fn new(recipient: actix::Recipient<Envelope<M>>, node: Arc<NodeStatus>) -> Self {
        Self { target: Arc::new(Target { recipient, node }) }
    }

    /// Sends at once, and gives the answer's future. It waits until `timeout` or the context's deadline, whichever is
    /// sooner; dropping it takes nothing back: what was sent will be handled.
    pub fn ask(
        &self,
        message: M,
        mut context: CallContext,
        timeout: Duration,
    ) -> impl Future<Output = Result<M::Reply, CallError>> + Send + use<M> {
        let now = Instant::now();
        let until = context.deadline.map_or(now + timeout, |deadline| (now + timeout).min(deadline.into()));
        context.deadline = Some(until.into());
        let receiver = if until <= now { Err(CallError::Timeout) } else { self.ask_now(message, context) };
        async move {
            let mut receiver = receiver?;
            if let Some(answer) = answer_in_next_turn(&mut receiver).await {
                return answer;
            }
            match tokio::time::timeout_at(until, receiver).await {
                Ok(Ok(answer)) => answer,
                // A dropped reply answers too; only one that was leaked whole comes here.
                Ok(Err(_)) => Err(CallError::Unavailable),
                Err(_) => Err(CallError::Timeout),
            }
        }
    }

    fn ask_now(&self, message: M, context: CallContext) -> Result<Answer<M>, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.send(message, context, Some(sender))?;
        Ok(receiver)
    }

    /// Sends without waiting for the answer; it still takes its place in the lane until it is handled.
    pub fn tell(&self, message: M, context: CallContext) -> Result<(), CallError> {
        self.send(message, context, None)
    }

    fn send(
        &self,
        message: M,
        context: CallContext,
        sender: Option<oneshot::Sender<Result<M::Reply, CallError>>>,
    ) -> Result<(), CallError> {
        let Target { recipient, node } = &*self.target;
        if node.state().is_final() {
            return Err(CallError::Unavailable);
        }
        let permit = Permit::take(node, M::LANE).ok_or(CallError::Overloaded)?;
        // A mailbox that closed this very moment drops the envelope, and the reply in it says `Unavailable`.
        #[expect(clippy::disallowed_methods, reason = "the one place that sends; the permit is the bound")]
        recipient.do_send(Envelope { message, context, reply: Reply { sender, permit } });
        Ok(())
    }

    /// The addressee's path in the tree.
    pub fn path(&self) -> &Arc<str> {
        self.target.node.path()
    }

    /// False once the addressee has ended for good. A restart does not count.
    pub fn is_connected(&self) -> bool {
        !self.target.node.state().is_final()
    }
}

impl<M: Message> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self { target: Arc::clone(&self.target) }
    }
}

impl<M: Message> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorRef").field("path", self.path()).field("message", &M::NAME).finish()
    }
}

// === impl Reply ===

impl<M: Message> Reply<M> {
    /// Answers. Whether anybody still waits makes no difference.
    pub fn send(mut self, reply: M::Reply) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(Ok(reply));
        }
    }

    /// Says that there will be no answer, and why.
    pub fn refuse(mut self, why: CallError) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(Err(why));
        }
    }

    /// True when somebody waited and gave up. A message that nobody waited for is never abandoned.
    pub fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Waits until the sender gives up; for ever when nobody waits. For dropping work that has lost its purpose.
    pub async fn closed(&mut self) {
        match &mut self.sender {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }
}

impl<M: Message> Drop for Reply<M> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let why = match self.permit.node.state() {
                NodeState::Stopped | NodeState::Escalated => CallError::Unavailable,
                _ => CallError::Crashed,
            };
            let _ = sender.send(Err(why));
        }
    }
}

impl<M: Message> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("message", &M::NAME).field("abandoned", &self.is_abandoned()).finish()
    }
}
