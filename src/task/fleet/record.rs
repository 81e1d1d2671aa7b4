//! How an agent's steps went in this life of it: how long they take, how many failed of late, and whether it rests. Old
//! knowledge fades, with each new step or with time.

use super::super::id::{At, AttemptNo, Capability, StepId};
use super::trial::{Trial, Verdict};

/// How much of an average one more step makes.
const NEWEST: f64 = 0.2;
/// After how long without a step half of the failures are forgotten, in milliseconds.
const HALF_FORGOTTEN_MS: f64 = 60_000.0;
/// After how many bad ends in a row an agent rests.
const BAD_IN_A_ROW: u32 = 3;
/// The first rest of a row, in milliseconds; each next one is twice as long.
const FIRST_REST_MS: u64 = 1_000;
/// The longest rest, in milliseconds.
const LONGEST_REST_MS: u64 = 60_000;

/// How an agent's steps went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// How long its steps of each capability take.
    paces: Vec<(Capability, Pace)>,
    /// The share of its steps that ended badly, newer ones weighing more, as of `judged_at`.
    failing: f64,
    judged_at: At,
    bad_in_a_row: u32,
    /// It gets no steps but one at a time, to find out whether it does them again.
    pub rest: Option<Rest>,
}

/// An agent's rest, after too many bad ends in a row. A success ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// When it began, anew with each failed try.
    began: At,
    /// When the next step may go to it.
    pub until: At,
    /// The step with which it is being tried.
    pub probe: Option<(StepId, AttemptNo)>,
}

/// How long steps take, as an average in which newer ones weigh more; nothing until the first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pace(Option<f64>);

impl Pace {
    pub(super) fn add(&mut self, took_ms: u64) {
        let took_ms = took_ms as f64;
        self.0 = Some(self.0.map_or(took_ms, |known| known + NEWEST * (took_ms - known)));
    }

    pub(super) fn ms(self) -> Option<f64> {
        self.0
    }
}

impl Rest {
    fn begin(began: At, ms: u64) -> Self {
        Self { began, until: began.plus(ms.clamp(FIRST_REST_MS, LONGEST_REST_MS)), probe: None }
    }

    /// The next one, after a step that failed; one that was placed before this rest says nothing new.
    fn again(&self, trial: &Trial<'_>) -> Self {
        if trial.placed_at < self.began {
            return self.clone();
        }
        Self::begin(trial.ended_at, 2 * self.until.since(self.began))
    }
}

impl Record {
    /// How long its steps of a capability take, in milliseconds, once that is known.
    pub(super) fn expected_ms(&self, capability: &Capability) -> Option<f64> {
        self.paces.iter().find(|(known, _)| known == capability)?.1.ms()
    }

    /// The share of its steps, from 0 to 1, that ended badly of late.
    pub(super) fn failing(&self, now: At) -> f64 {
        if self.failing == 0.0 {
            return 0.0;
        }
        self.failing * (-(now.since(self.judged_at) as f64) / HALF_FORGOTTEN_MS).exp2()
    }

    /// One more step has ended.
    pub(super) fn add(&mut self, trial: &Trial<'_>) {
        if let Some(took_ms) = trial.took_ms() {
            self.pace(trial.capability).add(took_ms);
        }
        let before = self.failing(trial.ended_at);
        let is_bad = trial.verdict != Verdict::Good;
        self.failing = before + NEWEST * (f64::from(u8::from(is_bad)) - before);
        self.judged_at = self.judged_at.max(trial.ended_at);
        if !is_bad {
            (self.bad_in_a_row, self.rest) = (0, None);
            return;
        }
        self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
        self.rest = match &self.rest {
            Some(rest) => Some(rest.again(trial)),
            None if self.bad_in_a_row < BAD_IN_A_ROW => None,
            None => Some(Rest::begin(trial.ended_at, FIRST_REST_MS)),
        };
    }

    /// What is left of it when its agent goes: what that was tried with goes along.
    pub(super) fn left(mut self) -> Self {
        if let Some(rest) = &mut self.rest {
            rest.probe = None;
        }
        self
    }

    fn pace(&mut self, capability: &Capability) -> &mut Pace {
        let known = self.paces.iter().position(|(known, _)| known == capability);
        let position = known.unwrap_or_else(|| {
            self.paces.push((capability.clone(), Pace::default()));
            self.paces.len() - 1
        });
        &mut self.paces[position].1
    }
}
