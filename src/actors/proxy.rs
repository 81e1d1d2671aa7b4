//! An actor that stands for one in another process: whoever sends to it cannot tell. It passes each message over its edge
//! and the answer back, and holds nothing; an edge's errors are those of a local addressee.

use super::{Behaviour, Handle, Reply, Turn};
use crate::messages::{CallContext, Edge, Message};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;

/// Stands for an actor elsewhere.
pub struct Proxy<E> {
    edge: Arc<E>,
}

impl<E> Proxy<E> {
    /// A new life over the same edge.
    pub fn create(edge: Arc<E>) -> Self {
        Self { edge }
    }
}

impl<E: Send + Sync + 'static> Behaviour for Proxy<E> {
    const KIND: &'static str = "proxy";
}

impl<M: Message, E: Edge<M>> Handle<M> for Proxy<E> {
    fn handle(&mut self, message: M, context: CallContext, mut reply: Reply<M>, turn: &mut Turn<'_, Self>) {
        let call = self.edge.call(message, context);
        let passed = async move {
            // Whoever gives up frees the other side, too: dropping the call closes its connection.
            let answer = match select(call, pin!(reply.closed())).await {
                Either::Left((answer, _)) => Some(answer),
                Either::Right(((), _)) => None,
            };
            match answer {
                Some(Ok(answer)) => reply.send(answer),
                Some(Err(error)) => reply.refuse(error),
                None => {}
            }
        };
        turn.spawn(passed, |_, (), _| {});
    }
}
