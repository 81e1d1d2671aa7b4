//! Whether a commit may be written at all: its numbers must follow one another, and a task's first commit must not
//! contradict an earlier submission. Every store that lives in one process asks here.

use super::{Clash, Commit, Committed, StoreError, SubmissionRecord};
use crate::task::{Digest, TaskKey};

/// A task that an earlier submission made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Its key.
    pub key: TaskKey,
    /// The earlier submission's digest; none when it was made without one.
    pub digest: Option<Digest>,
}

/// What becomes of a first commit that need not be written; none when it makes a new task. `by_id` is the task that has
/// the id, whoever's it is; `by_key` the task that the tenant's idempotency key made.
pub(super) fn turned_away(
    key: &TaskKey,
    submission: Option<&SubmissionRecord>,
    by_id: Option<Known>,
    by_key: Option<Known>,
    open: u64,
) -> Option<Committed> {
    if by_id.as_ref().is_some_and(|known| known.key != *key) {
        return Some(Committed::Clash(Clash::TaskId));
    }
    let Some(submission) = submission else { return by_id.map(|_| Committed::Conflict) };
    let again = |known: Known, clash| {
        let equal = known.digest == Some(submission.digest);
        if equal { Committed::Repeated(known.key) } else { Committed::Clash(clash) }
    };
    match (submission.id_given, submission.idempotency_key.is_some(), by_id, by_key) {
        (true, true, Some(one), Some(other)) if one == other => Some(again(one, Clash::TaskId)),
        (true, true, Some(_), _) | (true, true, _, Some(_)) => Some(Committed::Clash(Clash::Disagree)),
        (true, false, Some(known), _) => Some(again(known, Clash::TaskId)),
        (false, true, _, Some(known)) => Some(again(known, Clash::IdempotencyKey)),
        // An id that the client did not choose names nobody's submission: it was made up twice.
        (false, _, Some(_), _) => Some(Committed::Clash(Clash::TaskId)),
        _ => (open >= submission.max_open).then_some(Committed::Full),
    }
}

impl Commit {
    /// Whether its numbers are what they must be; a log with a gap could never be folded again.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let numbered = self.events.iter().zip(self.expected + 1..).all(|(event, seq)| event.seq == seq);
        let last = self.expected + self.events.len() as u64;
        if self.events.is_empty() || !numbered || self.task.version != last || self.task.key != self.key {
            let what = format!(
                "commit {} of task {} does not follow version {}; it was not written",
                self.id, self.key, self.expected
            );
            return Err(StoreError::Corrupt(what.into()));
        }
        Ok(())
    }
}
