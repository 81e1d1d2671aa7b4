//! How an agent's results reach the master: again and again, with pauses, until they are taken or are not wanted. A
//! result that is never taken is not lost: its lease runs out and the step runs again.

use crate::actors::ActorRef;
use crate::messages::{CallContext, CallError, DropAttempt, MasterError, StepOutcome, StepResult};
use crate::task::{AgentId, Loss};
use std::time::Duration;

/// How long the master may take over one result before it is told again, where there are several to the next.
const RESULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest pause between tries. An agent has as many results as slots, and whoever waits for one waits
/// for as long as the pause goes on after the master or its store is back.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Tries in all: ten minutes and more.
const TRIES: u32 = 400;

/// Delivers a result.
pub(super) async fn deliver(master: ActorRef<StepResult>, result: StepResult) {
    let mut pause = PAUSES.0;
    for _ in 0..TRIES {
        let answer = master.ask(result.clone(), CallContext::default(), RESULT_TIMEOUT).await;
        match answer {
            Ok(Ok(_)) => return,
            Ok(Err(error @ (MasterError::Conflict(_) | MasterError::NotFound(_)))) => {
                tracing::warn!(task = %result.key.id, step = %result.step, %error, "a result was refused");
                return;
            }
            // Its own process is ending; a far master that is not there comes back.
            Err(CallError::Unavailable) if !master.is_connected() => return,
            Err(CallError::Rejected) => {
                tracing::error!(task = %result.key.id, step = %result.step, "the master cannot take a result");
                return;
            }
            Ok(Err(error)) => tracing::warn!(task = %result.key.id, step = %result.step, %error, "a result waits"),
            Err(error) => tracing::warn!(task = %result.key.id, step = %result.step, %error, "a result waits"),
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    tracing::error!(task = %result.key.id, step = %result.step, "a result could not be delivered; its step runs again");
}

/// Says that an attempt ended for no fault of its own; best effort, the lease's end says it too.
pub(super) fn lost(master: &ActorRef<StepResult>, agent: &AgentId, attempt: DropAttempt, loss: Loss) {
    if let Err(error) = master.tell(self::loss(agent, attempt, loss), CallContext::default()) {
        tracing::debug!(%agent, %error, "a loss could not be told");
    }
}

/// The result of an attempt that ended for no fault of its own.
pub(super) fn loss(agent: &AgentId, attempt: DropAttempt, loss: Loss) -> StepResult {
    let DropAttempt { key, step, attempt } = attempt;
    let outcome = StepOutcome::Lost(loss);
    StepResult { key, step, agent: agent.clone(), attempt: Some(attempt), outcome, trace: Vec::new() }
}
