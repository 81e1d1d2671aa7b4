//! Tasks out of the database and into it, as records. Each page is read in one transaction, so each of its tasks is whole;
//! each record is written in one of the writer's.

use super::error::Fault;
use super::fold::{COLUMNS, Stored};
use super::schema::{bits, has_place, place, read_events, sized, status_number, unbits};
use super::shared::Shared;
use super::shelf::{read_balance, read_reserved};
use super::writer::{Desk, Work};
use crate::store::ledger::Shelf;
use crate::store::transfer::{
    BudgetRecord, ContextRecord, ExportPage, ExportPlace, ExportQuery, Imported, KeptSubmission, PAGE_BYTES,
    PAGE_RECORDS, Record, ReservationRecord, TaskRecord, judged_value,
};
use crate::store::{Balance, StoreError, Woken};
use crate::task::{AgentId, At, CallId, Digest, Event, IdempotencyKey, Json, Scope, TaskId, TaskKey, Tenant};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many events of an imported task are written in one row.
const EVENTS_PER_ROW: usize = 64;

// === Out ===

/// One page.
pub(super) fn export(conn: &Connection, query: &ExportQuery, from: &ExportPlace) -> Result<ExportPage, Fault> {
    // Ends unwritten when it is dropped.
    let _moment = conn.unchecked_transaction()?;
    let (records, behind) = match from {
        ExportPlace::Tasks(after) => tasks(conn, query, *after)?,
        ExportPlace::Context(after) => context(conn, query, after.as_ref())?,
        ExportPlace::Budgets(after) => budgets(conn, after.as_ref())?,
        ExportPlace::Reservations(after) => reservations(conn, after.as_ref())?,
    };
    Ok(ExportPage { records, next: behind.or_else(|| from.next_kind(query)) })
}

type Page = (Vec<Record>, Option<ExportPlace>);

fn tasks(conn: &Connection, query: &ExportQuery, after: u64) -> Result<Page, Fault> {
    let mut conditions = vec!["ordinal > :after"];
    let after = sized(after);
    let mut params: Vec<(&str, &dyn ToSql)> = vec![(":after", &after)];
    let tenant = query.tenant.as_ref().map(Tenant::as_str);
    let ids = serde_json::json!(query.ids).to_string();
    let status = query.status.map(status_number);
    let (since, until) = (query.since.map(|at| sized(at.0)), query.until.map(|at| sized(at.0)));
    for (is_asked, condition, name, value) in [
        (tenant.is_some(), "tenant = :tenant", ":tenant", &tenant as &dyn ToSql),
        (!query.ids.is_empty(), "id IN (SELECT value FROM json_each(:ids))", ":ids", &ids),
        (status.is_some(), "status = :status", ":status", &status),
        (since.is_some(), "accepted_at >= :since", ":since", &since),
        (until.is_some(), "accepted_at < :until", ":until", &until),
    ] {
        if is_asked {
            conditions.push(condition);
            params.push((name, value));
        }
    }
    let sql = format!(
        "SELECT tenant, id, digest, {COLUMNS} FROM tasks WHERE {} ORDER BY ordinal LIMIT {PAGE_RECORDS}",
        conditions.join(" AND ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(&params[..])?;
    let (mut records, mut bytes, mut behind) = (Vec::new(), 0, None);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let (record, size) = task(conn, row)?;
        records.push(Record::Task(Box::new(record)));
        bytes += size;
        behind = Some(ExportPlace::Tasks(unbits(row.get(3)?)));
    }
    Ok((records, behind))
}

/// A task with all that belongs to it, and how many bytes of text that is.
fn task(conn: &Connection, row: &Row<'_>) -> Result<(TaskRecord, usize), Fault> {
    let key = TaskKey {
        tenant: Tenant::trusted(row.get::<_, Arc<str>>(0)?),
        id: TaskId::trusted(row.get::<_, Arc<str>>(1)?),
    };
    let digest = row.get::<_, Option<[u8; 32]>>(2)?.map(Digest);
    let stored = Stored::read(row, 3)?;
    let ordinal = stored.ordinal;
    // Events of kinds that this program does not know are found as the log is read.
    let state = Arc::new(stored.task(conn, &key, false)?);
    let mut size = 0;

    let mut statement = conn.prepare_cached("SELECT name FROM submissions WHERE task = ?1")?;
    let name = statement.query_row([ordinal], |row| row.get::<_, Arc<str>>(0)).optional()?;
    let submission = digest.map(|digest| KeptSubmission { digest, idempotency_key: name.map(IdempotencyKey::trusted) });

    let mut statement = conn.prepare_cached("SELECT name, value FROM payloads WHERE task = ?1 ORDER BY name")?;
    let mut rows = statement.query([ordinal])?;
    let mut payloads = Vec::new();
    while let Some(row) = rows.next()? {
        let value = json(row.get(1)?)?;
        size += value.bytes();
        payloads.push((row.get::<_, Arc<str>>(0)?, value));
    }
    let (events, logged) = log(conn, &key, ordinal)?;
    Ok((TaskRecord { state, events, payloads, submission, traces: traces(conn, &key)? }, size + logged))
}

fn log(conn: &Connection, key: &TaskKey, ordinal: i64) -> Result<(Vec<Event>, usize), Fault> {
    let mut statement =
        conn.prepare_cached("SELECT events FROM commits WHERE place >= ?1 AND place < ?2 ORDER BY place")?;
    let mut rows = statement.query((place(ordinal, 0), place(ordinal + 1, 0)))?;
    let (mut events, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        size += text.len();
        events.extend(read_events(key, text)?);
    }
    Ok((events, size))
}

fn traces(conn: &Connection, key: &TaskKey) -> Result<Vec<(AgentId, Vec<Json>)>, Fault> {
    let mut statement =
        conn.prepare_cached("SELECT agent, value FROM traces WHERE tenant = ?1 AND task = ?2 ORDER BY agent, step")?;
    let mut rows = statement.query([key.tenant.as_str(), key.id.as_str()])?;
    let mut traces: Vec<(AgentId, Vec<Json>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (agent, step) = (AgentId::trusted(row.get::<_, Arc<str>>(0)?), json(row.get(1)?)?);
        match traces.last_mut() {
            Some((last, steps)) if *last == agent => steps.push(step),
            _ => traces.push((agent, vec![step])),
        }
    }
    Ok(traces)
}

fn context(conn: &Connection, query: &ExportQuery, after: Option<&(Tenant, Arc<str>)>) -> Result<Page, Fault> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT tenant, field, value FROM context WHERE (tenant, field) > (?1, ?2) AND (?3 IS NULL OR tenant = ?3)
             ORDER BY tenant, field LIMIT {PAGE_RECORDS}"
    ))?;
    // Nothing goes by an empty name.
    let (tenant, field) = after.map_or(("", ""), |(tenant, field)| (tenant.as_str(), field.as_ref()));
    let only = query.tenant.as_ref().map(Tenant::as_str);
    let mut rows = statement.query((tenant, field, only))?;
    let (mut records, mut behind) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let tenant = Tenant::trusted(row.get::<_, Arc<str>>(0)?);
        let field: Arc<str> = row.get(1)?;
        behind = Some(ExportPlace::Context(Some((tenant.clone(), field.clone()))));
        records.push(Record::Context(ContextRecord { tenant, field, value: json(row.get(2)?)? }));
    }
    Ok((records, behind))
}

fn budgets(conn: &Connection, after: Option<&Scope>) -> Result<Page, Fault> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT limit_tokens, limit_micro_usd, spent_tokens, spent_micro_usd, reserved_tokens, reserved_micro_usd,
                scope FROM budgets WHERE scope > ?1 ORDER BY scope LIMIT {PAGE_RECORDS}"
    ))?;
    let mut rows = statement.query([after.map_or("", Scope::as_str)])?;
    let (mut records, mut behind) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let scope = Scope::trusted(row.get::<_, Arc<str>>(6)?);
        behind = Some(ExportPlace::Budgets(Some(scope.clone())));
        records.push(Record::Budget(BudgetRecord { scope, balance: read_balance(row)? }));
    }
    Ok((records, behind))
}

fn reservations(conn: &Connection, after: Option<&CallId>) -> Result<Page, Fault> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT scopes, tokens, micro_usd, expires, stand, call FROM reservations WHERE call > ?1
             ORDER BY call LIMIT {PAGE_RECORDS}"
    ))?;
    let mut rows = statement.query([after.map_or("", CallId::as_str)])?;
    let (mut records, mut behind) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let call = CallId::trusted(row.get::<_, Arc<str>>(5)?);
        behind = Some(ExportPlace::Reservations(Some(call.clone())));
        records.push(Record::Reservation(ReservationRecord { reserved: read_reserved(&call, row)?, call }));
    }
    Ok((records, behind))
}

fn json(text: String) -> Result<Json, Fault> {
    let damaged = |error| StoreError::Corrupt(format!("a stored value is not JSON ({error})").into());
    Ok(Json::from_text(text).map_err(damaged)?)
}

// === In ===

/// A record to import, with somebody who waits to hear what became of it.
pub(super) struct ImportWork {
    record: Record,
    dry_run: bool,
    imported: Option<Imported>,
    reply: oneshot::Sender<Result<Imported, StoreError>>,
}

impl ImportWork {
    pub fn new(record: Record, dry_run: bool, reply: oneshot::Sender<Result<Imported, StoreError>>) -> Self {
        Self { record, dry_run, imported: None, reply }
    }
}

impl Work for ImportWork {
    fn must_sync(&self) -> bool {
        !self.dry_run
    }

    fn write(&mut self, desk: &mut Desk<'_>) -> Result<(), Fault> {
        let known = match &self.record {
            Record::Task(task) => judge(task, desk)?,
            Record::Context(context) => judged_value(shared_context(context, desk)?, &context.value),
            Record::Budget(budget) => {
                let there = Some(desk.balance(&budget.scope)?).filter(|balance| *balance != Balance::default());
                judged_value(there, &budget.balance)
            }
            Record::Reservation(reservation) => judged_value(desk.call(&reservation.call)?, &reservation.reserved),
        };
        self.imported = Some(match known {
            Some(known) => known,
            None if self.dry_run => Imported::Written,
            None => {
                write(&self.record, desk)?;
                Imported::Written
            }
        });
        Ok(())
    }

    fn over(self: Box<Self>, shared: &Shared, now: At, outcome: Result<(), StoreError>) {
        let Self { record, dry_run, imported, reply } = *self;
        let missing = || StoreError::Unavailable("the writer did not come to it".into());
        let answer = outcome.and_then(|()| imported.ok_or_else(missing));
        if let (Record::Task(task), Ok(Imported::Written), false) = (&record, &answer, dry_run) {
            // Whoever held its attempts did so in another process.
            shared.index.lock().place(&task.state, |_| now);
            shared.kinds.lock().extend(task.events.iter().map(|event| event.kind.name()));
            shared.watchers.wake(&task.state.key, Woken::at(&task.state));
        }
        // Whoever asked may have stopped waiting.
        let _ = reply.send(answer);
    }
}

fn judge(task: &TaskRecord, desk: &Desk<'_>) -> Result<Option<Imported>, Fault> {
    let key = &task.state.key;
    if !has_place(task.state.version) {
        let what = format!("task {key} has more events than a task may have");
        return Err(StoreError::Corrupt(what.into()).into());
    }
    let mut statement = desk.statement("SELECT ordinal, tenant FROM tasks WHERE id = ?1")?;
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, Tenant::trusted(row.get::<_, Arc<str>>(1)?)));
    let by_id = statement.query_row([key.id.as_str()], row).optional()?;
    let by_id = match by_id {
        None => None,
        Some((ordinal, tenant)) => {
            let known = TaskKey { tenant, id: key.id.clone() };
            let (events, _) = log(desk.connection(), &known, ordinal)?;
            Some((known, events))
        }
    };
    let name = task.submission.as_ref().and_then(|submission| submission.idempotency_key.as_ref());
    let by_name = match name {
        None => None,
        Some(name) => {
            let mut statement = desk.statement(
                "SELECT tasks.id FROM submissions JOIN tasks ON tasks.ordinal = submissions.task
                 WHERE submissions.tenant = ?1 AND submissions.name = ?2",
            )?;
            let of = (key.tenant.as_str(), name.as_str());
            statement.query_row(of, |row| row.get::<_, Arc<str>>(0)).optional()?
        }
    };
    let by_name = by_name.map(|id| TaskKey { tenant: key.tenant.clone(), id: TaskId::trusted(id) });
    Ok(task.judged(by_id.as_ref().map(|(known, events)| (known, events.as_slice())), by_name.as_ref()))
}

fn shared_context(context: &ContextRecord, desk: &Desk<'_>) -> Result<Option<Json>, Fault> {
    let mut statement = desk.statement("SELECT value FROM context WHERE tenant = ?1 AND field = ?2")?;
    let found = statement.query_row((context.tenant.as_str(), &context.field), |row| row.get::<_, String>(0));
    found.optional()?.map(json).transpose()
}

fn write(record: &Record, desk: &mut Desk<'_>) -> Result<(), Fault> {
    match record {
        Record::Task(task) => write_task(task, desk),
        Record::Context(ContextRecord { tenant, field, value }) => {
            desk.run("INSERT INTO context VALUES (?1, ?2, ?3)", (tenant.as_str(), field, value.text()))?;
            Ok(())
        }
        Record::Budget(BudgetRecord { scope, balance }) => desk.set_balance(scope, *balance),
        Record::Reservation(ReservationRecord { call, reserved }) => desk.set_call(call, Some(reserved.clone())),
    }
}

fn write_task(record: &TaskRecord, desk: &mut Desk<'_>) -> Result<(), Fault> {
    let task = &record.state;
    let key = &task.key;
    let unwritable = |error: serde_json::Error| {
        StoreError::Corrupt(format!("task {key} has no stored form ({error}); it was not written").into())
    };
    // Everything that may fail for reasons of its own comes before the first row.
    let state = serde_json::to_string(task.as_ref()).map_err(unwritable)?;
    let rows: Vec<(u64, String)> = record
        .events
        .chunks(EVENTS_PER_ROW)
        .filter_map(|events| Some((events.first()?.seq, serde_json::to_string(events))))
        .map(|(first, text)| Ok((first, text.map_err(unwritable)?)))
        .collect::<Result<_, StoreError>>()?;
    let status = task.status();
    desk.run(
        "INSERT INTO tasks
            (id, tenant, version, schema, status, priority, accepted_at, updated_at, digest, summary, folded, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?3, ?11)",
        (
            key.id.as_str(),
            key.tenant.as_str(),
            bits(task.version),
            task.schema,
            status_number(status),
            task.options.priority as i64,
            sized(task.accepted_at.0),
            sized(task.updated_at.0),
            record.submission.as_ref().map(|submission| submission.digest.0),
            &task.summary,
            &state,
        ),
    )?;
    let ordinal = desk.last_row();
    for (first, events) in &rows {
        let row = (place(ordinal, *first), "imported", events);
        desk.run("INSERT INTO commits (place, id, events) VALUES (?1, ?2, ?3)", row)?;
    }
    if let Some(name) = record.submission.as_ref().and_then(|submission| submission.idempotency_key.as_ref()) {
        let row = (key.tenant.as_str(), name.as_str(), ordinal);
        desk.run("INSERT INTO submissions (tenant, name, task) VALUES (?1, ?2, ?3)", row)?;
    }
    for (name, value) in &record.payloads {
        let row = (ordinal, name, value.text());
        desk.run("INSERT OR REPLACE INTO payloads (task, name, value) VALUES (?1, ?2, ?3)", row)?;
    }
    for (agent, steps) in &record.traces {
        for step in steps {
            let row = (key.tenant.as_str(), key.id.as_str(), agent.as_str(), step.text());
            desk.run("INSERT INTO traces (tenant, task, agent, value) VALUES (?1, ?2, ?3, ?4)", row)?;
        }
    }
    for event in &record.events {
        let kind = event.kind.name();
        if !desk.shared.kinds.lock().contains(kind) {
            desk.run("INSERT OR IGNORE INTO kinds (name) VALUES (?1)", [kind])?;
        }
    }
    desk.open += u64::from(!status.ended());
    Ok(())
}
