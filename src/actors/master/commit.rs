//! Committing: a decision is written to the store, and the world is made to follow, or it is decided anew.

use super::ask::{Ask, Concern, Sender, not_committed, store_failed};
use super::{Known, Master, Tries};
use crate::actors::Turn;
use crate::actors::patience::patiently;
use crate::messages::MasterError;
use crate::store::{Commit, Committed, Store, StoreError, SubmissionRecord};
use crate::task::{self, At, AttemptEnd, CommitId, Decision, Json, Lease, Payload, Request, Task, TaskKey};
use crate::telemetry::log_events;
use std::sync::Arc;
use std::time::Duration;

/// How often a commit that lost a race is decided anew before the caller is told to come back.
const MAX_RACES: u32 = 10;

/// What a commit carries besides its decision.
pub(super) struct Enclosed {
    pub payloads: Vec<(Arc<str>, Json)>,
    pub submission: Option<SubmissionRecord>,
}

/// A decision on its way to the store.
struct Proposal {
    ask: Ask,
    commit: Commit,
    tries: Tries,
}

impl Master {
    /// Writes what was decided, with the slots booked for it meanwhile.
    pub(super) fn propose(
        &mut self,
        before: Option<&Arc<Task>>,
        decision: Decision,
        enclosed: Enclosed,
        ask: Ask,
        tries: Tries,
        turn: &mut Turn<'_, Self>,
    ) {
        let Decision { events, task } = decision;
        let effects = task::effects(before.map(Arc::as_ref), &task);
        self.book(&task.key, &effects);
        self.commits += 1;
        let commit = Commit {
            id: CommitId::of_parts(&[&self.life, ":", &self.commits.to_string()]),
            key: task.key.clone(),
            expected: before.map_or(0, |task| task.version),
            expected_at: before.map_or(At(0), |task| task.updated_at),
            events: events.into(),
            task: Arc::new(task),
            slots: self.bounds(&effects.lease),
            effects: effects.into(),
            payloads: enclosed.payloads,
            submission: enclosed.submission,
        };
        let store = self.parts.store.clone();
        let written = write(store, commit.clone(), ask.tries());
        turn.spawn(written, move |master, written, turn| {
            master.written(Proposal { ask, commit, tries }, written, turn);
        });
    }

    fn written(&mut self, proposal: Proposal, written: Written, turn: &mut Turn<'_, Self>) {
        let key = proposal.commit.key.clone();
        let Proposal { ask, commit, tries } = proposal;
        match written.answer {
            Ok(Committed::Applied | Committed::AlreadyApplied) => {
                self.carry_out(&commit, Some(&ask), turn);
                ask.done(commit.task);
                return self.next(key, turn);
            }
            Ok(other) => {
                self.unbook(&key, &commit.effects);
                if written.is_doubtful {
                    self.doubt(commit, turn);
                }
                match other {
                    Committed::Conflict if tries.races < MAX_RACES && !matches!(ask, Ask::Submit { .. }) => {
                        self.cache.pop(&key);
                        return self.begin(key, ask, Tries { races: tries.races + 1, ..tries }, turn);
                    }
                    // Not for ever: after a few it is decided as though no slot were free.
                    Committed::NoSlot(held) => {
                        self.slots.learn(&mut self.fleet, held);
                        return self.begin(key, ask, Tries { slots: tries.slots + 1, ..tries }, turn);
                    }
                    Committed::Repeated(earlier) => self.repeat(earlier, ask, turn),
                    other => ask.refuse(not_committed(&other)),
                }
            }
            Err(error) => {
                self.unbook(&key, &commit.effects);
                self.cache.pop(&key);
                tracing::error!(task = %key.id, %error, "a commit was not written");
                if written.is_doubtful {
                    self.doubt(commit, turn);
                }
                ask.refuse(store_failed(&error));
            }
        }
        self.next(key, turn);
    }

    /// Answers a repeated submission with the first one's task.
    fn repeat(&mut self, earlier: TaskKey, ask: Ask, turn: &mut Turn<'_, Self>) {
        let Ask::Submit { sender, .. } = ask else { return };
        let store = self.parts.store.clone();
        let load = async move { patiently(store.load(&earlier)).await };
        turn.spawn(load, |_, loaded, _| match loaded {
            Ok(Some(task)) => sender.taken(task, true),
            Ok(None) => {
                sender.refuse(MasterError::NotFound("the earlier submission's task has been removed".into()));
            }
            Err(error) => sender.refuse(store_failed(&error)),
        });
    }

    /// Refuses what cannot begin now, unless it was taken at an earlier time.
    pub(super) fn unless_there(&mut self, key: TaskKey, sender: Sender, error: MasterError, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        let wanted = key.clone();
        let load = async move { patiently(store.load(&wanted)).await };
        turn.spawn(load, move |master, loaded, turn| {
            match loaded {
                Ok(Some(task)) => sender.taken(task, true),
                _ => sender.refuse(error),
            }
            master.next(key, turn);
        });
    }

    /// The world after a commit: the cache, the counters, and everything that is to be sent.
    pub(super) fn carry_out(&mut self, commit: &Commit, ask: Option<&Ask>, turn: &mut Turn<'_, Self>) {
        let task = &commit.task;
        let request = self.remember(task, ask);
        ask.into_iter().for_each(|ask| self.keep_trace(ask, turn));
        self.judge(task, &commit.events);
        self.parts.counters.committed(&commit.events);
        log_events(task, &commit.events);
        for lease in &commit.effects.release {
            self.accepted.remove(&(commit.key.clone(), lease.clone()));
            if !ended_by_holder(task, lease) {
                self.send_drop(&commit.key, lease);
            }
        }
        self.slots.settle(&mut self.fleet, &commit.key, &commit.effects);
        for lease in &commit.effects.lease {
            self.send_work(task, request.clone(), lease.clone(), turn);
        }
        self.offer_slots(commit);
    }

    /// Keeps what an agent said of how it came to its result; best effort, no decision hangs on it.
    fn keep_trace(&self, ask: &Ask, turn: &mut Turn<'_, Self>) {
        let Ask::Concern(Concern::Report { result, .. }) = ask else { return };
        if result.trace.is_empty() {
            return;
        }
        let (store, result) = (self.parts.store.clone(), result.clone());
        let kept = async move { patiently(store.append_trace(&result.key, &result.agent, result.trace)).await };
        turn.spawn(kept, |_, kept, _| {
            if let Err(error) = kept {
                tracing::warn!(%error, "an agent's trace could not be written");
            }
        });
    }

    /// Keeps an open task for its next input; gives its question if it is known.
    fn remember(&mut self, task: &Arc<Task>, ask: Option<&Ask>) -> Option<Arc<Request>> {
        if task.end.is_some() {
            self.cache.pop(&task.key);
            return None;
        }
        let request = match (ask, &task.request) {
            // An entry that is there already is of an earlier task of this id, which another master ended.
            (Some(Ask::Submit { submission, .. }), Payload::Inline(_)) => Some(Arc::new(submission.request.clone())),
            (Some(Ask::Submit { .. }), Payload::Stored { .. }) => None,
            _ => self.cache.get(&task.key).and_then(|known| known.request.clone()),
        };
        self.cache.put(task.key.clone(), Known { task: task.clone(), request: request.clone() });
        request
    }
}

/// Whether an attempt's holder knows that it ended, because it said so itself.
fn ended_by_holder(task: &Task, lease: &Lease) -> bool {
    use crate::task::{Loss, StepState};
    let Some(index) = task.plan.find(&lease.step) else { return true };
    let step = task.step(index).1;
    if let StepState::Succeeded { attempt, .. } = step.state
        && attempt == lease.attempt
    {
        return true;
    }
    match step.attempt(lease.attempt).and_then(|attempt| attempt.ended.as_ref()) {
        Some((_, AttemptEnd::TimedOut | AttemptEnd::Superseded)) | None => false,
        Some((_, AttemptEnd::Lost(loss))) => !matches!(loss, Loss::LeaseExpired | Loss::Stalled),
        Some(_) => true,
    }
}

/// What came of writing a commit.
struct Written {
    /// The last answer.
    answer: Result<Committed, StoreError>,
    /// Whether the store may have been given it without answering, and may write it yet.
    is_doubtful: bool,
}

/// Writes a commit; tries again under the same id while the store cannot take it, which is harmless where only the
/// answer was lost.
async fn write(store: Arc<dyn Store>, commit: Commit, tries: u32) -> Written {
    let mut pause = Duration::from_millis(50);
    let mut is_doubtful = false;
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        let answer = patiently(store.commit(commit.clone())).await;
        is_doubtful |= matches!(answer, Err(StoreError::Unavailable(_)));
        if left == 0 || !matches!(answer, Err(StoreError::Unavailable(_))) {
            return Written { answer, is_doubtful };
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause *= 4;
    }
}
