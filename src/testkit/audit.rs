//! What must hold for a whole store once nothing is to happen any more: every task has ended, every log is sound, and
//! nothing is left over that would still be waited for.

use super::Log;
use crate::store::{ListQuery, Spend, Store, StoreError};
use crate::task::TaskKey;
use std::collections::BTreeSet;

/// How many tasks are listed at once.
const PAGE: usize = 200;

/// All tasks of a store, and what is left over in it.
#[derive(Debug, Clone)]
pub struct Audit {
    logs: Vec<Log>,
    leftovers: Vec<String>,
}

impl Audit {
    /// Looks through a store, also one of a user's own. Nothing should be under way in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let mut logs = Vec::new();
        let mut before = None;
        loop {
            let query = ListQuery { tenant: None, status: None, before, limit: PAGE };
            let page = store.list(query).await?;
            for listed in &page.tasks {
                // Retention may have removed it since it was listed.
                logs.extend(Log::find(store, &listed.key).await);
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let leftovers = leftovers(store, &logs).await?;
        Ok(Self { logs, leftovers })
    }

    /// The tasks, newest first.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// All that does not hold, in words; nothing when all is well.
    pub fn faults(&self) -> Vec<String> {
        let of_task = |log: &Log| -> Vec<String> {
            let key = &log.task().key;
            let open =
                log.task().end.is_none().then(|| format!("it is {} and has not ended", log.task().status().name()));
            let steps = log.task().plan.steps().iter().zip(&log.task().steps);
            let open_steps = steps.filter(|(_, step)| open.is_none() && !step.state.ended());
            let open_steps: Vec<_> = open_steps.map(|(spec, _)| format!("step {} has not ended", spec.id)).collect();
            let faults = open.into_iter().chain(open_steps).chain(log.faults());
            faults.map(|fault| format!("task {key}: {fault}")).collect()
        };
        self.logs.iter().flat_map(of_task).chain(self.leftovers.iter().cloned()).collect()
    }

    /// Everything holds.
    ///
    /// # Panics
    /// When it does not, with all that does not and the log of the first such task.
    #[track_caller]
    pub fn clean(&self) -> &Self {
        let faults = self.faults();
        if !faults.is_empty() {
            let faulty = |log: &&Log| log.task().end.is_none() || !log.faults().is_empty();
            let first = self.logs.iter().find(faulty).map(Log::to_string).unwrap_or_default();
            panic!("{} things do not hold:\n  {}\n{first}", faults.len(), faults.join("\n  "));
        }
        self
    }

    /// These were accepted, so they are there.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn holds(&self, accepted: &[TaskKey]) -> &Self {
        let there: BTreeSet<_> = self.logs.iter().map(|log| &log.task().key).collect();
        let missing: Vec<_> = accepted.iter().filter(|key| !there.contains(key)).map(TaskKey::to_string).collect();
        assert!(missing.is_empty(), "tasks were accepted and are lost: {}", missing.join(", "));
        self
    }
}

/// Queue entries, timers, leases, reservations and open tasks that nobody waits for.
async fn leftovers(store: &dyn Store, logs: &[Log]) -> Result<Vec<String>, StoreError> {
    let open = logs.iter().filter(|log| log.task().end.is_none()).count() as u64;
    let mut left = Vec::new();
    if store.stats().open_tasks != open {
        left.push(format!("the store counts {} open tasks, and has {open}", store.stats().open_tasks));
    }
    if open == 0 {
        let queues = store.waiting_capabilities().await?;
        left.extend(queues.iter().map(|capability| format!("a step waits for {capability}")));
        let leases = store.leases().await?;
        left.extend(leases.iter().map(|(key, lease)| format!("a lease stands for {} of {key}", lease.step)));
        // Without any there is no next one either, however late.
        let timers = store.due_timers(1, 0).await?;
        left.extend(timers.due.iter().map(|(key, timer)| format!("the timer {} of {key} stands", timer.id)));
        left.extend(timers.next.filter(|_| timers.due.is_empty()).map(|at| format!("a timer stands at {}", at.0)));
    }
    let scopes: BTreeSet<_> = logs.iter().flat_map(|log| log.task().budget_scopes.iter()).collect();
    for scope in scopes {
        let reserved = store.balance(scope).await?.reserved;
        if reserved != Spend::default() {
            left.push(format!("{reserved:?} stay reserved in {scope}"));
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Spend;
    use crate::task::{CallId, TaskId};
    use crate::testkit::{Scripted, TestCompany, when};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn what_is_left_over_or_missing_is_found() {
        let model = Scripted::default().line(when("analyze").waits());
        TestCompany::default().model(model.clone()).setting("slots", "1").run(async |company| {
            let (running, queued) = (company.submit("t-1").await, company.submit("t-2").await);
            company.until_steps_run(1).await;
            let faults = company.audit().await.faults();
            assert_eq!(
                faults,
                [
                    "task default/t-2: it is queued and has not ended",
                    "task default/t-1: it is running and has not ended"
                ]
            );
            model.release(2);
            company.all_ended(&[running.clone(), queued.clone()]).await;
            let audit = company.audit().await;
            audit.clean().holds(&[running.clone(), queued]);

            let lost = TaskKey { id: TaskId::trusted("t-3"), ..running.clone() };
            let panic = catch_unwind(AssertUnwindSafe(|| audit.holds(&[lost]).faults())).err();
            assert!(
                panic.is_some_and(|panic| panic.downcast_ref::<String>().is_some_and(|words| words.contains("t-3")))
            );

            let scope = audit.logs()[0].task().budget_scopes[0].clone();
            let upper = Spend { tokens: 5, micro_usd: 0 };
            company.store().reserve(&CallId::trusted("c-1"), &[scope], upper, 60_000).await.unwrap();
            let faults = company.audit().await.faults();
            assert!(faults.len() == 1 && faults[0].contains("stay reserved in"), "{faults:?}");
            assert!(
                catch_unwind(AssertUnwindSafe(|| Audit { logs: Vec::new(), leftovers: faults }.clean().faults()))
                    .is_err()
            );
        });
    }
}
