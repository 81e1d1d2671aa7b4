//! What has happened to a task: the facts that its state is folded from, in the order in which they were committed.
//! An event is never changed; a new fact is a new kind, and whoever does not know a kind leaves the task alone.

use super::failure::Failure;
use super::id::{AgentId, At, AttemptNo, Incarnation, Scope, StepIndex};
use super::json::Payload;
use super::plan::Plan;
use super::submission::Options;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The schema of events and states that this program writes, and the newest that it reads.
pub const SCHEMA: u16 = 1;

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in the task, from 1, without gaps.
    pub seq: u64,
    /// When, by the store's clock; never before the event in front of it.
    pub at: At,
    /// What.
    pub kind: EventKind,
}

/// The kinds of facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The task was taken.
    Accepted {
        /// Objective and context.
        request: Payload,
        /// The objective's beginning, for lists.
        summary: Arc<str>,
        /// The client's choices.
        options: Arc<Options>,
        /// What its spending is charged to.
        budget_scopes: Arc<[Scope]>,
        /// When it fails as late.
        deadline_at: At,
    },
    /// Its steps were decided.
    Planned {
        /// The steps.
        plan: Plan,
    },
    /// A step was assigned to an agent.
    StepPlaced {
        /// Which.
        step: StepIndex,
        /// Which attempt.
        attempt: AttemptNo,
        /// To whom.
        agent: AgentId,
        /// To which life of it.
        incarnation: Incarnation,
        /// Why to that one.
        reason: Arc<str>,
        /// When the attempt fails as too slow.
        timeout_at: At,
    },
    /// A step waits for a slot, or for an agent to exist.
    StepQueued {
        /// Which.
        step: StepIndex,
        /// Since when, which is its place in the queue.
        since: At,
        /// No agent for it is alive.
        agent_absent: bool,
        /// When that is looked at again.
        recheck_at: At,
    },
    /// A step pauses before another attempt.
    StepBackedOff {
        /// Which.
        step: StepIndex,
        /// Until when.
        until: At,
    },
    /// An attempt ended without success.
    AttemptEnded {
        /// Which step.
        step: StepIndex,
        /// Which attempt.
        attempt: AttemptNo,
        /// How.
        end: AttemptEnd,
    },
    /// A step's result was counted; there is one such event a step at the most.
    StepSucceeded {
        /// Which.
        step: StepIndex,
        /// Which attempt it came from.
        attempt: AttemptNo,
        /// From whom.
        agent: AgentId,
        /// What came out.
        output: Payload,
    },
    /// A mandatory step failed for good.
    StepFailed {
        /// Which.
        step: StepIndex,
        /// Why.
        failure: Failure,
    },
    /// An optional step was left out.
    StepSkipped {
        /// Which.
        step: StepIndex,
        /// Why.
        reason: Arc<str>,
    },
    /// All steps ended well. The answer is the output of the last succeeded step.
    TaskSucceeded {
        /// That step; none when every step was skipped.
        final_step: Option<StepIndex>,
    },
    /// The task failed; what was open is cancelled.
    TaskFailed {
        /// Why.
        failure: Failure,
    },
    /// The task was cancelled; what was open is cancelled.
    TaskCancelled {
        /// Why.
        reason: Arc<str>,
    },
}

impl EventKind {
    /// The names of all kinds that this program knows.
    pub const NAMES: [&'static str; 12] = [
        "accepted",
        "planned",
        "step_placed",
        "step_queued",
        "step_backed_off",
        "attempt_ended",
        "step_succeeded",
        "step_failed",
        "step_skipped",
        "task_succeeded",
        "task_failed",
        "task_cancelled",
    ];

    /// The kind's name, as in the stored form.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Planned { .. } => "planned",
            Self::StepPlaced { .. } => "step_placed",
            Self::StepQueued { .. } => "step_queued",
            Self::StepBackedOff { .. } => "step_backed_off",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::StepFailed { .. } => "step_failed",
            Self::StepSkipped { .. } => "step_skipped",
            Self::TaskSucceeded { .. } => "task_succeeded",
            Self::TaskFailed { .. } => "task_failed",
            Self::TaskCancelled { .. } => "task_cancelled",
        }
    }
}

/// How an attempt ended other than by success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// It reported a failure that another attempt may mend. Costs an attempt.
    Failed(Failure),
    /// It reported a failure that none will. Ends the step.
    Fatal(Failure),
    /// It ran longer than its step may. Costs an attempt.
    TimedOut,
    /// It panicked. Counts in `max_crashes`.
    Crashed(Failure),
    /// It ended for no fault of its own. Counts in `max_losses`.
    Lost(Loss),
    /// Another attempt's success came first.
    Superseded,
}

/// Why an attempt ended for no fault of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The agent had no free slot after all.
    Refused,
    /// The agent is on its way out.
    Drained,
    /// The agent's actor started over.
    AgentRestarted,
    /// Nobody renewed the lease: the process is gone.
    LeaseExpired,
    /// The agent could not be reached.
    Unreachable,
    /// The gateway that the agent thinks through could not be reached.
    GatewayUnreachable,
    /// It made no progress for too long, outside a model call that the gateway knows of.
    Stalled,
}

impl Loss {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "a refusal",
            Self::Drained => "a drain",
            Self::AgentRestarted => "a restart of the agent",
            Self::LeaseExpired => "a lease that nobody renewed",
            Self::Unreachable => "an agent that could not be reached",
            Self::GatewayUnreachable => "a gateway that could not be reached",
            Self::Stalled => "a lack of progress",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_kinds_are_named() {
        let error = serde_json::from_str::<EventKind>(r#"{"task_dreamt":null}"#).unwrap_err().to_string();
        // It says which it would have known.
        let known: Vec<_> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, EventKind::NAMES);
    }

    #[test]
    fn each_loss_has_words_of_its_own() {
        use Loss::{AgentRestarted, Drained, GatewayUnreachable, LeaseExpired, Refused, Stalled, Unreachable};
        let losses = [Refused, Drained, AgentRestarted, LeaseExpired, Unreachable, GatewayUnreachable, Stalled];
        let words: BTreeSet<_> = losses.into_iter().map(Loss::name).collect();
        assert_eq!(words.len(), losses.len());
        assert!(words.iter().all(|words| words.starts_with("a ") || words.starts_with("an ")));
    }
}
