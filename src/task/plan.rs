//! What is to be done: a graph of steps without cycles, of which the pipeline is the simplest, with each step's limits.
//! A plan is fixed when a task is accepted; what happens to it is `state`'s business.

use super::id::{Capability, StepId, StepIndex, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most steps a plan may have.
pub const MAX_STEPS: usize = 1000;

/// How much a step may cost before it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// Failed or timed-out attempts in all (at least 1).
    pub max_attempts: u32,
    /// Panics; the last of them fails the step as poison (at least 1).
    pub max_crashes: u32,
    /// Refusals, drains, restarts, lost leases (at least 1).
    pub max_losses: u32,
    /// Milliseconds one attempt may run.
    pub timeout_ms: u64,
    /// The first pause before another attempt, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_cap_ms: u64,
    /// Milliseconds a mandatory step waits for an agent to exist.
    pub no_agent_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            max_crashes: 3,
            max_losses: 50,
            timeout_ms: 15 * 60_000,
            backoff_ms: 500,
            backoff_cap_ms: 30_000,
            no_agent_timeout_ms: 5 * 60_000,
        }
    }
}

impl Limits {
    /// The pause after the n-th ending of one kind (n from 1): `min(cap, base * 2^(n-1))`, of which the seed picks a
    /// point in the upper half, so that what failed together does not return together.
    pub fn backoff(&self, nth: u32, seed: u64) -> u64 {
        let doublings = nth.saturating_sub(1).min(20);
        let full = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_cap_ms);
        let half = full / 2;
        half + mix(seed) % (full - half + 1)
    }
}

/// Spreads a seed over all bits (the finalizer of SplitMix64, Steele et al. 2014).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One step as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// Its name.
    pub id: StepId,
    /// What an agent must be able to do to take it.
    pub capability: Capability,
    /// The steps whose end it waits for; each stands earlier in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<StepIndex>,
    /// Whether the task can do without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What it may cost.
    pub limits: Limits,
}

/// Why a list of steps is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// No steps.
    #[error("a plan needs at least one step")]
    Empty,
    /// More steps than [`MAX_STEPS`].
    #[error("a plan has at most {MAX_STEPS} steps, not {0}")]
    TooLong(usize),
    /// Two steps with one name.
    #[error("two steps are named {0}")]
    Twice(StepId),
    /// A step needs itself or a later one, which is how a cycle would be written.
    #[error("step {0} may only need steps that stand before it")]
    Forward(StepId),
    /// A limit that lets no attempt run.
    #[error("step {0} must be allowed at least one attempt, crash and loss, and a time-out above zero")]
    NoAttempt(StepId),
}

/// The steps in an order in which each needs only earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<StepSpec>", into = "Vec<StepSpec>")]
pub struct Plan(std::sync::Arc<[StepSpec]>);

impl Plan {
    /// Checks the steps.
    ///
    /// # Errors
    /// [`InvalidPlan`].
    pub fn new(steps: Vec<StepSpec>) -> Result<Self, InvalidPlan> {
        if steps.is_empty() {
            return Err(InvalidPlan::Empty);
        }
        if steps.len() > MAX_STEPS {
            return Err(InvalidPlan::TooLong(steps.len()));
        }
        let mut names = foldhash::HashSet::with_capacity_and_hasher(steps.len(), Default::default());
        for (position, step) in steps.iter().enumerate() {
            if !names.insert(&step.id) {
                return Err(InvalidPlan::Twice(step.id.clone()));
            }
            if step.needs.iter().any(|need| need.position() >= position) {
                return Err(InvalidPlan::Forward(step.id.clone()));
            }
            let limits = &step.limits;
            if [limits.max_attempts, limits.max_crashes, limits.max_losses].contains(&0) || limits.timeout_ms == 0 {
                return Err(InvalidPlan::NoAttempt(step.id.clone()));
            }
        }
        Ok(Self(steps.into()))
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[StepSpec] {
        &self.0
    }

    /// The step at an index that came from this plan.
    pub fn step(&self, index: StepIndex) -> &StepSpec {
        &self.0[index.position()]
    }

    /// The index of the step with this name.
    pub fn find(&self, id: &StepId) -> Option<StepIndex> {
        self.indices().find(|&index| self.step(index).id == *id)
    }

    /// All indices, in order.
    pub fn indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        // `MAX_STEPS` fits u16.
        (0..self.0.len() as u16).map(StepIndex)
    }
}

impl TryFrom<Vec<StepSpec>> for Plan {
    type Error = InvalidPlan;

    fn try_from(steps: Vec<StepSpec>) -> Result<Self, InvalidPlan> {
        Self::new(steps)
    }
}

impl From<Plan> for Vec<StepSpec> {
    fn from(plan: Plan) -> Self {
        plan.0.to_vec()
    }
}

/// One stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it takes.
    pub capability: Capability,
    /// Whether the task can do without it.
    pub optional: bool,
    /// What its step may cost.
    pub limits: Limits,
}

/// A list of stages, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline(pub Vec<Stage>);

impl Pipeline {
    /// The four stages of the predecessor: analyze, retrieve, evaluate, and finalize where an agent for it lives.
    pub fn standard(limits: Limits) -> Self {
        let stage = |name: &'static str, optional| Stage { capability: Capability::trusted(name), optional, limits };
        Self(vec![stage("analyze", false), stage("retrieve", false), stage("evaluate", false), stage("finalize", true)])
    }

    /// What a step for this capability may cost, as in its stage; the default where there is none.
    pub fn limits(&self, capability: &Capability) -> Limits {
        self.0.iter().find(|stage| stage.capability == *capability).map(|stage| stage.limits).unwrap_or_default()
    }

    /// The plan for one task: step n is named `<task_id>-P<n>`, n from 1, as in the predecessor.
    ///
    /// # Errors
    /// [`InvalidPlan`] when the pipeline is empty or too long.
    pub fn plan(&self, task: &TaskId) -> Result<Plan, InvalidPlan> {
        let steps = self.0.iter().enumerate().map(|(position, stage)| StepSpec {
            id: StepId::of_parts(&[task.as_str(), "-P", &(position + 1).to_string()]),
            capability: stage.capability.clone(),
            needs: position.checked_sub(1).map(|before| StepIndex(before as u16)).into_iter().collect(),
            optional: stage.optional,
            limits: stage.limits,
        });
        Plan::new(steps.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_is_a_chain_with_the_predecessors_names() {
        let plan = Pipeline::standard(Limits::default()).plan(&TaskId::trusted("t1")).unwrap();
        let ids: Vec<_> = plan.steps().iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["t1-P1", "t1-P2", "t1-P3", "t1-P4"]);
        assert_eq!(plan.steps()[3].needs, [StepIndex(2)]);
        assert!(plan.steps()[3].optional && !plan.steps()[2].optional);
    }

    #[test]
    fn cycles_cannot_be_written() {
        let mut steps = Vec::from(Pipeline::standard(Limits::default()).plan(&TaskId::trusted("t1")).unwrap());
        steps[1].needs = vec![StepIndex(1)];
        assert!(matches!(Plan::new(steps.clone()), Err(InvalidPlan::Forward(_))));
        let text = serde_json::to_string(&steps).unwrap();
        assert!(serde_json::from_str::<Plan>(&text).is_err());
    }

    #[test]
    fn seeds_are_spread_as_splitmix64_does() {
        // Its first outputs from these states, as its authors' reference gives them.
        assert_eq!([0, 1].map(mix), [0xe220_a839_7b1d_cdaf, 0x910a_2dec_8902_5cc1]);
    }

    #[test]
    fn backoff_doubles_stays_in_the_upper_half_and_is_capped() {
        let limits = Limits { backoff_ms: 100, backoff_cap_ms: 1000, ..Limits::default() };
        for seed in 0..500 {
            assert!((50..=100).contains(&limits.backoff(1, seed)));
            assert!((200..=400).contains(&limits.backoff(3, seed)));
            assert!((500..=1000).contains(&limits.backoff(40, seed)));
        }
    }
}
