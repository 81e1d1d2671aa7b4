//! What a master is asked about a task: the core's input that it means, and the answer to whoever waits for it.

use super::{COMMIT_TRIES, RETRY_AFTER_S};
use crate::actors::Reply;
use crate::messages::{
    Advance, Cancel, Dispatch, Dispatched, Due, MasterError, Receipt, StepOutcome, StepResult, Submit, Submitted,
};
use crate::store::{Committed, StoreError, SubmissionRecord};
use crate::task::{
    AgentId, AttemptEnd, AttemptNo, Capability, Input, InvalidPlan, Json, Outcome, Payload, Pipeline, Plan, Refusal,
    Report, StepId, StepSpec, StepState, Submission, Task, TaskId,
};
use std::sync::Arc;

/// Something asked of a master, with who waits for the answer.
pub(super) enum Ask {
    Submit { submission: Box<Submission>, sender: Sender },
    Concern(Concern),
}

/// Who hands a task in, and waits for word of it.
pub(super) enum Sender {
    /// A client: the task passes the pipeline.
    Client(Reply<Submit>),
    /// Whoever wants one step done at once.
    Dispatch { step: StepId, capability: Capability, scores: Vec<(AgentId, f64)>, reply: Reply<Dispatch> },
}

/// What concerns a task that has been accepted.
pub(super) enum Concern {
    Report { result: StepResult, reply: Option<Reply<StepResult>> },
    Advance { advance: Advance, reply: Reply<Advance> },
    Cancel { cancel: Cancel, reply: Reply<Cancel> },
}

// === impl Ask ===

impl Ask {
    /// How often its commit is tried. What fell due is asked again anyway, and must not pile up behind a failing store.
    pub(super) fn tries(&self) -> u32 {
        if matches!(self, Self::Concern(Concern::Advance { .. })) { 1 } else { COMMIT_TRIES }
    }

    pub(super) fn done(self, task: Arc<Task>) {
        match self {
            Self::Submit { sender, .. } => sender.taken(task, false),
            Self::Concern(concern) => concern.done(task),
        }
    }

    pub(super) fn refuse(self, error: MasterError) {
        match self {
            Self::Submit { sender, .. } => sender.refuse(error),
            Self::Concern(concern) => concern.refuse(error),
        }
    }
}

// === impl Sender ===

impl Sender {
    /// The task's plan.
    pub(super) fn plan(&self, task: &TaskId, pipeline: &Pipeline) -> Result<Plan, InvalidPlan> {
        match self {
            Self::Client(_) => pipeline.plan(task),
            Self::Dispatch { step, capability, .. } => Plan::new(vec![StepSpec {
                id: step.clone(),
                capability: capability.clone(),
                needs: Vec::new(),
                optional: false,
                limits: pipeline.limits(capability),
            }]),
        }
    }

    /// Whether the task may be taken as it was decided: a dispatched step must have found its agent.
    pub(super) fn accepts(&self, task: &Task) -> Result<(), MasterError> {
        let Self::Dispatch { capability, .. } = self else { return Ok(()) };
        match task.steps.first().map(|step| &step.state) {
            Some(StepState::Queued { agent_absent: true, .. }) => Err(MasterError::NoAgent(
                format!("no agent that can {capability} is alive: start one, or choose another command").into(),
            )),
            Some(StepState::Queued { .. }) => Err(MasterError::Overloaded {
                message: format!("all agents that can {capability} are busy: send it again in a moment").into(),
                retry_after_s: RETRY_AFTER_S,
            }),
            _ => Ok(()),
        }
    }

    /// The task is there, since now or from an earlier time.
    pub(super) fn taken(self, task: Arc<Task>, repeated: bool) {
        match self {
            Self::Client(reply) => reply.send(Ok(Submitted { task, repeated })),
            Self::Dispatch { scores, reply, .. } => {
                let attempt = task.steps.first().and_then(|step| step.attempts.last());
                let dispatched = attempt.map(|attempt| Dispatched {
                    agent: attempt.agent.clone(),
                    reason: attempt.reason.clone(),
                    scores,
                });
                reply.send(dispatched.ok_or_else(|| MasterError::NotFound("nobody was ever assigned to it".into())));
            }
        }
    }

    pub(super) fn refuse(self, error: MasterError) {
        match self {
            Self::Client(reply) => reply.send(Err(error)),
            Self::Dispatch { reply, .. } => reply.send(Err(error)),
        }
    }
}

// === impl Concern ===

impl Concern {
    /// The core's input, with what is to be stored apart.
    pub(super) fn input(&self, task: &Task) -> (Input, Vec<(Arc<str>, Json)>) {
        let lost = |step: &StepId, attempt: AttemptNo, loss| {
            let agent =
                task.plan.find(step).and_then(|index| task.step(index).1.attempt(attempt)).map(|a| a.agent.clone());
            Input::Report(Report {
                step: step.clone(),
                // An attempt that never was belongs to nobody, and is refused as such.
                agent: agent.unwrap_or_else(|| AgentId::trusted("nobody")),
                attempt: Some(attempt),
                outcome: Outcome::Ended(AttemptEnd::Lost(loss)),
            })
        };
        match self {
            Self::Report { result, .. } => report(result),
            Self::Cancel { cancel, .. } => (Input::Cancel(cancel.reason.clone()), Vec::new()),
            Self::Advance { advance, .. } => {
                let input = match &advance.due {
                    Due::Claim(step) => Input::Claim(step.clone()),
                    Due::Timer(timer) => Input::TimerFired(*timer),
                    Due::Lost(step, attempt, loss) => lost(step, *attempt, *loss),
                };
                (input, Vec::new())
            }
        }
    }

    fn done(self, task: Arc<Task>) {
        match self {
            Self::Report { reply, .. } => reply.into_iter().for_each(|reply| reply.send(Ok(Receipt::Counted))),
            Self::Advance { reply, .. } => reply.send(Ok(Receipt::Counted)),
            Self::Cancel { reply, .. } => reply.send(Ok(task)),
        }
    }

    /// The core refused: nothing changed.
    pub(super) fn settle(self, refusal: Refusal, task: &Arc<Task>) {
        match (self, refusal) {
            // Cancelled already: the same answer as the first time.
            (Self::Cancel { reply, .. }, Refusal::Stale) => reply.send(Ok(task.clone())),
            (Self::Report { reply, .. }, Refusal::Stale) => {
                reply.into_iter().for_each(|reply| reply.send(Ok(Receipt::Dropped)));
            }
            (Self::Advance { reply, .. }, refusal @ Refusal::NoSlot) => reply.send(Err(MasterError::Overloaded {
                message: refusal.to_string().into(),
                retry_after_s: RETRY_AFTER_S,
            })),
            (Self::Advance { reply, .. }, _) => reply.send(Ok(Receipt::Dropped)),
            (other, refusal @ Refusal::UnknownStep(_)) => {
                other.refuse(MasterError::NotFound(refusal.to_string().into()))
            }
            (other, refusal) => other.refuse(MasterError::Conflict(refusal.to_string().into())),
        }
    }

    pub(super) fn refuse(self, error: MasterError) {
        match self {
            Self::Report { reply, .. } => reply.into_iter().for_each(|reply| reply.send(Err(error.clone()))),
            Self::Advance { reply, .. } => reply.send(Err(error)),
            Self::Cancel { reply, .. } => reply.send(Err(error)),
        }
    }
}

// === Pure parts ===

pub(super) type Prepared = (Plan, Payload, Vec<(Arc<str>, Json)>, SubmissionRecord);

pub(super) fn prepare(
    submission: &Submission,
    plan: Result<Plan, InvalidPlan>,
    max_open: u64,
) -> Result<Prepared, MasterError> {
    let internal = |error: &dyn std::fmt::Display| MasterError::Internal(error.to_string().into());
    let digest = submission.digest().map_err(|error| internal(&error))?;
    let plan = plan.map_err(|error| internal(&error))?;
    let request = Json::of(&submission.request).map_err(|error| internal(&error))?;
    let (request, apart) = Payload::of(request, || "request".into());
    let record = SubmissionRecord {
        digest,
        id_given: submission.id_given,
        idempotency_key: submission.idempotency_key.clone(),
        max_open,
    };
    Ok((plan, request, apart.into_iter().collect(), record))
}

fn report(result: &StepResult) -> (Input, Vec<(Arc<str>, Json)>) {
    let (outcome, apart) = match &result.outcome {
        StepOutcome::Succeeded(output) => {
            // One output a step counts, so its step names it.
            let (output, apart) = Payload::of(output.clone(), || format!("output:{}", result.step));
            (Outcome::Succeeded(output), apart)
        }
        StepOutcome::RetryableFailure(failure) => (Outcome::Ended(AttemptEnd::Failed(failure.clone())), None),
        StepOutcome::FatalFailure(failure) => (Outcome::Ended(AttemptEnd::Fatal(failure.clone())), None),
        StepOutcome::Crashed(failure) => (Outcome::Ended(AttemptEnd::Crashed(failure.clone())), None),
        StepOutcome::Lost(loss) => (Outcome::Ended(AttemptEnd::Lost(*loss)), None),
    };
    let StepResult { step, agent, attempt, .. } = result.clone();
    (Input::Report(Report { step, agent, attempt, outcome }), apart.into_iter().collect())
}

pub(super) fn not_committed(committed: &Committed) -> MasterError {
    match committed {
        Committed::Clash(clash) => MasterError::Conflict(clash.to_string().into()),
        Committed::Full => MasterError::Overloaded {
            message: "as many tasks are open as may be: wait until some have ended".into(),
            retry_after_s: RETRY_AFTER_S,
        },
        _ => MasterError::Overloaded {
            message: "too many changes to this task at once: try again".into(),
            retry_after_s: 1,
        },
    }
}

pub(super) fn store_failed(error: &StoreError) -> MasterError {
    match error {
        StoreError::Unavailable(_) | StoreError::Refused(_) => MasterError::StoreUnavailable(error.to_string().into()),
        StoreError::Busy(_) => {
            MasterError::Overloaded { message: error.to_string().into(), retry_after_s: RETRY_AFTER_S }
        }
        StoreError::Newer(_) | StoreError::Corrupt(_) => MasterError::Internal(error.to_string().into()),
    }
}
