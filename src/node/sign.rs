//! The way of an agent's words to a master elsewhere, with signs of life beside it: where a worker is given a Redis server,
//! each heartbeat is written there, too, for a master of the predecessor's, which hears nothing else.

use crate::http::RegisterEdge;
use crate::messages::{CallContext, CallError, Deregister, Edge, Heartbeat, Message, Register};
use crate::store::{Beacon, RedisOptions, StoreError};
use crate::task::{AgentId, StepId};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The way to the master, and the server for the signs where there is one.
pub(super) struct SignedEdge {
    edge: RegisterEdge,
    sign: Option<Sign>,
}

/// Signs of life, on a server that may not be there yet.
#[derive(Clone)]
pub(super) struct Sign {
    options: RedisOptions,
    beacon: Arc<OnceCell<Beacon>>,
}

impl Sign {
    /// To a server that is looked for at the first sign, and again at each until it is found.
    pub fn new(options: RedisOptions) -> Self {
        Self { options, beacon: Arc::default() }
    }

    async fn show(self, agent: AgentId, load: f64, active: Vec<StepId>) {
        let shown = async {
            let beacon = self.beacon.get_or_try_init(|| Beacon::connect(&self.options)).await?;
            beacon.beat(&agent, load, &active).await
        };
        if let Err::<(), StoreError>(error) = shown.await {
            tracing::warn!(%agent, %error, "a sign of life could not be written");
        }
    }
}

impl SignedEdge {
    /// The way of this edge, with these signs.
    pub fn new(edge: RegisterEdge, sign: Option<Sign>) -> Self {
        Self { edge, sign }
    }

    /// Sends a message, and shows a sign of its agent meanwhile.
    fn signed<M: Message>(
        &self,
        sent: BoxFuture<'static, Result<M::Reply, CallError>>,
        (agent, load, active): (AgentId, f64, Vec<StepId>),
    ) -> BoxFuture<'static, Result<M::Reply, CallError>> {
        match self.sign.clone() {
            Some(sign) => join(sent, sign.show(agent, load, active)).map(|(answer, ())| answer).boxed(),
            None => sent,
        }
    }
}

impl Edge<Register> for SignedEdge {
    fn call(
        &self,
        message: Register,
        context: CallContext,
    ) -> BoxFuture<'static, Result<<Register as Message>::Reply, CallError>> {
        let sign = (message.0.agent.clone(), 0.0, Vec::new());
        self.signed::<Register>(self.edge.call(message, context), sign)
    }
}

impl Edge<Heartbeat> for SignedEdge {
    fn call(
        &self,
        beat: Heartbeat,
        context: CallContext,
    ) -> BoxFuture<'static, Result<<Heartbeat as Message>::Reply, CallError>> {
        let active = beat.active.iter().map(|active| active.step.clone()).collect();
        let sign = (beat.agent.clone(), beat.load, active);
        self.signed::<Heartbeat>(self.edge.call(beat, context), sign)
    }
}

impl Edge<Deregister> for SignedEdge {
    fn call(
        &self,
        message: Deregister,
        context: CallContext,
    ) -> BoxFuture<'static, Result<<Deregister as Message>::Reply, CallError>> {
        self.edge.call(message, context)
    }
}
