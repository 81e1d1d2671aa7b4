//! Tasks out of memory and into it, as records.

use super::{Beside, Kept, KeptCommit, MemoryStore, Tasks};
use crate::store::ledger::Shelf;
use crate::store::transfer::{
    ContextRecord, ExportPage, ExportPlace, ExportQuery, Imported, KeptSubmission, PAGE_BYTES, PAGE_RECORDS, Record,
    TaskRecord, judged_value,
};
use crate::store::{BudgetRecord, ReservationRecord, StoreError, Woken};
use crate::task::{AgentId, At, CommitId, Json, TaskKey, Tenant};
use std::sync::Arc;

impl MemoryStore {
    pub(super) fn export_now(&self, query: &ExportQuery, from: &ExportPlace) -> Result<ExportPage, StoreError> {
        self.open()?;
        let (tasks, beside) = (self.tasks.lock(), self.beside.lock());
        let (records, behind) = match from {
            ExportPlace::Tasks(after) => tasks.page_of_tasks(&beside, query, *after),
            ExportPlace::Context(after) => beside.page_of_context(query, after.as_ref()),
            ExportPlace::Budgets(after) => {
                let budgets = beside.ledger.budgets(after.as_ref()).take(PAGE_RECORDS);
                let budget =
                    |(scope, balance): (&_, &_)| BudgetRecord { scope: Clone::clone(scope), balance: *balance };
                let page: Vec<_> = budgets.map(budget).collect();
                let behind = page.last().map(|last| ExportPlace::Budgets(Some(last.scope.clone())));
                (page.into_iter().map(Record::Budget).collect(), behind)
            }
            ExportPlace::Reservations(after) => {
                let calls = beside.ledger.reservations(after.as_ref()).take(PAGE_RECORDS);
                let page: Vec<_> = calls
                    .map(|(call, reserved)| ReservationRecord { call: call.clone(), reserved: reserved.clone() })
                    .collect();
                let behind = page.last().map(|last| ExportPlace::Reservations(Some(last.call.clone())));
                (page.into_iter().map(Record::Reservation).collect(), behind)
            }
        };
        Ok(ExportPage { records, next: behind.or_else(|| from.next_kind(query)) })
    }

    pub(super) fn import_now(&self, record: Record, dry_run: bool) -> Result<Imported, StoreError> {
        self.open()?;
        let now = self.clock.now();
        match record {
            Record::Task(task) => {
                let state = task.state.clone();
                let mut tasks = self.tasks.lock();
                if let Some(known) = tasks.judge(&task) {
                    return Ok(known);
                }
                if !dry_run {
                    let mut beside = self.beside.lock();
                    for (agent, steps) in &task.traces {
                        beside.traces.insert((state.key.clone(), agent.clone()), steps.clone());
                    }
                    drop(beside);
                    tasks.place(*task, now);
                    drop(tasks);
                    self.watchers.wake(&state.key, Woken::at(&state));
                }
            }
            other => return Ok(self.beside.lock().import(other, dry_run)),
        }
        Ok(Imported::Written)
    }
}

impl Tasks {
    fn page_of_tasks(&self, beside: &Beside, query: &ExportQuery, after: u64) -> (Vec<Record>, Option<ExportPlace>) {
        let (mut records, mut bytes, mut behind) = (Vec::new(), 0, None);
        for (ordinal, key) in self.lists.keys.range(after + 1..) {
            let Some(kept) = self.kept.get(key).filter(|kept| query.takes(&kept.task)) else { continue };
            let record = kept.record(beside.traces_of(key).map(|(whose, steps)| (whose.1.clone(), steps.clone())));
            bytes += record.payloads.iter().map(|(_, value)| value.bytes()).sum::<usize>();
            records.push(Record::Task(Box::new(record)));
            behind = Some(ExportPlace::Tasks(*ordinal));
            if records.len() >= PAGE_RECORDS || bytes >= PAGE_BYTES {
                break;
            }
        }
        (records, behind)
    }

    fn judge(&self, task: &TaskRecord) -> Option<Imported> {
        let key = &task.state.key;
        let known = self.ids.get(&key.id).and_then(|known| Some((known, self.kept.get(known)?)));
        let known = known.map(|(known, kept)| (known, kept.events(0).cloned().collect::<Vec<_>>()));
        let by_id = known.as_ref().map(|(known, events)| (*known, events.as_slice()));
        let name = task.submission.as_ref().and_then(|submission| submission.idempotency_key.clone());
        let by_name = name.and_then(|name| self.submissions.get(&(key.tenant.clone(), name)));
        task.judged(by_id, by_name)
    }

    fn place(&mut self, record: TaskRecord, now: At) {
        let TaskRecord { state, events, payloads, submission, .. } = record;
        let (key, status) = (state.key.clone(), state.status());
        let ordinal = self.lists.add(&key, status);
        self.lists.ended(&state, ordinal);
        self.open += u64::from(!status.ended());
        // Whoever held its attempts did so in another process.
        self.index.place(&state, |_| now);
        self.ids.insert(key.id.clone(), key.clone());
        let (digest, name) = submission.map(|kept| (kept.digest, kept.idempotency_key)).unzip();
        let idempotency_key = name.flatten();
        if let Some(name) = idempotency_key.clone() {
            self.submissions.insert((key.tenant.clone(), name), key.clone());
        }
        let commits = vec![KeptCommit { id: CommitId::trusted("imported"), events: events.into() }];
        let payloads = payloads.into_iter().collect();
        let kept = Kept { task: state, ordinal, digest, idempotency_key, commits, payloads };
        self.kept.insert(key, Box::new(kept));
    }
}

impl Kept {
    fn record(&self, traces: impl Iterator<Item = (AgentId, Vec<Json>)>) -> TaskRecord {
        let mut payloads: Vec<_> = self.payloads.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        payloads.sort_by(|(one, _), (other, _)| one.cmp(other));
        let idempotency_key = self.idempotency_key.clone();
        TaskRecord {
            state: self.task.clone(),
            events: self.events(0).cloned().collect(),
            payloads,
            submission: self.digest.map(|digest| KeptSubmission { digest, idempotency_key }),
            traces: traces.collect(),
        }
    }
}

impl Beside {
    /// The agents' reasoning in a task, by agent.
    pub(super) fn traces_of(&self, key: &TaskKey) -> impl Iterator<Item = (&(TaskKey, AgentId), &Vec<Json>)> {
        let first = (key.clone(), AgentId::trusted(""));
        self.traces.range(first..).take_while({
            let key = key.clone();
            move |((of, _), _)| *of == key
        })
    }

    fn page_of_context(
        &self,
        query: &ExportQuery,
        after: Option<&(Tenant, Arc<str>)>,
    ) -> (Vec<Record>, Option<ExportPlace>) {
        let fields = self.context.iter().filter(|(tenant, _)| query.tenant.as_ref().is_none_or(|only| only == *tenant));
        let fields =
            fields.flat_map(|(tenant, fields)| fields.iter().map(move |(field, value)| (tenant, field, value)));
        let fields = fields.filter(|(tenant, field, _)| {
            after.is_none_or(|(last_tenant, last_field)| (*tenant, *field) > (last_tenant, last_field))
        });
        let record = |(tenant, field, value): (&Tenant, &Arc<str>, &Json)| ContextRecord {
            tenant: tenant.clone(),
            field: field.clone(),
            value: value.clone(),
        };
        let page: Vec<_> = fields.take(PAGE_RECORDS).map(record).collect();
        let behind = page.last().map(|last| ExportPlace::Context(Some((last.tenant.clone(), last.field.clone()))));
        (page.into_iter().map(Record::Context).collect(), behind)
    }

    fn import(&mut self, record: Record, dry_run: bool) -> Imported {
        match record {
            // Tasks are taken with both locks held.
            Record::Task(_) => Imported::Written,
            Record::Context(ContextRecord { tenant, field, value }) => {
                let there = self.context.get(&tenant).and_then(|fields| fields.get(&field));
                judged_value(there, &&value).unwrap_or_else(|| {
                    if !dry_run {
                        self.context.entry(tenant).or_default().insert(field, value);
                    }
                    Imported::Written
                })
            }
            Record::Budget(BudgetRecord { scope, balance }) => judged_value(self.ledger.known(&scope), &balance)
                .unwrap_or_else(|| {
                    if !dry_run {
                        let Ok(()) = self.ledger.set_balance(&scope, balance);
                    }
                    Imported::Written
                }),
            Record::Reservation(ReservationRecord { call, reserved }) => {
                let Ok(there) = self.ledger.call(&call);
                judged_value(there, &reserved).unwrap_or_else(|| {
                    if !dry_run {
                        let Ok(()) = self.ledger.set_call(&call, Some(reserved));
                    }
                    Imported::Written
                })
            }
        }
    }
}
