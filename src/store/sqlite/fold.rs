//! A task's state as it is read: the fold that is stored, with the events after it folded in. Storing the fold with every
//! commit would write a task's plan and outputs anew each time, and reading a few events costs less than that.

use super::error::Fault;
use super::schema::{look_through, newer, place, read_events, read_state, unbits};
use crate::store::StoreError;
use crate::task::{Task, TaskKey, replay, resume};
use rusqlite::{Connection, Row};

/// The fold is stored once so many events have come since it last was, so reading a task never folds many more.
const STORE_AFTER: u64 = 64;

/// What [`Stored::read`] reads of a task's row, in this order.
pub(super) const COLUMNS: &str = "ordinal, schema, version, folded, state";

/// Whether a commit that leads to this version should store the fold.
pub(super) fn is_due(version: u64, folded: u64) -> bool {
    version.saturating_sub(folded) >= STORE_AFTER
}

/// A task's row, as far as its state needs it.
pub(super) struct Stored<'a> {
    pub ordinal: i64,
    schema: i64,
    version: u64,
    folded: u64,
    state: &'a str,
}

impl<'a> Stored<'a> {
    /// Reads [`COLUMNS`], which begin at this column.
    pub fn read(row: &'a Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            ordinal: row.get(first)?,
            schema: row.get(first + 1)?,
            version: unbits(row.get(first + 2)?),
            folded: unbits(row.get(first + 3)?),
            state: row.get_ref(first + 4)?.as_str()?,
        })
    }

    /// The state that the task stands in. `strange` is whether the database holds events of unknown kinds.
    pub fn task(&self, conn: &Connection, key: &TaskKey, strange: bool) -> Result<Task, Fault> {
        if self.schema > i64::from(crate::task::SCHEMA) {
            return Err(newer(key).into());
        }
        if strange {
            look_through(conn, key, self.ordinal)?;
        }
        let beginning = (self.folded > 0).then(|| read_state(key, self.schema, self.state)).transpose()?;
        let mut rest = Vec::new();
        if self.folded < self.version {
            let mut statement =
                conn.prepare_cached("SELECT events FROM commits WHERE place >= ?1 AND place < ?2 ORDER BY place")?;
            let mut rows = statement.query((place(self.ordinal, self.folded + 1), place(self.ordinal + 1, 0)))?;
            while let Some(row) = rows.next()? {
                rest.extend(read_events(key, row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
        }
        let folded = match beginning {
            Some(task) => resume(task, &rest),
            None => replay(key, &rest),
        };
        let damaged = |why: String| StoreError::Corrupt(format!("task {key} cannot be read: {why}").into());
        let task = folded.map_err(|error| damaged(error.to_string()))?;
        if task.version != self.version {
            let why = format!("its log ends with event {} instead of {}", task.version, self.version);
            return Err(damaged(why).into());
        }
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_is_stored_for_long_logs_only() {
        assert!(!is_due(14, 0) && !is_due(STORE_AFTER + 9, 10));
        assert!(is_due(STORE_AFTER, 0) && is_due(STORE_AFTER + 10, 10));
    }
}
