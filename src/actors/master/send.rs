//! What a master sends after a commit: work to agents, and word that an attempt no longer counts. An answer that does
//! not come is no verdict: the lease decides.

use super::{Ask, Concern, Master};
use crate::actors::Turn;
use crate::actors::patience::patiently;
use crate::messages::{
    CallContext, CallError, DropAttempt, Earlier, StepOutcome, StepResult, Unreachable, Work, WorkReply,
};
use crate::store::{Store, StoreError};
use crate::task::{self, ErrorCode, Failure, Json, Lease, Loss, Payload, Request, Task, TaskKey};
use std::sync::Arc;
use std::time::Duration;

/// How long an agent may take to say whether it accepts; as long as an unaccepted lease runs.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(crate::task::UNACCEPTED_LEASE_MS);
/// How often accepted leases are renewed, in one batch. Well below [`ACCEPT_TIMEOUT`].
const RENEW_EVERY: Duration = Duration::from_millis(250);

impl Master {
    /// Sends an assignment that has just been committed.
    pub(super) fn send_work(
        &mut self,
        task: &Arc<Task>,
        request: Option<Arc<Request>>,
        lease: Lease,
        turn: &mut Turn<'_, Self>,
    ) {
        let key = task.key.clone();
        let Some(lines) = self.parts.directory.find(&lease.agent) else {
            return self.lost(key, lease, Loss::Unreachable, turn);
        };
        let context = CallContext {
            task: Some(key.clone()),
            step: Some(lease.step.clone()),
            attempt: Some(lease.attempt),
            deadline: None,
            priority: task.options.priority,
            budget_scopes: task.budget_scopes.clone(),
            trace: None,
        };
        let (store, task, wanted) = (self.parts.store.clone(), task.clone(), lease.clone());
        let sent = async move {
            let work = assemble(&*store, &task, request, &wanted).await?;
            Ok(lines.work.ask(work, context, ACCEPT_TIMEOUT).await)
        };
        turn.spawn(sent, move |master, answer: Result<_, StoreError>, turn| match answer {
            Ok(Ok(WorkReply::Accepted)) => match master.still_runs(&key, &lease) {
                Some(true) => {
                    master.accepted.insert((key, lease));
                }
                // It ended while the work was on its way, and the word of it may have come first.
                Some(false) => master.send_drop(&key, &lease),
                None => {}
            },
            Ok(Ok(WorkReply::Overloaded) | Err(CallError::Overloaded)) => master.lost(key, lease, Loss::Refused, turn),
            Ok(Ok(WorkReply::Draining)) => master.lost(key, lease, Loss::Drained, turn),
            Ok(Ok(WorkReply::Restarted)) => master.lost(key, lease, Loss::AgentRestarted, turn),
            Ok(Err(CallError::Unavailable)) => {
                master.not_reached(&lease);
                master.lost(key, lease, Loss::Unreachable, turn);
            }
            Ok(Err(CallError::Crashed)) => master.lost(key, lease, Loss::Unreachable, turn),
            Ok(Err(CallError::Rejected)) => {
                let message = "the agent cannot take this work: it is too large for it, or not of a form that it knows";
                let failure = Failure::new(ErrorCode::DispatchFailed, message);
                master.ended(key, lease, StepOutcome::FatalFailure(failure), turn);
            }
            // It may have been accepted: the agent's heartbeat or the lease's end will tell.
            Ok(Err(CallError::Timeout)) => {}
            Err(error) => {
                tracing::warn!(task = %key.id, step = %lease.step, %error, "work could not be put together");
            }
        });
    }

    /// Whether an attempt still counts: one whose result came before its acceptance does not. Of a task that the cache
    /// does not hold, because it has ended or was displaced, the agent's heartbeat tells.
    fn still_runs(&self, key: &TaskKey, lease: &Lease) -> Option<bool> {
        let task = &self.cache.peek(key)?.task;
        let step = task.plan.find(&lease.step).map(|index| task.step(index).1);
        Some(step.and_then(|step| step.current()).is_some_and(|(attempt, _)| attempt == lease.attempt))
    }

    /// Nobody listens where an agent was reached: the registry gives it no more work until it is heard.
    fn not_reached(&self, lease: &Lease) {
        if let Some(registry) = self.parts.registry.get() {
            let message = Unreachable { agent: lease.agent.clone(), incarnation: lease.incarnation.clone() };
            // A full lane is no loss: the next work that does not arrive says it again.
            let _ = registry.tell(message, CallContext::default());
        }
    }

    fn lost(&mut self, key: TaskKey, lease: Lease, loss: Loss, turn: &mut Turn<'_, Self>) {
        self.ended(key, lease, StepOutcome::Lost(loss), turn);
    }

    fn ended(&mut self, key: TaskKey, lease: Lease, outcome: StepOutcome, turn: &mut Turn<'_, Self>) {
        let result = StepResult {
            key: key.clone(),
            step: lease.step,
            agent: lease.agent,
            attempt: Some(lease.attempt),
            outcome,
            trace: Vec::new(),
        };
        self.take(key, Ask::Concern(Concern::Report { result, reply: None }), turn);
    }

    /// Tells an attempt's holder that it no longer counts; best effort, the heartbeat's answer says it again.
    pub(super) fn send_drop(&self, key: &TaskKey, lease: &Lease) {
        let Some(lines) = self.parts.directory.find(&lease.agent) else { return };
        let message = DropAttempt { key: key.clone(), step: lease.step.clone(), attempt: lease.attempt };
        if let Err(error) = lines.drop_attempt.tell(message, CallContext::default()) {
            tracing::debug!(task = %key.id, step = %lease.step, %error, "an attempt could not be dropped");
        }
    }

    /// Renews accepted leases in batches, for as long as this life lasts.
    pub(super) fn keep_renewing(&mut self, turn: &mut Turn<'_, Self>) {
        turn.every(RENEW_EVERY, |master, turn| {
            if master.accepted.is_empty() {
                return;
            }
            let leases: Vec<_> = master.accepted.drain().collect();
            let store = master.parts.store.clone();
            let lease_ms = task::accepted_lease_ms(master.parts.options.heartbeat_ttl_ms);
            let renewed = async move { (patiently(store.renew(leases.clone(), lease_ms)).await, leases) };
            turn.spawn(renewed, |master, (renewed, leases), _| {
                if let Err(error) = renewed {
                    tracing::warn!(%error, "leases could not be renewed, and will be tried again");
                    // What has ended meanwhile is answered as gone, and that is all.
                    master.accepted.extend(leases);
                }
            });
        });
    }
}

/// Puts an agent's work together from the task's state and its payloads.
async fn assemble(
    store: &dyn Store,
    task: &Task,
    request: Option<Arc<Request>>,
    lease: &Lease,
) -> Result<Work, StoreError> {
    let unreadable = |error: serde_json::Error| StoreError::Corrupt(error.to_string().into());
    let request = match request {
        Some(known) => Request::clone(&known),
        None => fetch(store, &task.key, &task.request).await?.parse().map_err(unreadable)?,
    };
    let mut earlier = Vec::with_capacity(task.outputs().count());
    for (index, output) in task.outputs() {
        let spec = task.plan.step(index);
        let output = fetch(store, &task.key, output).await?;
        earlier.push(Earlier { step: spec.id.clone(), capability: spec.capability.clone(), output });
    }
    let index =
        task.plan.find(&lease.step).ok_or_else(|| StoreError::Corrupt("an assigned step is not planned".into()))?;
    let (spec, step) = task.step(index);
    let timeout_at = match step.state {
        crate::task::StepState::Running { timeout_at } => timeout_at.min(task.deadline_at),
        _ => task.deadline_at,
    };
    Ok(Work {
        key: task.key.clone(),
        step: lease.step.clone(),
        attempt: lease.attempt,
        agent: lease.agent.clone(),
        incarnation: Some(lease.incarnation.clone()),
        deadline_ms: timeout_at.since(store.now()),
        capability: spec.capability.clone(),
        objective: request.objective,
        context: request.context,
        earlier,
    })
}

async fn fetch(store: &dyn Store, key: &TaskKey, payload: &Payload) -> Result<Json, StoreError> {
    match payload {
        Payload::Inline(json) => Ok(json.clone()),
        Payload::Stored { name, .. } => {
            let found = patiently(store.payload(key, name)).await?;
            found.ok_or_else(|| StoreError::Corrupt(format!("payload {name} of {key} is missing").into()))
        }
    }
}
