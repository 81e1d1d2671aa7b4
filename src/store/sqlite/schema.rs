//! The tables, their version, and how states and events become text. Numbers in SQLite are signed, so unsigned ones that
//! are only compared for equality are stored bit for bit.

use super::error::Fault;
use crate::store::StoreError;
use crate::task::{Event, EventKind, Priority, Status, Task, TaskKey};
use rusqlite::Connection;

/// The version of the tables that this program makes and reads.
pub(super) const TABLES: i64 = 2;

/// Marks a file as ours ("CaBo").
pub(super) const APPLICATION: i64 = 0x4361_426f;

/// How many bits of a commit's place hold the number of its first event; the rest is the task's ordinal. So one index has
/// a task's commits together and in order.
const SEQ_BITS: u32 = 24;

/// The large columns come last: what lists read lies before them and costs no further pages. `state` is the fold of the
/// first `folded` events, and empty where that is none: most tasks end before it is worth writing (`fold`). Commits are
/// numbered as they come, so that a batch of them fills few pages, whichever tasks they are of.
const TASKS_AND_COMMITS: &str = "
CREATE TABLE tasks (
    ordinal INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    version INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    status INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    folded INTEGER NOT NULL,
    digest BLOB,
    summary TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX tasks_of_tenant ON tasks (tenant, ordinal);
CREATE INDEX tasks_by_status ON tasks (status, ordinal);
CREATE INDEX tasks_of_tenant_by_status ON tasks (tenant, status, ordinal);
CREATE INDEX tasks_open ON tasks (ordinal) WHERE status < 3;
CREATE TABLE commits (
    number INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE, id TEXT NOT NULL, events TEXT NOT NULL
);
";

const THE_REST: &str = "
CREATE TABLE kinds (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE payloads (task INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (task, name));
CREATE TABLE submissions (
    tenant TEXT NOT NULL, name TEXT NOT NULL, task INTEGER NOT NULL, PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE TABLE accepted_leases (
    task INTEGER NOT NULL, step TEXT NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (task, step, attempt)
) WITHOUT ROWID;
CREATE TABLE agents (
    agent TEXT PRIMARY KEY, ttl_ms INTEGER NOT NULL, until INTEGER NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE capabilities_seen (capability TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE context (
    tenant TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tenant, field)
);
CREATE TABLE traces (
    step INTEGER PRIMARY KEY, tenant TEXT NOT NULL, task TEXT NOT NULL, agent TEXT NOT NULL, value TEXT NOT NULL
);
CREATE INDEX traces_of_agent ON traces (tenant, task, agent, step);
CREATE TABLE budgets (
    scope TEXT PRIMARY KEY,
    limit_tokens INTEGER, limit_micro_usd INTEGER,
    spent_tokens INTEGER NOT NULL, spent_micro_usd INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL, reserved_micro_usd INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE reservations (
    call TEXT PRIMARY KEY,
    tokens INTEGER NOT NULL, micro_usd INTEGER NOT NULL,
    expires INTEGER NOT NULL, look_at INTEGER NOT NULL, stand INTEGER NOT NULL,
    scopes TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX reservations_due ON reservations (look_at);
CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), opened INTEGER NOT NULL, checked INTEGER NOT NULL);
INSERT INTO store VALUES (1, 0, 0);
";

/// What makes the tables anew.
pub(super) fn create() -> String {
    format!("{TASKS_AND_COMMITS}{THE_REST}")
}

/// What makes tables of the version before into these.
pub(super) fn upgrade() -> String {
    format!(
        "DROP INDEX tasks_of_tenant; DROP INDEX tasks_by_status; DROP INDEX tasks_of_tenant_by_status;
         DROP INDEX tasks_open;
         ALTER TABLE tasks RENAME TO earlier_tasks; ALTER TABLE commits RENAME TO earlier_commits;
         {TASKS_AND_COMMITS}
         INSERT INTO tasks SELECT ordinal, id, tenant, version, schema, status, priority, accepted_at, updated_at,
            version, digest, summary, state FROM earlier_tasks;
         INSERT INTO commits (place, id, events) SELECT place, id, events FROM earlier_commits ORDER BY place;
         DROP TABLE earlier_tasks; DROP TABLE earlier_commits;"
    )
}

/// Indexes that later versions brought; a file without them gets them when it is opened, and older programs keep them up.
/// A task's row is not changed after its end, so `updated_at` of those that have ended is when they did.
pub(super) const LATER_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS tasks_ended ON tasks (updated_at, ordinal, tenant) WHERE status >= 3;
CREATE INDEX IF NOT EXISTS submissions_of_task ON submissions (task);
";

/// A number that only has to come back as it was.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// The other way round.
pub(super) fn unbits(number: i64) -> u64 {
    number.cast_unsigned()
}

/// A number that is compared by size.
pub(super) fn sized(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Where the commit stands whose first event has this number.
pub(super) fn place(ordinal: i64, seq: u64) -> i64 {
    (ordinal << SEQ_BITS) | sized(seq.min((1 << SEQ_BITS) - 1))
}

/// Whether a task may have an event with this number.
pub(super) fn has_place(seq: u64) -> bool {
    seq < (1 << SEQ_BITS) - 1
}

/// A status as a number; those below 3 are open.
pub(super) fn status_number(status: Status) -> i64 {
    status as i64
}

/// The other way round; none for what this program does not know.
pub(super) fn status_of(number: i64) -> Option<Status> {
    Status::ALL.get(usize::try_from(number).ok()?).copied()
}

/// A priority from its number; a newer one is shown as normal.
pub(super) fn priority_of(number: i64) -> Priority {
    usize::try_from(number).ok().and_then(|number| Priority::ALL.get(number)).copied().unwrap_or_default()
}

/// Reads a folded state.
pub(super) fn read_state(key: &TaskKey, schema: i64, text: &str) -> Result<Task, StoreError> {
    if schema > i64::from(crate::task::SCHEMA) {
        return Err(newer(key));
    }
    let task: Task = serde_json::from_str(text).map_err(|error| unreadable(key, "state", &error))?;
    if task.readable() { Ok(task) } else { Err(newer(key)) }
}

/// Reads the events of one row.
pub(super) fn read_events(key: &TaskKey, text: &str) -> Result<Vec<Event>, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(key, "events", &error))
}

pub(super) fn newer(key: &TaskKey) -> StoreError {
    StoreError::Newer(format!("task {key}").into())
}

/// A name that this program does not know was written by a newer one; anything else is damage.
fn unreadable(key: &TaskKey, what: &str, error: &serde_json::Error) -> StoreError {
    if unknown_variant(error) {
        return newer(key);
    }
    StoreError::Corrupt(format!("the {what} of task {key} cannot be read ({error})").into())
}

fn unknown_variant(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with("unknown variant")
}

/// Whether this program knows a kind of event.
fn knows(kind: &str) -> bool {
    let nothing_in_it = serde_json::json!({ kind: null }).to_string();
    !matches!(serde_json::from_str::<EventKind>(&nothing_in_it), Err(error) if unknown_variant(&error))
}

/// Whether any event of an unknown kind was ever written. Only then do events have to be looked through.
pub(super) fn holds_unknown_kinds(conn: &Connection) -> rusqlite::Result<bool> {
    let mut statement = conn.prepare("SELECT name FROM kinds")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.iter().any(|name| !knows(name)))
}

/// Looks through a task's events for kinds that this program does not know.
pub(super) fn look_through(conn: &Connection, key: &TaskKey, ordinal: i64) -> Result<(), Fault> {
    let mut statement = conn.prepare_cached("SELECT events FROM commits WHERE place >= ?1 AND place < ?2")?;
    let mut rows = statement.query((place(ordinal, 0), place(ordinal + 1, 0)))?;
    while let Some(row) = rows.next()? {
        read_events(key, row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_tasks_are_those_with_a_number_below_three() {
        for (number, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status_number(status), number as i64);
            assert_eq!(status_of(number as i64), Some(status));
            assert_eq!(status.ended(), number >= 3);
        }
        for (number, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority as usize, number);
        }
    }

    #[test]
    fn kinds_are_told_apart_from_those_to_come() {
        assert!(knows("accepted") && knows("task_cancelled") && knows("step_placed"));
        assert!(!knows("task_dreamt"));
    }

    #[test]
    fn places_keep_tasks_apart_and_events_in_order() {
        assert!(place(7, 1) < place(7, 2) && place(7, u64::MAX) < place(8, 1));
        assert!(has_place(1_000_000) && !has_place(1 << SEQ_BITS));
    }
}
