//! Removing finished tasks from memory.

use super::{MemoryStore, Tasks};
use crate::store::transfer::own_scope;
use crate::store::{Removed, RetentionQuery, StoreError};
use crate::task::{At, Status, TaskKey};
use foldhash::HashMap;

impl MemoryStore {
    pub(super) fn count_finished_now(&self, query: &RetentionQuery) -> Result<u64, StoreError> {
        self.open()?;
        Ok(self.tasks.lock().finished(query).count() as u64)
    }

    pub(super) fn remove_finished_now(&self, query: &RetentionQuery, limit: usize) -> Result<Removed, StoreError> {
        self.open()?;
        let mut tasks = self.tasks.lock();
        let mut meant: Vec<_> = tasks.finished(query).take(limit.saturating_add(1)).collect();
        let more = meant.len() > limit;
        meant.truncate(limit);
        let gone: Vec<TaskKey> = meant.iter().filter_map(|place| tasks.remove(*place)).collect();
        drop(tasks);
        let mut beside = self.beside.lock();
        for key in &gone {
            let theirs: Vec<_> = beside.traces_of(key).map(|(whose, _)| whose.clone()).collect();
            for whose in theirs {
                beside.traces.remove(&whose);
            }
            beside.ledger.forget(&own_scope(&key.id));
        }
        drop(beside);
        for key in &gone {
            self.watchers.close(key);
        }
        Ok(Removed { tasks: gone.len() as u64, more })
    }
}

impl Tasks {
    /// The places of the tasks that a query means, those that ended first before the others.
    fn finished(&self, query: &RetentionQuery) -> impl Iterator<Item = (At, u64)> {
        let whose = |place: &&(At, u64)| {
            query
                .tenant
                .as_ref()
                .is_none_or(|tenant| self.lists.keys.get(&place.1).is_some_and(|key| key.tenant == *tenant))
        };
        let beyond = query.keep.and_then(|keep| {
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            self.lists.ended.iter().rev().filter(whose).nth(keep).copied()
        });
        let late = query.ended_before.and_then(|before| Some((At(before.0.checked_sub(1)?), u64::MAX)));
        // None is less than any: with neither limit nothing is meant.
        let last = beyond.max(late);
        let meant: Vec<_> =
            self.lists.ended.iter().take_while(|place| Some(**place) <= last).filter(whose).copied().collect();
        meant.into_iter()
    }

    /// Removes the task at a place; gives its key.
    fn remove(&mut self, place: (At, u64)) -> Option<TaskKey> {
        self.lists.ended.remove(&place);
        let key = self.lists.keys.remove(&place.1)?;
        for status in [None].into_iter().chain(Status::ALL.map(Some)) {
            for tenant in [None, Some(key.tenant.clone())] {
                let part = (tenant, status);
                if let Some(ordinals) = self.lists.parts.get_mut(&part) {
                    ordinals.remove(&place.1);
                    if ordinals.is_empty() {
                        self.lists.parts.remove(&part);
                    }
                }
            }
        }
        self.ids.remove(&key.id);
        let kept = self.kept.remove(&key)?;
        if let Some(name) = kept.idempotency_key {
            self.submissions.remove(&(key.tenant.clone(), name));
        }
        // A map that has grown for tasks long gone gives its room back.
        if self.kept.capacity() > 1024 && self.kept.len() * 8 < self.kept.capacity() {
            shrink(&mut self.kept);
            shrink(&mut self.ids);
        }
        Some(key)
    }
}

fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    map.shrink_to(map.len() * 2);
}
