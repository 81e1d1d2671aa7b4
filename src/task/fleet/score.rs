//! How well an agent suits a step. A product, so that being bad in one way is not made good by another: a worker that is
//! ten times slower is not chosen because it is idle, and one that fails is not because it is quick.

use super::super::id::{At, Capability};
use super::member::Member;
use super::record::Pace;

/// How many times quicker or slower than usual an agent can seem: one odd step must not count for more.
const MOST_TIMES: f64 = 100.0;
/// What it costs to have had this very step before, and not to have done it.
const HAD_IT: f64 = 0.5;

/// What a score is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Free slots.
    pub(super) free: u32,
    /// All slots.
    pub(super) slots: u32,
    /// How long its steps take, in milliseconds.
    pub(super) expected_ms: Option<f64>,
    /// How many times quicker than usual that is.
    pub(super) speed: f64,
    /// The share of its steps that ended badly of late.
    pub(super) failing: f64,
    /// It had this step before.
    pub(super) had_it: bool,
}

impl Score {
    /// `usual` is how long steps of this capability take over all agents.
    pub(super) fn of(member: &Member, free: u32, capability: &Capability, usual: Pace, now: At, had_it: bool) -> Self {
        let expected_ms = member.record.expected_ms(capability);
        // A step of no milliseconds took less than one, and whoever is not known is as good as the others.
        let speed = usual.ms().zip(expected_ms).map_or(1.0, |(usual, own)| usual.max(1.0) / own.max(1.0));
        Self {
            free,
            slots: member.slots,
            expected_ms,
            speed: speed.clamp(1.0 / MOST_TIMES, MOST_TIMES),
            failing: member.record.failing(now),
            had_it,
        }
    }

    /// `sqrt(free slots / slots) × usual time / own time × (1 − failing)²`, less a half for having had this step. Higher
    /// is better; 1 is an idle agent that is as quick as usual and does not fail.
    pub(super) fn value(&self) -> f64 {
        let share = f64::from(self.free) / f64::from(self.slots.max(1));
        let sound = 1.0 - self.failing;
        // A slot is hardly slower beside busy ones, so that load weighs less than pace; and a failure costs the step
        // another whole try, elsewhere and later, so that it weighs more.
        share.sqrt() * self.speed * sound * sound - if self.had_it { HAD_IT } else { 0.0 }
    }
}
