//! Where a task stands: the fold of its events, as stored with every commit. It is only read here; `apply` is the one
//! place that changes it.

use super::event::{AttemptEnd, SCHEMA};
use super::failure::Failure;
use super::id::{AgentId, At, AttemptNo, Incarnation, Scope, StepIndex, TaskKey};
use super::json::Payload;
use super::plan::{Plan, StepSpec};
use super::submission::Options;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A task's folded state. Its version is the number of its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The schema it was written in.
    pub schema: u16,
    /// Its key.
    pub key: TaskKey,
    /// The number of its last event: also the version that the next commit must expect.
    pub version: u64,
    /// Objective and context, as a [`super::Request`].
    pub request: Payload,
    /// The objective's beginning, for lists.
    pub summary: Arc<str>,
    /// The client's choices.
    pub options: Arc<Options>,
    /// What its spending is charged to.
    pub budget_scopes: Arc<[Scope]>,
    /// When it was taken.
    pub accepted_at: At,
    /// When it fails as late.
    pub deadline_at: At,
    /// When it last changed.
    pub updated_at: At,
    /// What is to be done.
    pub plan: Plan,
    /// How each step of the plan stands, in plan order.
    pub steps: Vec<Step>,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// How and when a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: At,
    /// How.
    pub outcome: TaskOutcome,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskOutcome {
    /// Every step succeeded or was skipped; the answer is that step's output.
    Succeeded(Option<StepIndex>),
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled(Arc<str>),
}

/// A task's status in the wire contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Taken; no attempt runs and none has.
    Queued,
    /// Under way.
    Running,
    /// A step that must run has no agent, and nothing else runs.
    WaitingForAgent,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::WaitingForAgent, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingForAgent => "waiting_for_agent",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens.
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| UnknownStatus(text.into()))
    }
}

/// A status that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status {0:?}: use queued, running, waiting_for_agent, succeeded, failed or cancelled")]
pub struct UnknownStatus(pub String);

/// One step: where it is, and what it has cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Step {
    /// Where it is.
    pub state: StepState,
    /// Grows with each change of `state`; names its timer, so that an old timer finds nothing.
    pub epoch: u32,
    /// Every attempt ever assigned, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Failures and time-outs so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Panics so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crashes: u32,
    /// Losses so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It waits for the steps it needs.
    #[default]
    Pending,
    /// It waits for a slot or an agent.
    Queued {
        /// Since when.
        since: At,
        /// No agent for it is alive.
        agent_absent: bool,
        /// When that is looked at again.
        recheck_at: At,
    },
    /// It pauses before another attempt.
    BackingOff {
        /// Until when.
        until: At,
    },
    /// Its newest attempt is assigned.
    Running {
        /// When that fails as too slow.
        timeout_at: At,
    },
    /// Done.
    Succeeded {
        /// When.
        at: At,
        /// By which attempt.
        attempt: AttemptNo,
        /// What came out.
        output: Payload,
    },
    /// Failed for good.
    Failed {
        /// When.
        at: At,
        /// Why.
        failure: Failure,
    },
    /// Left out.
    Skipped {
        /// When.
        at: At,
        /// Why.
        reason: Arc<str>,
    },
    /// Its task ended first.
    Cancelled {
        /// When.
        at: At,
    },
}

impl StepState {
    /// Whether nothing more happens to the step.
    pub fn ended(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. } | Self::Cancelled { .. })
    }

    /// Whether the steps that need it may go on.
    pub fn lets_others_go(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Skipped { .. })
    }

    /// Its name, for people and for lists.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued { .. } => "queued",
            Self::BackingOff { .. } => "backing_off",
            Self::Running { .. } => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// One assignment of a step to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// To whom.
    pub agent: AgentId,
    /// To which life of it.
    pub incarnation: Incarnation,
    /// When.
    pub placed_at: At,
    /// Why to that one.
    pub reason: Arc<str>,
    /// How it ended; none while it is assigned, and none for the one whose success counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<(At, AttemptEnd)>,
}

impl Step {
    /// The attempt with this number.
    pub fn attempt(&self, no: AttemptNo) -> Option<&Attempt> {
        self.attempts.get((no.0 as usize).checked_sub(1)?)
    }

    /// The running attempt.
    pub fn current(&self) -> Option<(AttemptNo, &Attempt)> {
        let attempt = matches!(self.state, StepState::Running { .. }).then(|| self.attempts.last())??;
        Some((self.last_no(), attempt))
    }

    /// The newest attempt assigned to an agent.
    pub fn newest_of(&self, agent: &AgentId) -> Option<AttemptNo> {
        let position = self.attempts.iter().rposition(|attempt| attempt.agent == *agent)?;
        Some(AttemptNo(position as u32 + 1))
    }

    /// The number of the newest attempt; 0 when there is none.
    pub fn last_no(&self) -> AttemptNo {
        AttemptNo(self.attempts.len() as u32)
    }
}

impl Task {
    /// The status in the wire contract's words.
    pub fn status(&self) -> Status {
        if let Some(end) = &self.end {
            return match end.outcome {
                TaskOutcome::Succeeded(_) => Status::Succeeded,
                TaskOutcome::Failed(_) => Status::Failed,
                TaskOutcome::Cancelled(_) => Status::Cancelled,
            };
        }
        if self.steps.iter().any(|step| matches!(step.state, StepState::Running { .. })) {
            return Status::Running;
        }
        if self.steps.iter().any(|step| matches!(step.state, StepState::Queued { agent_absent: true, .. })) {
            return Status::WaitingForAgent;
        }
        if self.steps.iter().any(|step| !step.attempts.is_empty()) { Status::Running } else { Status::Queued }
    }

    /// A step as planned and as it stands.
    pub fn step(&self, index: StepIndex) -> (&StepSpec, &Step) {
        (self.plan.step(index), &self.steps[index.position()])
    }

    /// The outputs of the succeeded steps, in plan order.
    pub fn outputs(&self) -> impl Iterator<Item = (StepIndex, &Payload)> {
        self.plan.indices().zip(&self.steps).filter_map(|(index, step)| match &step.state {
            StepState::Succeeded { output, .. } => Some((index, output)),
            _ => None,
        })
    }

    /// Whether this program may touch it.
    pub fn readable(&self) -> bool {
        self.schema <= SCHEMA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_its_name_and_only_the_last_three_are_ends() {
        for status in Status::ALL {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
        assert_eq!("lost".parse::<Status>(), Err(UnknownStatus("lost".into())));
        assert_eq!(Status::ALL.map(Status::ended), [false, false, false, true, true, true]);
    }

    #[test]
    fn a_step_that_cost_nothing_is_stored_without_counts() {
        let stored = |step: &Step| serde_json::to_string(step).unwrap();
        assert_eq!(stored(&Step::default()), r#"{"state":"pending","epoch":0}"#);
        let costly = Step { failures: 1, crashes: 2, losses: 3, ..Step::default() };
        assert_eq!(stored(&costly), r#"{"state":"pending","epoch":0,"failures":1,"crashes":2,"losses":3}"#);
    }
}
