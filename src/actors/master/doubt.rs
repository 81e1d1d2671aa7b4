//! Commits of which nobody knows whether they were written: the store took them and did not answer in time. What they would
//! have meant is made up for as soon as something else is to be done about their task, when its log tells.

use super::Master;
use super::ask::{Ask, Concern, store_failed};
use crate::actors::Turn;
use crate::actors::patience::patiently;
use crate::store::Commit;

impl Master {
    /// Finds out whether a doubtful commit was written, and then goes on with its task.
    pub(super) fn find_out(&mut self, commit: Commit, concern: Concern, conflicts: u32, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        let (wanted, after, count) = (commit.key.clone(), commit.expected, commit.events.len());
        let events = async move { patiently(store.events(&wanted, after, count)).await };
        turn.spawn(events, move |master, events, turn| {
            let key = commit.key.clone();
            match events {
                Ok(events) => {
                    if events.is_some_and(|events| *events == *commit.events) {
                        master.make_up_for(&commit, turn);
                    }
                    master.begin(key, Ask::Concern(concern), conflicts, turn);
                }
                Err(error) => {
                    master.doubtful.put(key.clone(), commit);
                    concern.refuse(store_failed(&error));
                    master.next(key, turn);
                }
            }
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
