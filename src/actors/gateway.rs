//! The gateway: the only way to the models. Runs each call as a child of its own, drops it as soon as nobody wants its
//! answer, and says which calls are under way; it never waits for one in a turn.

use super::patience::within;
use super::{Behaviour, Handle, Reply, TaskEnd, TaskSet, Turn, spawn_task};
use crate::llm::Models;
use crate::messages::{CallAge, CallContext, CallStatus, DropCall, Generate, Generated, ModelError};
use crate::task::CallId;
use foldhash::{HashMap, HashMapExt as _};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a gateway is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct GatewayParts {
    /// The models, and all that a call to one passes. They outlive a life: how their places do is not forgotten with it.
    pub models: Arc<Models>,
}

/// How long a call may run whose caller set no deadline.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// Calls the models.
pub struct Gateway {
    parts: GatewayParts,
    /// Ends with this life: the callers have been told by then.
    calls: TaskSet<CallId>,
    began: HashMap<CallId, Instant>,
}

// === impl Gateway ===

impl Gateway {
    /// A new life, without calls.
    pub fn create(parts: GatewayParts) -> Self {
        Self { parts, calls: TaskSet::new(|_| {}), began: HashMap::new() }
    }
}

impl Behaviour for Gateway {
    const KIND: &'static str = "gateway";
}

impl Handle<Generate> for Gateway {
    fn handle(&mut self, call: Generate, context: CallContext, mut reply: Reply<Generate>, turn: &mut Turn<'_, Self>) {
        let Generate { call: id, completion, provider } = call;
        let models = self.parts.models.clone();
        let until = context.deadline.map_or_else(|| Instant::now() + LONGEST_CALL, Instant::from);
        let child = spawn_task(turn.node(), id.clone(), async move {
            let complete = models.complete(&completion, provider.as_deref(), until);
            match within(until, complete).await {
                Some(answer) => Ok(answer?.into()),
                None => Err(ModelError::Retryable("the model did not answer within the time left".into())),
            }
        });
        self.calls.insert(id.clone(), child.abort_handle());
        self.began.insert(id.clone(), Instant::now());
        let answered = async move {
            // Whoever gives up lets the model go at once.
            let ended = match select(child, pin!(reply.closed())).await {
                Either::Left((outcome, _)) => Some(outcome),
                Either::Right(((), child)) => {
                    child.abort();
                    None
                }
            };
            if let Some(outcome) = ended {
                reply.send(answer(outcome));
            }
        };
        turn.spawn(answered, move |gateway, (), _| {
            gateway.calls.remove(&id);
            gateway.began.remove(&id);
        });
    }
}

impl Handle<CallStatus> for Gateway {
    fn handle(&mut self, message: CallStatus, _: CallContext, reply: Reply<CallStatus>, _: &mut Turn<'_, Self>) {
        // The offline providers answer in one piece, so a call is silent for as long as it is old.
        let age = |began: &Instant| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        reply.send(self.began.get(&message.0).map(age).map(|age_ms| CallAge { age_ms, silent_ms: age_ms }));
    }
}

impl Handle<DropCall> for Gateway {
    fn handle(&mut self, message: DropCall, _: CallContext, reply: Reply<DropCall>, _: &mut Turn<'_, Self>) {
        self.calls.abort(&message.0);
        reply.send(());
    }
}

fn answer(outcome: TaskEnd<Result<Generated, ModelError>>) -> Result<Generated, ModelError> {
    match outcome {
        TaskEnd::Finished(answer) => answer,
        TaskEnd::Panicked(words) => Err(ModelError::Crashed(format!("the provider panicked: {words}").into())),
        TaskEnd::Aborted => Err(ModelError::Retryable("the model call was dropped".into())),
    }
}
