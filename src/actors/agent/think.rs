//! An agent's port to the models, as seen from its actor: calls the gateway with the step's context, and notes what the
//! step is busy with for the heartbeat.

use super::{AgentActor, Duties};
use crate::actors::ActorRef;
use crate::agents::{Think, Thought};
use crate::messages::{CallContext, CallError, Generate, Generated, ModelError, Phase, Work};
use crate::task::{CallId, Capability, Incarnation, Loss};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What a step is busy with, and since when. Shared by the step's child and the actor that beats for it.
pub(super) struct Progress(Mutex<(Phase, Option<CallId>, Instant)>);

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new((Phase::Thinking, None, Instant::now())))
    }
}

impl Progress {
    fn moved(&self, phase: Phase, call: Option<CallId>) {
        *self.0.lock() = (phase, call, Instant::now());
    }

    pub(super) fn now(&self) -> (Phase, Option<CallId>) {
        let now = self.0.lock();
        (now.0, now.1.clone())
    }

    pub(super) fn age_ms(&self) -> u64 {
        u64::try_from(self.0.lock().2.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The port, for one attempt.
pub(super) struct GatewayThink {
    gateway: ActorRef<Generate>,
    provider: Option<Arc<str>>,
    capability: Capability,
    incarnation: Incarnation,
    context: CallContext,
    until: Instant,
    progress: Arc<Progress>,
}

impl GatewayThink {
    pub(super) fn new(
        actor: &AgentActor,
        duties: &Duties,
        work: &Work,
        context: CallContext,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            gateway: actor.parts.gateway.clone(),
            provider: duties.provider.clone(),
            capability: work.capability.clone(),
            incarnation: actor.incarnation.clone(),
            context,
            until: Instant::now() + Duration::from_millis(work.deadline_ms),
            progress,
        }
    }
}

impl Think for GatewayThink {
    fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        // A life of an agent belongs to one process, so that a number in it names a call for ever.
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        let call = CallId::of_parts(&[self.incarnation.as_str(), ":", &number.to_string()]);
        self.progress.moved(Phase::Model, Some(call.clone()));
        let message = Generate {
            call,
            capability: self.capability.clone(),
            system_prompt: thought.system_prompt,
            user_prompt: thought.user_prompt,
            question: thought.question,
            passages: thought.passages,
            provider: self.provider.clone(),
        };
        // The deadline of the message that brought the work was for accepting it.
        let context = CallContext { deadline: Some(self.until.into()), ..self.context.clone() };
        let asked = self.gateway.ask(message, context, self.until.saturating_duration_since(Instant::now()));
        Box::pin(async move {
            let answer = asked.await;
            self.progress.moved(Phase::Thinking, None);
            match answer {
                Ok(answer) => answer,
                Err(CallError::Overloaded) => Err(ModelError::Lost(Loss::Refused)),
                Err(CallError::Crashed | CallError::Unavailable) => Err(ModelError::Lost(Loss::GatewayUnreachable)),
                Err(CallError::Rejected) => Err(ModelError::Fatal("the gateway cannot take the question".into())),
                Err(CallError::Timeout) => {
                    Err(ModelError::Retryable("the model did not answer within the time left".into()))
                }
            }
        })
    }

    fn progress(&self, phase: Phase) {
        self.progress.moved(phase, None);
    }
}
