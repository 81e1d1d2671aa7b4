//! The threads that read, each on a connection of its own, so that no caller's thread waits for the disk. They see what
//! is committed and change nothing.

use super::error::Fault;
use super::fold::{COLUMNS, Stored};
use super::schema::{newer, place, priority_of, read_events, sized, status_number, status_of, unbits};
use crate::store::{ListPage, ListQuery, Listed, StoreError};
use crate::task::{AgentId, At, Event, Json, Task, TaskId, TaskKey, Tenant};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, ToSql};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Something to read; it answers by itself.
pub(super) type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Starts reader threads.
pub(super) fn start(
    path: &Path,
    threads: usize,
    queue: usize,
) -> Result<(mpsc::Sender<Query>, Vec<JoinHandle<()>>), Fault> {
    let (sender, receiver) = mpsc::channel(queue);
    let receiver = Arc::new(Mutex::new(receiver));
    let mut handles = Vec::with_capacity(threads);
    for number in 1..=threads {
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.set_prepared_statement_cache_capacity(32);
        conn.busy_timeout(std::time::Duration::from_secs(2))?;
        let receiver = receiver.clone();
        let named = std::thread::Builder::new().name(format!("store-reader-{number}"));
        handles.push(named.spawn(move || run(&conn, &receiver))?);
    }
    Ok((sender, handles))
}

fn run(conn: &Connection, queries: &Mutex<mpsc::Receiver<Query>>) {
    loop {
        // One reader waits for the next query and the others wait for it.
        let Some(query) = queries.lock().blocking_recv() else { return };
        // Whoever asked sees its answer's channel closed.
        if catch_unwind(AssertUnwindSafe(|| query(conn))).is_err() {
            tracing::error!("a query panicked; its caller is told, the reader goes on");
        }
    }
}

// === What is read ===

/// A task's folded state.
pub(super) fn load(conn: &Connection, key: &TaskKey, strange: bool) -> Result<Option<Arc<Task>>, Fault> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1 AND tenant = ?2"))?;
    let mut rows = statement.query([key.id.as_str(), key.tenant.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Arc::new(Stored::read(row, 0)?.task(conn, key, strange)?)))
}

/// A task's events above a number.
pub(super) fn events(conn: &Connection, key: &TaskKey, after: u64, limit: usize) -> Result<Option<Vec<Event>>, Fault> {
    let Some((ordinal, schema)) = find(conn, key)? else { return Ok(None) };
    if schema > i64::from(crate::task::SCHEMA) {
        return Err(newer(key).into());
    }
    // The row that holds the first event wanted may begin before it.
    let mut statement = conn.prepare_cached(
        "SELECT events FROM commits WHERE place < ?2 AND place >= coalesce(
            (SELECT place FROM commits WHERE place BETWEEN ?1 AND ?3 ORDER BY place DESC LIMIT 1), ?1)
         ORDER BY place",
    )?;
    let from = place(ordinal, after.saturating_add(1));
    let mut rows = statement.query((place(ordinal, 0), place(ordinal + 1, 0), from))?;
    let mut events = Vec::new();
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        let of_one_commit = read_events(key, text(row, 0)?)?;
        let room = limit - events.len();
        events.extend(of_one_commit.into_iter().filter(|event| event.seq > after).take(room));
    }
    Ok(Some(events))
}

/// A payload beside a task.
pub(super) fn payload(conn: &Connection, key: &TaskKey, name: &str) -> Result<Option<Json>, Fault> {
    let mut statement = conn.prepare_cached(
        "SELECT value FROM payloads WHERE name = ?3
         AND task = (SELECT ordinal FROM tasks WHERE id = ?1 AND tenant = ?2)",
    )?;
    let found = statement.query_row([key.id.as_str(), key.tenant.as_str(), name], |row| row.get::<_, String>(0));
    found.optional()?.map(json).transpose()
}

/// One page of tasks; every way of asking has an index in the order of the page.
pub(super) fn list(conn: &Connection, query: &ListQuery) -> Result<ListPage, Fault> {
    let mut conditions = vec!["ordinal < :before"];
    let before = sized(query.before.unwrap_or(u64::MAX));
    // One more than asked for tells whether there is a next page.
    let limit = sized(query.limit as u64).saturating_add(1);
    let mut params: Vec<(&str, &dyn ToSql)> = vec![(":before", &before), (":limit", &limit)];
    let tenant = query.tenant.as_ref().map(Tenant::as_str);
    if tenant.is_some() {
        conditions.push("tenant = :tenant");
        params.push((":tenant", &tenant));
    }
    let status = query.status.map(status_number);
    if status.is_some() {
        conditions.push("status = :status");
        params.push((":status", &status));
    }
    let sql = format!(
        "SELECT ordinal, id, tenant, status, priority, accepted_at, updated_at, summary FROM tasks WHERE {}
         ORDER BY ordinal DESC LIMIT :limit",
        conditions.join(" AND ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(&params[..], listed)?;
    let mut tasks: Vec<Listed> = rows.collect::<rusqlite::Result<_>>()?;
    let more = tasks.len() > query.limit;
    tasks.truncate(query.limit);
    let next = tasks.last().map(|listed| listed.place).filter(|_| more);
    Ok(ListPage { tasks, next })
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let number: i64 = row.get(3)?;
    let status = status_of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(3, number))?;
    Ok(Listed {
        place: unbits(row.get(0)?),
        key: TaskKey {
            id: TaskId::trusted(row.get::<_, Arc<str>>(1)?),
            tenant: Tenant::trusted(row.get::<_, Arc<str>>(2)?),
        },
        status,
        priority: priority_of(row.get(4)?),
        accepted_at: At(unbits(row.get(5)?)),
        updated_at: At(unbits(row.get(6)?)),
        summary: row.get(7)?,
    })
}

/// A tenant's shared context.
pub(super) fn context(conn: &Connection, tenant: &Tenant) -> Result<Vec<(Arc<str>, Json)>, Fault> {
    let mut statement = conn.prepare_cached("SELECT field, value FROM context WHERE tenant = ?1 ORDER BY field")?;
    let rows = statement.query_map([tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.map(|row| row.map_err(Fault::from).and_then(|(field, value)| Ok((field, json(value)?)))).collect()
}

/// An agent's reasoning in a task.
pub(super) fn trace(conn: &Connection, key: &TaskKey, agent: &AgentId) -> Result<Vec<Json>, Fault> {
    let mut statement =
        conn.prepare_cached("SELECT value FROM traces WHERE tenant = ?1 AND task = ?2 AND agent = ?3 ORDER BY step")?;
    let whose = [key.tenant.as_str(), key.id.as_str(), agent.as_str()];
    let rows = statement.query_map(whose, |row| row.get(0))?;
    rows.map(|row| row.map_err(Fault::from).and_then(json)).collect()
}

/// The key of the task with this id.
pub(super) fn key_of(conn: &Connection, id: &TaskId) -> Result<Option<TaskKey>, Fault> {
    let mut statement = conn.prepare_cached("SELECT tenant FROM tasks WHERE id = ?1")?;
    let tenant = statement.query_row([id.as_str()], |row| row.get::<_, String>(0)).optional()?;
    Ok(tenant.map(|tenant| TaskKey { tenant: Tenant::trusted(tenant), id: id.clone() }))
}

fn find(conn: &Connection, key: &TaskKey) -> Result<Option<(i64, i64)>, Fault> {
    let mut statement = conn.prepare_cached("SELECT ordinal, schema FROM tasks WHERE id = ?1 AND tenant = ?2")?;
    let found = statement.query_row([key.id.as_str(), key.tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, Fault> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn json(text: String) -> Result<Json, Fault> {
    let damaged = |error| StoreError::Corrupt(format!("a stored value is not JSON ({error})").into());
    Ok(Json::from_text(text).map_err(damaged)?)
}
