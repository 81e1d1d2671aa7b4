//! What the end of an attempt says of the agent that had it, for or against it. Most ways in which an attempt can be lost
//! say nothing.

use super::super::event::{AttemptEnd, Event, EventKind, Loss};
use super::super::failure::ErrorCode;
use super::super::id::{AgentId, At, AttemptNo, Capability, Incarnation, StepIndex};
use super::super::state::Task;

/// An attempt that ended, as far as it says anything of its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial<'a> {
    /// Who had it.
    pub agent: &'a AgentId,
    /// Which life of it.
    pub incarnation: &'a Incarnation,
    /// What the step needed.
    pub capability: &'a Capability,
    /// When it was placed.
    pub placed_at: At,
    /// When it ended.
    pub ended_at: At,
    /// What it says.
    pub verdict: Verdict,
}

/// What an end says of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did the step.
    Good,
    /// It ran out of time: it is slow, or stuck.
    Late,
    /// It failed, or is not there.
    Bad,
}

impl Verdict {
    /// Nothing, where the agent did no more than say no, or went away in good order, or where somebody else's budget,
    /// wish or result ended it.
    pub(super) fn of(end: &AttemptEnd) -> Option<Self> {
        match end {
            AttemptEnd::Failed(failure) | AttemptEnd::Fatal(failure) if failure.code == ErrorCode::BudgetExceeded => {
                None
            }
            AttemptEnd::TimedOut => Some(Self::Late),
            AttemptEnd::Failed(_) | AttemptEnd::Fatal(_) | AttemptEnd::Crashed(_) => Some(Self::Bad),
            // The gateway may be unreachable for this agent alone.
            AttemptEnd::Lost(Loss::LeaseExpired | Loss::Unreachable | Loss::GatewayUnreachable | Loss::Stalled) => {
                Some(Self::Bad)
            }
            AttemptEnd::Lost(Loss::Refused | Loss::Drained | Loss::AgentRestarted) | AttemptEnd::Superseded => None,
        }
    }
}

impl<'a> Trial<'a> {
    /// What an event of a task says of an agent, if anything.
    pub fn of(task: &'a Task, event: &Event) -> Option<Self> {
        match &event.kind {
            EventKind::StepSucceeded { step, attempt, .. } => Self::new(task, *step, *attempt, event.at, Verdict::Good),
            EventKind::AttemptEnded { step, attempt, end } => {
                Self::new(task, *step, *attempt, event.at, Verdict::of(end)?)
            }
            _ => None,
        }
    }

    fn new(task: &'a Task, step: StepIndex, no: AttemptNo, ended_at: At, verdict: Verdict) -> Option<Self> {
        let (spec, step) = task.step(step);
        let attempt = step.attempt(no)?;
        Some(Self {
            agent: &attempt.agent,
            incarnation: &attempt.incarnation,
            capability: &spec.capability,
            placed_at: attempt.placed_at,
            ended_at,
            verdict,
        })
    }

    /// How long the step took, in milliseconds, or at least: what failed at once does not make an agent quick.
    pub(super) fn took_ms(&self) -> Option<u64> {
        (self.verdict != Verdict::Bad).then(|| self.ended_at.since(self.placed_at))
    }
}
