//! Removing finished tasks from the database: found on a reader's thread, removed in the writer's transactions, and the
//! room that they leave given back to the disk once much of the file is empty.

use super::error::Fault;
use super::schema::{place, sized};
use super::shared::Shared;
use super::writer::{Desk, Work};
use crate::store::transfer::own_scope;
use crate::store::{RetentionQuery, StoreError};
use crate::task::{At, TaskId, TaskKey, Tenant};
use rusqlite::{Connection, OptionalExtension, named_params};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The share of the file, one in so many pages, that stays empty for tasks to come.
const SPARE: i64 = 8;
/// The most pages that are given back after one batch: moving them takes the writer's time.
const PAGES_GIVEN_BACK: i64 = 256;

/// A finished task's place: when it ended, and its ordinal.
pub(super) type Place = (i64, i64);

/// The last of the tasks that a query means; none when it means none.
fn last(conn: &Connection, query: &RetentionQuery) -> Result<Option<Place>, Fault> {
    let late = query.ended_before.and_then(|before| Some((sized(before.0.checked_sub(1)?), i64::MAX)));
    let Some(keep) = query.keep else { return Ok(late) };
    let mut statement = conn.prepare_cached(
        "SELECT updated_at, ordinal FROM tasks INDEXED BY tasks_ended
         WHERE status >= 3 AND (:tenant IS NULL OR tenant = :tenant)
         ORDER BY updated_at DESC, ordinal DESC LIMIT 1 OFFSET :keep",
    )?;
    let tenant = query.tenant.as_ref().map(Tenant::as_str);
    let params = named_params! {":tenant": tenant, ":keep": sized(keep)};
    let beyond = statement.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(beyond.max(late))
}

/// How many tasks a query means.
pub(super) fn count(conn: &Connection, query: &RetentionQuery) -> Result<u64, Fault> {
    let Some((at, ordinal)) = last(conn, query)? else { return Ok(0) };
    let mut statement = conn.prepare_cached(
        "SELECT count(*) FROM tasks INDEXED BY tasks_ended
         WHERE status >= 3 AND (updated_at, ordinal) <= (:at, :ordinal) AND (:tenant IS NULL OR tenant = :tenant)",
    )?;
    let tenant = query.tenant.as_ref().map(Tenant::as_str);
    let params = named_params! {":at": at, ":ordinal": ordinal, ":tenant": tenant};
    Ok(statement.query_row(params, |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// The tasks that a query means, those that ended first before the others.
pub(super) fn meant(conn: &Connection, query: &RetentionQuery, limit: usize) -> Result<Vec<Place>, Fault> {
    let Some((at, ordinal)) = last(conn, query)? else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT updated_at, ordinal FROM tasks INDEXED BY tasks_ended
         WHERE status >= 3 AND (updated_at, ordinal) <= (:at, :ordinal) AND (:tenant IS NULL OR tenant = :tenant)
         ORDER BY updated_at, ordinal LIMIT :limit",
    )?;
    let tenant = query.tenant.as_ref().map(Tenant::as_str);
    let params = named_params! {":at": at, ":ordinal": ordinal, ":tenant": tenant, ":limit": sized(limit as u64)};
    let rows = statement.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Tasks to remove, with somebody who waits to hear how many are gone.
pub(super) struct RemovalWork {
    meant: Vec<Place>,
    gone: Vec<TaskKey>,
    reply: oneshot::Sender<Result<u64, StoreError>>,
}

impl RemovalWork {
    pub fn new(meant: Vec<Place>, reply: oneshot::Sender<Result<u64, StoreError>>) -> Self {
        Self { meant, gone: Vec::new(), reply }
    }
}

impl Work for RemovalWork {
    fn write(&mut self, desk: &mut Desk<'_>) -> Result<(), Fault> {
        for place in std::mem::take(&mut self.meant) {
            self.gone.extend(remove(desk, place)?);
        }
        if !self.gone.is_empty() {
            give_back(desk.connection())?;
        }
        Ok(())
    }

    fn over(self: Box<Self>, shared: &Shared, _: At, outcome: Result<(), StoreError>) {
        if outcome.is_ok() {
            let mut recent = shared.recent.lock();
            for key in &self.gone {
                recent.pop(key);
            }
            drop(recent);
            for key in &self.gone {
                shared.watchers.close(key);
            }
        }
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(outcome.map(|()| self.gone.len() as u64));
    }
}

/// Removes one task, unless it is another by now: an ordinal may be given again once its task is gone.
fn remove(desk: &Desk<'_>, (ended_at, ordinal): Place) -> Result<Option<TaskKey>, Fault> {
    let mut statement = desk
        .statement("DELETE FROM tasks WHERE ordinal = ?1 AND status >= 3 AND updated_at = ?2 RETURNING tenant, id")?;
    let key = statement.query_row((ordinal, ended_at), |row| {
        Ok(TaskKey {
            tenant: Tenant::trusted(row.get::<_, Arc<str>>(0)?),
            id: TaskId::trusted(row.get::<_, Arc<str>>(1)?),
        })
    });
    let Some(key) = key.optional()? else { return Ok(None) };
    let rows = (place(ordinal, 0), place(ordinal + 1, 0));
    desk.run("DELETE FROM commits WHERE place >= ?1 AND place < ?2", rows)?;
    desk.run("DELETE FROM payloads WHERE task = ?1", [ordinal])?;
    desk.run("DELETE FROM submissions WHERE task = ?1", [ordinal])?;
    desk.run("DELETE FROM accepted_leases WHERE task = ?1", [ordinal])?;
    desk.run("DELETE FROM traces WHERE tenant = ?1 AND task = ?2", [key.tenant.as_str(), key.id.as_str()])?;
    desk.run("DELETE FROM budgets WHERE scope = ?1", [own_scope(&key.id).as_str()])?;
    Ok(Some(key))
}

/// Gives some empty pages back to the disk, when far more of them are empty than tasks to come will soon fill. A file
/// made by a version that could not do this keeps its size and fills its empty pages again.
fn give_back(conn: &Connection) -> Result<(), Fault> {
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let surplus = number("freelist_count")? - number("page_count")? / SPARE;
    if surplus > 0 {
        let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({})", surplus.min(PAGES_GIVEN_BACK)))?;
        // Each step moves one page.
        let mut pages = statement.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}
