//! Records out of the server and into it, and removing finished tasks. Each task is read and written by one script.

use super::ledger::{limit_text, read_balance, read_reserved, scopes_text, stand_text};
use super::link::Again;
use super::predecessor::{Noted, noted};
use super::reply::Reply;
use super::script::Call;
use super::task_wire::{Body, check_readable, read_event, read_state};
use super::{RedisStore, script};
use crate::store::transfer::{
    BudgetRecord, ContextRecord, Differs, ExportPage, ExportPlace, ExportQuery, Imported, KeptSubmission, PAGE_BYTES,
    PAGE_RECORDS, Record, ReservationRecord, TaskRecord, digest_of,
};
use crate::store::{Balance, Removed, RetentionQuery, StoreError, Woken};
use crate::task::{
    AgentId, CallId, Effects, Event, IdempotencyKey, Json, Scope, Task, TaskId, TaskKey, Tenant, leases, queue_entries,
    timers,
};
use deadpool_redis::redis::{cmd, pipe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How much of the list one page looks at, whatever it finds.
const LOOKED_AT: usize = 2000;

type Page = (Vec<Record>, Option<ExportPlace>);

// === Retention ===

impl RedisStore {
    pub(super) async fn count_finished_now(&self, query: RetentionQuery) -> Result<u64, StoreError> {
        self.run(finished(self.call(&script::COUNT_FINISHED), &query), Again::Yes).await?.number()
    }

    pub(super) async fn remove_finished_now(&self, query: RetentionQuery, limit: usize) -> Result<Removed, StoreError> {
        let call = finished(self.call(&script::REMOVE_FINISHED), &query).arg(limit);
        // Asked again, it would not count what the first time removed.
        let mut reply = self.run(call, Again::No).await?;
        let mut gone = reply.list()?;
        let mut tasks = 0;
        while !gone.is_empty() {
            let key = TaskKey { tenant: Tenant::trusted(gone.text()?), id: TaskId::trusted(gone.text()?) };
            self.watchers.close(&key);
            tasks += 1;
        }
        Ok(Removed { tasks, more: reply.number::<u8>()? == 1 })
    }
}

/// The list that a query goes by, and its limits.
fn finished(call: Call, query: &RetentionQuery) -> Call {
    let list = query.tenant.as_ref().map_or_else(|| "ended".to_owned(), |tenant| format!("ended:{tenant}"));
    let text = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    call.arg(list).arg(text(query.ended_before.map(|before| before.0))).arg(text(query.keep))
}

// === Out ===

impl RedisStore {
    pub(super) async fn export_now(&self, query: ExportQuery, from: ExportPlace) -> Result<ExportPage, StoreError> {
        let (records, behind) = match &from {
            ExportPlace::Tasks(after) => self.page_of_tasks(&query, *after).await?,
            ExportPlace::Context(after) => self.page_of_context(&query, after.as_ref()).await?,
            ExportPlace::Budgets(after) => self.page_of_budgets(after.as_ref()).await?,
            ExportPlace::Reservations(after) => self.page_of_reservations(after.as_ref()).await?,
        };
        Ok(ExportPage { records, next: behind.or_else(|| from.next_kind(&query)) })
    }

    async fn page_of_tasks(&self, query: &ExportQuery, after: u64) -> Result<Page, StoreError> {
        let text = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let call = self
            .call(&script::EXPORT)
            .arg(query.tenant.as_ref().map_or("", Tenant::as_str))
            .arg(text(query.status.map(|status| status as u64)))
            .arg(text(query.since.map(|at| at.0)))
            .arg(text(query.until.map(|at| at.0)))
            .arg(after)
            .arg(PAGE_RECORDS)
            .arg(PAGE_BYTES)
            .arg(LOOKED_AT)
            .each(query.ids.iter(), |call, id| call.arg(id.as_str()));
        let mut reply = self.run(call, Again::Yes).await?;
        let mut rows = reply.list()?;
        let mut records = Vec::new();
        while !rows.is_empty() {
            records.push(Record::Task(Box::new(read_task(rows.list()?)?)));
        }
        let behind = reply.maybe()?.and_then(|place| place.parse().ok());
        Ok((records, behind.map(ExportPlace::Tasks)))
    }

    async fn page_of_context(
        &self,
        query: &ExportQuery,
        after: Option<&(Tenant, Arc<str>)>,
    ) -> Result<Page, StoreError> {
        let after = after.map(|(tenant, field)| format!("{tenant}\n{field}"));
        let (first, last) = match &query.tenant {
            // A line end comes before whatever a name holds.
            Some(tenant) => (format!("[{tenant}\n"), format!("({tenant}\u{b}")),
            None => ("-".to_owned(), "+".to_owned()),
        };
        let names = self.names("fields", after.map_or(first, |after| format!("({after}")), last).await?;
        let pairs: Vec<(&str, &str)> = names.iter().filter_map(|name| name.split_once('\n')).collect();
        let mut values = pipe();
        for (tenant, field) in &pairs {
            values.cmd("HMGET").arg(self.key(&format!("context:{tenant}"))).arg(field);
        }
        let answers = if pairs.is_empty() { Vec::new() } else { self.link.ask_all(&values).await? };
        let mut records = Vec::new();
        for ((tenant, field), value) in pairs.iter().zip(answers) {
            // Removed meanwhile.
            let Some(value) = Reply::of(value)?.maybe()? else { continue };
            let (tenant, field) = (Tenant::trusted(*tenant), Arc::from(*field));
            records.push(Record::Context(ContextRecord { tenant, field, value: super::reply::json(value)? }));
        }
        let last = pairs.last().map(|(tenant, field)| (Tenant::trusted(*tenant), Arc::from(*field)));
        Ok((records, last.map(|last| ExportPlace::Context(Some(last)))))
    }

    async fn page_of_budgets(&self, after: Option<&Scope>) -> Result<Page, StoreError> {
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let scopes = self.names("budgets", first, "+".to_owned()).await?;
        let rows = self.rows("budget", &scopes, &["lt", "lm", "st", "sm", "rt", "rm"]).await?;
        let mut records = Vec::new();
        for (scope, mut row) in rows {
            let (scope, balance) = (Scope::trusted(scope), read_balance(&mut row)?);
            records.push(Record::Budget(BudgetRecord { scope, balance }));
        }
        Ok((records, scopes.last().map(|scope| ExportPlace::Budgets(Some(Scope::trusted(scope.as_str()))))))
    }

    async fn page_of_reservations(&self, after: Option<&CallId>) -> Result<Page, StoreError> {
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let calls = self.names("calls", first, "+".to_owned()).await?;
        let rows = self.rows("call", &calls, &["scopes", "tokens", "money", "expires", "stand"]).await?;
        let mut records = Vec::new();
        for (call, mut row) in rows {
            let (call, reserved) = (CallId::trusted(call), read_reserved(&mut row)?);
            records.push(Record::Reservation(ReservationRecord { call, reserved }));
        }
        Ok((records, calls.last().map(|call| ExportPlace::Reservations(Some(CallId::trusted(call.as_str()))))))
    }

    /// A page of names in their order.
    async fn names(&self, set: &str, first: String, last: String) -> Result<Vec<String>, StoreError> {
        let mut command = cmd("ZRANGEBYLEX");
        command.arg(self.key(set)).arg(first).arg(last).arg("LIMIT").arg(0).arg(PAGE_RECORDS);
        let mut reply = Reply::of(self.link.ask(&command, Again::Yes).await?)?;
        let mut names = Vec::new();
        while !reply.is_empty() {
            names.push(reply.text()?);
        }
        Ok(names)
    }

    /// Some fields of the hashes with these names, as far as they are still there.
    async fn rows(&self, kind: &str, names: &[String], fields: &[&str]) -> Result<Vec<(String, Reply)>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = pipe();
        for name in names {
            all.cmd("HMGET").arg(self.key(&format!("{kind}:{name}"))).arg(fields);
        }
        let mut rows = Vec::new();
        for (name, answer) in names.iter().zip(self.link.ask_all(&all).await?) {
            let row = Reply::of(answer)?;
            if row.is_there() {
                rows.push((name.clone(), row));
            }
        }
        Ok(rows)
    }
}

fn read_task(mut row: Reply) -> Result<TaskRecord, StoreError> {
    let id = TaskId::trusted(row.text()?);
    let key = TaskKey { tenant: Tenant::trusted(row.text()?), id };
    let (schema, kinds, digest, name, state) = (row.number()?, row.text()?, row.text()?, row.text()?, row.text()?);
    let state = Arc::new(read_state(&key, schema, &kinds, &state)?);
    let (mut texts, mut named, mut traced) = (row.list()?, row.list()?, row.list()?);
    let mut events = Vec::new();
    while !texts.is_empty() {
        events.push(read_event(&key, &texts.text()?)?);
    }
    let mut payloads: Vec<(Arc<str>, Json)> = Vec::new();
    while !named.is_empty() {
        payloads.push((named.text()?.into(), named.json()?));
    }
    payloads.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut traces = Vec::new();
    while !traced.is_empty() {
        let mut of_agent = traced.list()?;
        let (agent, mut texts) = (AgentId::trusted(of_agent.text()?), of_agent.list()?);
        let mut steps = Vec::new();
        while !texts.is_empty() {
            steps.push(texts.json()?);
        }
        traces.push((agent, steps));
    }
    traces.sort_by(|(one, _), (other, _)| one.cmp(other));
    let idempotency_key = (!name.is_empty()).then(|| IdempotencyKey::trusted(name));
    let submission = digest_of(&digest).map(|digest| KeptSubmission { digest, idempotency_key });
    Ok(TaskRecord { state, events, payloads, submission, traces })
}

// === In ===

impl RedisStore {
    pub(super) async fn import_now(&self, record: Record, dry_run: bool) -> Result<Imported, StoreError> {
        let value = |kind: &str| self.call(&script::IMPORT_VALUE).arg(kind).arg(u8::from(dry_run));
        let call = match &record {
            Record::Task(task) => return self.import_task(task, dry_run).await,
            Record::Context(ContextRecord { tenant, field, value: new }) => {
                value("context").arg(tenant.as_str()).arg(&**field).arg(new.text())
            }
            Record::Budget(BudgetRecord { scope, balance }) => {
                let Balance { limit, spent, reserved } = *balance;
                let [tokens, money] = limit_text(limit);
                let call = value("budget").arg(scope.as_str()).arg(tokens).arg(money);
                call.arg(spent.tokens).arg(spent.micro_usd).arg(reserved.tokens).arg(reserved.micro_usd)
            }
            Record::Reservation(ReservationRecord { call, reserved }) => {
                let upper = reserved.upper;
                let call = value("reservation").arg(call.as_str()).arg(scopes_text(reserved));
                let call = call.arg(upper.tokens).arg(upper.micro_usd).arg(reserved.expires.0);
                call.arg(stand_text(reserved.stand))
            }
        };
        Ok(match self.run(call, Again::Yes).await?.text()?.as_str() {
            "written" => Imported::Written,
            "same" => Imported::AlreadyThere,
            _ => Imported::Refused(Differs::Value),
        })
    }

    async fn import_task(&self, record: &TaskRecord, dry_run: bool) -> Result<Imported, StoreError> {
        let task = &record.state;
        let digest = record.submission.as_ref().map_or_else(String::new, |kept| kept.digest.hex());
        let name = record.submission.as_ref().and_then(|kept| kept.idempotency_key.as_ref());
        let call = self
            .call(&script::IMPORT_TASK)
            .arg(task.key.id.as_str())
            .arg(task.key.tenant.as_str())
            .arg(u8::from(dry_run))
            .arg(digest)
            .arg(name.map_or("", |name| name.as_str()));
        let effects = standing(task);
        // What happened elsewhere is not told in the predecessor's names; what happens here is.
        let names = noted(&self.options, task, &[], &[]).names;
        let noted = Noted { names, seconds: 1, notes: Vec::new() };
        let (events, payloads) = (&record.events, &record.payloads);
        let body = Body { task, is_first: true, events, payloads, effects: &effects, noted: &noted };
        let call = body.put(call)?.each(record.traces.iter(), |call, (agent, steps)| {
            call.arg(agent.as_str()).each(steps.iter(), |call, step| call.arg(step.text()))
        });
        let mut reply = self.run(call, Again::Yes).await?;
        self.open.store(reply.number()?, Ordering::Relaxed);
        match reply.text()?.as_str() {
            "written" => {
                if !dry_run {
                    self.watchers.wake_to(&task.key, Woken::at(task));
                }
                Ok(Imported::Written)
            }
            "name" => Ok(Imported::Refused(Differs::IdempotencyKey)),
            _ => {
                let known = TaskKey { tenant: Tenant::trusted(reply.text()?), id: task.key.id.clone() };
                let events = self.log_of(&known).await?;
                let judged = record.judged(Some((&known, &events)), None);
                Ok(judged.unwrap_or(Imported::Refused(Differs::Task)))
            }
        }
    }

    async fn log_of(&self, key: &TaskKey) -> Result<Vec<Event>, StoreError> {
        let call = self.call(&script::EVENTS).arg(key.id.as_str()).arg(key.tenant.as_str()).arg(0).arg(i64::MAX);
        let mut reply = self.run(call, Again::Yes).await?;
        let Some(schema) = reply.maybe()? else { return Ok(Vec::new()) };
        check_readable(key, schema.parse().unwrap_or(u16::MAX), "")?;
        let mut texts = reply.list()?;
        let mut events = Vec::new();
        while !texts.is_empty() {
            events.push(read_event(key, &texts.text()?)?);
        }
        Ok(events)
    }
}

/// All that stands in a state, as if it came in one change.
fn standing(task: &Task) -> Effects {
    Effects { enqueue: queue_entries(task), set: timers(task), lease: leases(task), ..Effects::default() }
}
