//! Commits of which nobody knows whether they were written: the store took them and did not answer in time. What they would
//! have meant is made up for when the log tells, at the latest when the store answers again: a step that was placed by one
//! waits for its work.

use super::Master;
use crate::actors::Turn;
use crate::actors::patience::patiently;
use crate::store::{Commit, StoreError};
use std::collections::VecDeque;
use std::time::Duration;

/// How long it is waited between two looks into the doubts that are left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many tasks are looked at at once.
const AT_ONCE: usize = 64;

impl Master {
    /// Remembers a commit of which it is not known whether it was written.
    pub(super) fn doubt(&mut self, commit: Commit, turn: &mut Turn<'_, Self>) {
        self.doubtful.put(commit.key.clone(), commit);
        if !std::mem::replace(&mut self.looks_into_doubts, true) {
            turn.later(LOOK_EVERY, Self::look_into_doubts);
        }
    }

    /// Finds out about the oldest doubts about tasks of which nothing else is to be done, which would find it out.
    fn look_into_doubts(&mut self, turn: &mut Turn<'_, Self>) {
        let oldest = self.doubtful.iter().rev().map(|(key, _)| key);
        let idle: Vec<_> = oldest.filter(|key| !self.busy.contains_key(key)).take(AT_ONCE).cloned().collect();
        for key in idle {
            let Some(commit) = self.doubtful.pop(&key) else { continue };
            self.busy.insert(key.clone(), VecDeque::new());
            self.find_out(commit, turn, move |master, _, turn| master.next(key, turn));
        }
        self.looks_into_doubts = !self.doubtful.is_empty();
        if self.looks_into_doubts {
            turn.later(LOOK_EVERY, Self::look_into_doubts);
        }
    }

    /// Finds out whether a doubtful commit was written, and then goes on.
    pub(super) fn find_out(
        &mut self,
        commit: Commit,
        turn: &mut Turn<'_, Self>,
        then: impl FnOnce(&mut Self, Result<(), StoreError>, &mut Turn<'_, Self>) + 'static,
    ) {
        let store = self.parts.store.clone();
        let (wanted, after, count) = (commit.key.clone(), commit.expected, commit.events.len());
        let events = async move { patiently(store.events(&wanted, after, count)).await };
        turn.spawn(events, move |master, events, turn| {
            let found = events.map(|events| {
                if events.is_some_and(|events| *events == *commit.events) {
                    master.make_up_for(&commit, turn);
                }
            });
            if found.is_err() {
                master.doubt(commit, turn);
            }
            then(master, found, turn);
        });
    }

    /// It was written: slots and queue places are as it said, and what it was to send is sent.
    fn make_up_for(&mut self, commit: &Commit, turn: &mut Turn<'_, Self>) {
        self.book(&commit.key, &commit.effects);
        self.carry_out(commit, None, turn);
        // The task may have moved on since.
        self.cache.pop(&commit.key);
    }
}
