//! Failures of a store on purpose: which call of which kind meets what. It only plans and counts; the wrapper around the
//! store carries them out, and the SQLite writer those at its statements.

use crate::store::Faults;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The kinds of calls to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Store::commit`](crate::store::Store::commit).
    Commit,
    /// [`Store::load`](crate::store::Store::load).
    Load,
    /// [`Store::renew`](crate::store::Store::renew).
    Renew,
    /// Any other that changes something.
    Write,
    /// Any other that only reads.
    Read,
}

/// What a call can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The store cannot be used just now; nothing happens.
    Fails,
    /// It happens, and the answer gets lost.
    AnswerIsLost,
    /// It happens that much later.
    Slow(Duration),
    /// It never comes back, and nothing happens.
    Hangs,
}

/// What a store that is down does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Commits and other changes fail, as on a full disk. Leases, which are kept in memory, are renewed.
    Writes,
    /// Everything fails, as over a broken connection.
    Everything,
}

/// What goes wrong in a store, in the hands of a test; clones share it. Nothing does by default.
#[derive(Debug, Clone, Default)]
pub struct StoreFaults {
    plan: Arc<Mutex<Plan>>,
    statements: Faults,
}

#[derive(Debug, Default)]
struct Plan {
    planned: Vec<Planned>,
    outage: Option<Outage>,
    struck: u32,
}

#[derive(Debug)]
struct Planned {
    call: Call,
    trouble: Trouble,
    /// Calls to go.
    left: u32,
    /// Begins anew after it has struck.
    every: Option<u32>,
}

impl StoreFaults {
    /// Lets the n-th call of a kind from now on meet trouble, once; 0 counts as 1.
    pub fn at(&self, call: Call, nth: u32, trouble: Trouble) {
        self.plan.lock().planned.push(Planned { call, trouble, left: nth.max(1), every: None });
    }

    /// Lets every n-th call of a kind meet trouble; 0 counts as 1.
    pub fn every(&self, call: Call, n: u32, trouble: Trouble) {
        self.plan.lock().planned.push(Planned { call, trouble, left: n.max(1), every: Some(n.max(1)) });
    }

    /// Takes the store down, until it is mended.
    pub fn outage(&self, outage: Outage) {
        self.plan.lock().outage = Some(outage);
    }

    /// Ends an outage, and calls off what has not happened yet.
    pub fn mend(&self) {
        let mut plan = self.plan.lock();
        plan.outage = None;
        plan.planned.clear();
        self.statements.struck();
    }

    /// How many calls have met trouble.
    pub fn struck(&self) -> u32 {
        self.plan.lock().struck
    }

    /// Those at the statements of a SQLite store's writer, for [`SqliteOptions`](crate::store::SqliteOptions).
    pub fn statements(&self) -> &Faults {
        &self.statements
    }

    /// One call is about to be made: what it meets.
    pub(super) fn meets(&self, call: Call) -> Option<Trouble> {
        let mut plan = self.plan.lock();
        let is_down = match plan.outage {
            Some(Outage::Everything) => true,
            Some(Outage::Writes) => matches!(call, Call::Commit | Call::Write),
            None => false,
        };
        let met = if is_down { Some(Trouble::Fails) } else { plan.due(call) };
        plan.struck += u32::from(met.is_some());
        met
    }
}

impl Plan {
    /// Counts the call in every entry; where several strike at once, the first counts.
    fn due(&mut self, call: Call) -> Option<Trouble> {
        let mut met = None;
        for entry in self.planned.iter_mut().filter(|entry| entry.call == call) {
            entry.left -= 1;
            if entry.left == 0 {
                met = met.or(Some(entry.trouble));
                entry.left = entry.every.unwrap_or(0);
            }
        }
        self.planned.retain(|entry| entry.left > 0);
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_and_every_nth_call_of_a_kind_is_struck() {
        let faults = StoreFaults::default();
        faults.at(Call::Commit, 2, Trouble::AnswerIsLost);
        faults.every(Call::Commit, 3, Trouble::Fails);
        let met: Vec<_> = (0..6).map(|_| faults.meets(Call::Commit)).collect();
        let (lost, fails) = (Some(Trouble::AnswerIsLost), Some(Trouble::Fails));
        assert_eq!(met, [None, lost, fails, None, None, fails]);
        assert_eq!((faults.meets(Call::Load), faults.struck()), (None, 3));
    }

    #[test]
    fn an_outage_of_writes_lets_reads_and_leases_through_until_it_is_mended() {
        let faults = StoreFaults::default();
        faults.outage(Outage::Writes);
        faults.at(Call::Read, 2, Trouble::Hangs);
        let met = [Call::Commit, Call::Write, Call::Renew, Call::Load, Call::Read].map(|call| faults.meets(call));
        assert_eq!(met, [Some(Trouble::Fails), Some(Trouble::Fails), None, None, None]);
        faults.mend();
        assert_eq!([Call::Commit, Call::Read].map(|call| faults.meets(call)), [None, None]);
    }
}
