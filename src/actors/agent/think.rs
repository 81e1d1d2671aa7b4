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
            until: Instant::now() + Duration::from_millis(work.deadline_ms - for_the_result(work.deadline_ms)),
            progress,
        }
    }
}

/// What of a step's time is left for the word that the model used up the rest, in milliseconds: it says more than that the
/// step ran out of time.
fn for_the_result(deadline_ms: u64) -> u64 {
    (deadline_ms / 20).min(500)
}

/// How long a gateway may be away before the attempt is given back: as long as one takes to be started again.
const AWAY: Duration = Duration::from_secs(10);
/// The pause before the first question to one that was away; each is twice the one before, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Think for GatewayThink {
    fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
        Box::pin(self.persist(thought))
    }

    fn progress(&self, phase: Phase) {
        self.progress.moved(phase, None);
    }
}

impl GatewayThink {
    /// Asks until there is an answer. Another agent has the same gateway, so that an attempt is not lost because it is
    /// restarted; but a gateway that ends during this call twice may do so because of it.
    async fn persist(&self, thought: Thought) -> Result<Generated, ModelError> {
        let (mut away_since, mut ended_before, mut pause) = (None, false, FIRST_PAUSE);
        loop {
            let answer = self.ask(&thought).await;
            self.progress.moved(Phase::Thinking, None);
            match answer {
                Ok(Err(ModelError::Lost(Loss::GatewayUnreachable))) | Err(CallError::Crashed) if !ended_before => {
                    ended_before = true;
                    away_since = None;
                }
                Err(CallError::Unavailable) => {}
                Ok(answer) => return answer,
                Err(CallError::Crashed) => return Err(ModelError::Lost(Loss::GatewayUnreachable)),
                Err(CallError::Overloaded) => return Err(ModelError::Lost(Loss::Refused)),
                Err(CallError::Rejected) => {
                    return Err(ModelError::Fatal("the gateway cannot take the question".into()));
                }
                Err(CallError::Timeout) => {
                    return Err(ModelError::Retryable("the model did not answer within the time left".into()));
                }
            }
            if away_since.get_or_insert_with(Instant::now).elapsed() >= AWAY {
                return Err(ModelError::Lost(Loss::GatewayUnreachable));
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Asks once.
    async fn ask(&self, thought: &Thought) -> Result<Result<Generated, ModelError>, CallError> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        // A life of an agent belongs to one process, so that a number in it names a call for ever.
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        let call = CallId::of_parts(&[self.incarnation.as_str(), ":", &number.to_string()]);
        self.progress.moved(Phase::Model, Some(call.clone()));
        let message = Generate {
            call,
            completion: thought.clone().completion(self.capability.clone()),
            provider: self.provider.clone(),
        };
        // The deadline of the message that brought the work was for accepting it.
        let context = CallContext { deadline: Some(self.until.into()), ..self.context.clone() };
        self.gateway.ask(message, context, self.until.saturating_duration_since(Instant::now())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::{Behaviour, Handle, Reply, Restarts, Spec, Tree, Turn, supervise};

    struct Nobody;

    impl Behaviour for Nobody {
        const KIND: &'static str = "nobody";
    }

    impl Handle<Generate> for Nobody {
        fn handle(&mut self, _: Generate, _: CallContext, _: Reply<Generate>, _: &mut Turn<'_, Self>) {}
    }

    fn asking(gateway: ActorRef<Generate>) -> GatewayThink {
        GatewayThink {
            gateway,
            provider: None,
            capability: Capability::trusted("analyze"),
            incarnation: Incarnation::trusted("life-1"),
            context: CallContext::default(),
            until: Instant::now() + Duration::from_secs(600),
            progress: Arc::default(),
        }
    }

    #[actix::test]
    async fn a_gateway_that_is_away_is_waited_for_but_not_for_ever() {
        tokio::time::pause();
        let (tree, _root) = Tree::new(Restarts::NONE);
        let gateway = supervise(&tree.root(), Spec::new("gateway", || Nobody)).actor_ref();
        tree.root().stopped().await;
        let began = Instant::now();
        let nothing = || Arc::from("");
        let thought =
            Thought { system_prompt: nothing(), user_prompt: nothing(), question: nothing(), passages: Vec::new() };
        let answer = asking(gateway).think(thought).await;
        assert_eq!(answer, Err(ModelError::Lost(Loss::GatewayUnreachable)));
        let waited = began.elapsed();
        assert!(waited >= AWAY && waited < AWAY + 2 * LONGEST_PAUSE, "{waited:?}");
    }
}
