//! What came up and led to nothing, so that it does not keep others back: what this program cannot advance, such as a task
//! of a newer version, is passed over for a while, and what nobody knows anything of is found out. All of it is bounded,
//! and whatever is forgotten is merely tried again.

use crate::store::Entry;
use crate::task::TaskKey;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long something is passed over that cannot be advanced.
const PASSED_OVER_FOR: Duration = Duration::from_secs(60);
/// The most that is remembered of each kind. With more than that at the head of a queue, those behind them wait.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What became of something whose time had come.
pub(super) enum Outcome {
    /// It changed its task.
    Advanced,
    /// Nothing came of it: it was late, or nobody knows it.
    Nothing,
    /// This program can do nothing about its task, whenever it is asked.
    Stuck(Arc<str>),
    /// Not now: nobody is free, or too much is asked.
    Later,
}

/// What came up and led to nothing.
pub(super) struct Setbacks {
    /// What is passed over, and until when.
    stuck: LruCache<(TaskKey, Entry), Instant>,
    /// Tasks that the log has been told of.
    told: LruCache<TaskKey, ()>,
    /// What nothing came of the last time.
    idle: LruCache<(TaskKey, Entry), ()>,
}

impl Setbacks {
    pub(super) fn new() -> Self {
        Self { stuck: LruCache::new(MOST), told: LruCache::new(MOST), idle: LruCache::new(MOST) }
    }

    /// Whether something is to be left alone for now.
    pub(super) fn passes_over(&self, thing: &(TaskKey, Entry)) -> bool {
        !self.stuck.is_empty() && self.stuck.peek(thing).is_some_and(|until| *until > Instant::now())
    }

    /// How many things may stand in front of those that can be advanced.
    pub(super) fn count(&self) -> usize {
        self.stuck.len()
    }

    /// Whether more can be remembered without forgetting any.
    pub(super) fn have_room(&self) -> bool {
        self.stuck.len() < MOST.get()
    }

    /// Remembers what became of something. Answers whether it should be found out what it is: what nothing came of twice in
    /// a row may belong to nobody. Once alone is no sign of that, since others may just have been quicker.
    pub(super) fn learn(&mut self, thing: &(TaskKey, Entry), outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Advanced => {
                self.stuck.pop(thing);
                self.idle.pop(thing);
            }
            Outcome::Nothing if self.idle.pop(thing).is_some() => return true,
            Outcome::Nothing => {
                self.idle.put(thing.clone(), ());
            }
            Outcome::Stuck(why) => {
                if self.told.put(thing.0.clone(), ()).is_none() {
                    tracing::warn!(task = %thing.0.id, %why, "what is due of a task cannot be done; it is passed over");
                }
                self.stuck.put(thing.clone(), Instant::now() + PASSED_OVER_FOR);
            }
            Outcome::Later => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{TaskId, Tenant, TimerId};

    fn thing(id: &'static str) -> (TaskKey, Entry) {
        (TaskKey { tenant: Tenant::default(), id: TaskId::trusted(id) }, Entry::Timer(TimerId::Deadline))
    }

    #[tokio::test]
    async fn what_is_stuck_is_passed_over_for_a_while() {
        tokio::time::pause();
        let mut setbacks = Setbacks::new();
        assert!(!setbacks.learn(&thing("t1"), &Outcome::Stuck("it is newer".into())));
        assert!(setbacks.passes_over(&thing("t1")) && !setbacks.passes_over(&thing("t2")));
        assert_eq!((setbacks.count(), setbacks.have_room()), (1, true));
        tokio::time::advance(PASSED_OVER_FOR).await;
        assert!(!setbacks.passes_over(&thing("t1")));
        setbacks.learn(&thing("t1"), &Outcome::Advanced);
        assert_eq!(setbacks.count(), 0);
    }

    #[test]
    fn what_leads_to_nothing_twice_in_a_row_is_looked_at() {
        let mut setbacks = Setbacks::new();
        let learnt: Vec<_> = [Outcome::Nothing, Outcome::Later, Outcome::Nothing, Outcome::Nothing, Outcome::Advanced]
            .iter()
            .chain(&[Outcome::Nothing, Outcome::Nothing])
            .map(|outcome| setbacks.learn(&thing("t1"), outcome))
            .collect();
        assert_eq!(learnt, [false, false, true, false, false, false, true]);
    }
}
