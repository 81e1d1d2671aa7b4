//! The wire's names of tasks and steps, and ours. The wire knows a task by its id alone, which is unique over all tenants;
//! and work that was dispatched by itself is a task of its own here, under the wire's task and step together.

use crate::store::{Store, StoreError};
use crate::task::{InvalidId, StepId, TaskId, TaskKey, Tenant};
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How many tasks' tenants are remembered.
const REMEMBERED: NonZeroUsize = match NonZeroUsize::new(16_384) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};

/// Finds tasks by the wire's names. Clones share what they remember.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn Store>,
    tenants: Arc<Mutex<LruCache<TaskId, Tenant>>>,
}

impl Keys {
    /// Those of the tasks in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, tenants: Arc::new(Mutex::new(LruCache::new(REMEMBERED))) }
    }

    /// A task is about to be named to somebody, who will name it back.
    pub(super) fn note(&self, key: &TaskKey) {
        let mut tenants = self.tenants.lock();
        if tenants.get(&key.id) != Some(&key.tenant) {
            tenants.put(key.id.clone(), key.tenant.clone());
        }
    }

    /// The task that the wire's task and step name; none when there is no such task.
    pub(super) async fn find(&self, task: &str, step: &StepId) -> Result<Option<TaskKey>, StoreError> {
        let planned = || TaskId::parse(task).ok();
        let dispatched = || dispatched_id(task, step).ok();
        // A plan's steps are named after their task; no dispatched step of such a name shadows them.
        let is_planned = step.as_str().strip_prefix(task).is_some_and(|rest| rest.starts_with("-P"));
        let order = if is_planned { [planned(), dispatched()] } else { [dispatched(), planned()] };
        for id in order.into_iter().flatten() {
            if let Some(key) = self.key_of(id).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn key_of(&self, id: TaskId) -> Result<Option<TaskKey>, StoreError> {
        if let Some(tenant) = self.tenants.lock().get(&id).cloned() {
            return Ok(Some(TaskKey { tenant, id }));
        }
        let found = self.store.key_of(&id).await?;
        found.iter().for_each(|key| self.note(key));
        Ok(found)
    }
}

/// The id of the task that stands for one dispatched step.
pub(super) fn dispatched_id(task: &str, step: &StepId) -> Result<TaskId, InvalidId> {
    TaskId::parse(&format!("{}:{step}", task.trim()))
}

/// The wire's name of the task that a step belongs to.
pub(super) fn wire_task<'a>(key: &'a TaskKey, step: &StepId) -> &'a str {
    let id = key.id.as_str();
    id.strip_suffix(step.as_str()).and_then(|rest| rest.strip_suffix(':')).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, SystemClock};

    #[test]
    fn a_dispatched_step_is_named_by_the_wires_task_and_a_planned_one_by_its_own() {
        let (planned, dispatched) = (StepId::trusted("t-1-P2"), StepId::trusted("S7"));
        let key = |id: TaskId| TaskKey { tenant: Tenant::default(), id };
        assert_eq!(wire_task(&key(TaskId::trusted("t-1")), &planned), "t-1");
        assert_eq!(wire_task(&key(dispatched_id("t-1", &dispatched).unwrap()), &dispatched), "t-1");
    }

    #[tokio::test]
    async fn nobodys_task_is_found_by_no_name() {
        let keys = Keys::new(Arc::new(MemoryStore::new(Arc::new(SystemClock::default()))));
        assert_eq!(keys.find("t-1", &StepId::trusted("t-1-P1")).await, Ok(None));
        assert_eq!(keys.find("", &StepId::trusted("x")).await, Ok(None));
    }
}
