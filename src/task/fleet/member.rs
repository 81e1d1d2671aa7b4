//! One live agent: what it declares, how many of its slots are taken, and its record. From these follows its place among
//! the others.

use super::super::effects::Lease;
use super::super::id::{At, Capability, Incarnation};
use super::record::Record;

/// One live agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it can do, each once.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// How many it is believed to run.
    pub busy: u32,
    /// How its steps went.
    pub record: Record,
}

/// Where a member stands among those for the same capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It takes as many steps as it has free slots, of which there may be none.
    Works { free: u32 },
    /// It rests, and may be tried with one step from then on.
    Rests { until: At },
    /// It rests, and runs the step with which it is tried, or has no free slot for one.
    Tried,
}

impl Member {
    /// An agent of which nothing is known yet.
    pub fn new(incarnation: Incarnation, mut capabilities: Vec<Capability>, slots: u32) -> Self {
        // It may name a capability twice, but has its slots once.
        capabilities.sort();
        capabilities.dedup();
        Self { incarnation, capabilities, slots, busy: 0, record: Record::default() }
    }

    /// Slots that are not taken.
    pub fn free(&self) -> u32 {
        self.slots.saturating_sub(self.busy)
    }

    pub(super) fn declares_as(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.slots == other.slots && self.capabilities == other.capabilities
    }

    pub(super) fn place(&self) -> Place {
        match &self.record.rest {
            None => Place::Works { free: self.free() },
            Some(rest) if rest.probe.is_none() && self.free() > 0 => Place::Rests { until: rest.until },
            Some(_) => Place::Tried,
        }
    }

    /// A step is assigned to it; while it rests, that is the one with which it is tried.
    pub(super) fn take(&mut self, lease: &Lease) {
        self.busy += 1;
        if let Some(rest) = &mut self.record.rest {
            rest.probe.get_or_insert_with(|| (lease.step.clone(), lease.attempt));
        }
    }

    /// A step left it. Answers whether it had any.
    pub(super) fn give(&mut self, lease: &Lease) -> bool {
        if self.busy == 0 {
            return false;
        }
        self.busy -= 1;
        let is_idle = self.busy == 0;
        if let Some(rest) = &mut self.record.rest {
            let is_probe = |(step, attempt): &(_, _)| *step == lease.step && *attempt == lease.attempt;
            rest.probe = rest.probe.take().filter(|probe| !is_idle && !is_probe(probe));
        }
        true
    }
}
