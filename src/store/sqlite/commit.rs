//! Writing one commit inside the writer's transaction, and showing it to the world once that is over. A commit that is
//! turned away has written nothing by then, so it does its batch no harm.

use super::error::Fault;
use super::fold;
use super::schema::{bits, has_place, look_through, newer, place, sized, status_number, status_of, unbits};
use super::shared::Shared;
use super::writer::{Desk, Work};
use crate::store::admission::{Known, turned_away};
use crate::store::{Commit, Committed, StoreError, Woken};
use crate::task::{At, Digest, TaskId, TaskKey, Tenant};
use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// A commit with somebody who waits for it.
pub(super) struct CommitWork {
    pub commit: Commit,
    pub reply: oneshot::Sender<Result<Committed, StoreError>>,
    pub committed: Option<Committed>,
}

/// A task's row, without what is large.
struct Standing {
    ordinal: i64,
    tenant: Tenant,
    version: u64,
    updated_at: i64,
    schema: i64,
    status: i64,
    folded: u64,
    digest: Option<Digest>,
}

impl Standing {
    fn known(&self, id: &TaskId) -> Known {
        Known { key: TaskKey { tenant: self.tenant.clone(), id: id.clone() }, digest: self.digest }
    }

    /// Whether it stands where a commit expects it.
    fn is_base_of(&self, commit: &Commit) -> bool {
        (self.version, self.updated_at) == (commit.expected, sized(commit.expected_at.0))
    }

    fn ended(&self) -> bool {
        status_of(self.status).is_some_and(crate::task::Status::ended)
    }
}

// === impl Work ===

impl Work for CommitWork {
    fn must_sync(&self) -> bool {
        let is_first_or_last = self.commit.expected == 0 || self.commit.task.end.is_some();
        // An answer that tells of another commit may tell of one that is not on the disk yet.
        is_first_or_last || self.committed.as_ref().is_some_and(|answer| *answer != Committed::Applied)
    }

    fn write(&mut self, desk: &mut Desk<'_>) -> Result<(), Fault> {
        self.committed = Some(write(&self.commit, desk)?);
        Ok(())
    }

    fn over(self: Box<Self>, shared: &Shared, now: At, outcome: Result<(), StoreError>) {
        let Self { commit, reply, committed } = *self;
        let missing = || StoreError::Unavailable("the writer did not come to it".into());
        let answer = outcome.and_then(|()| committed.ok_or_else(missing));
        if answer == Ok(Committed::Applied) {
            show(&commit, shared, now);
        }
        // Whoever asked may have stopped waiting.
        let _ = reply.send(answer);
    }
}

fn show(commit: &Commit, shared: &Shared, now: At) {
    shared.index.lock().apply(&commit.key, &commit.effects, now);
    shared.recent.lock().put(commit.key.clone(), commit.task.clone());
    if !commit.effects.release.is_empty() {
        let mut accepted = shared.accepted.lock();
        for lease in &commit.effects.release {
            accepted.remove(&(commit.key.clone(), lease.clone()));
        }
    }
    shared.kinds.lock().extend(commit.events.iter().map(|event| event.kind.name()));
    shared.counts.commits.fetch_add(1, Ordering::Relaxed);
    shared.watchers.wake(&commit.key, Woken::at(&commit.task));
}

// === Writing ===

fn write(commit: &Commit, desk: &mut Desk<'_>) -> Result<Committed, Fault> {
    if !has_place(commit.task.version) {
        let what = format!("task {} has as many events as a task may have", commit.key);
        return Err(StoreError::Corrupt(what.into()).into());
    }
    let events = stored(commit, &commit.events)?;
    if let Some(stepped) = step_on(commit, desk)? {
        finish(commit, &stepped, &events, desk)?;
        return Ok(Committed::Applied);
    }
    let standing = standing(commit, desk)?;
    let ours = standing.as_ref().filter(|standing| standing.tenant == commit.key.tenant);
    if let Some(ours) = ours {
        check_readable(commit, ours, desk)?;
        if repeated(commit, ours, desk)? {
            return Ok(Committed::AlreadyApplied);
        }
    }
    if commit.expected > 0 {
        return match ours {
            Some(ours) if ours.is_base_of(commit) => advance(commit, ours, &events, desk),
            _ => Ok(Committed::Conflict),
        };
    }
    let by_id = standing.as_ref().map(|standing| standing.known(&commit.key.id));
    match turned_away(&commit.key, commit.submission.as_ref(), by_id, by_key(commit, desk)?, desk.open) {
        Some(answer) => Ok(answer),
        None => begin(commit, &events, desk),
    }
}

fn standing(commit: &Commit, desk: &Desk<'_>) -> Result<Option<Standing>, Fault> {
    let mut statement = desk.statement(
        "SELECT ordinal, tenant, version, schema, status, digest, folded, updated_at FROM tasks WHERE id = ?1",
    )?;
    let row = |row: &Row<'_>| {
        Ok(Standing {
            ordinal: row.get(0)?,
            tenant: Tenant::trusted(row.get::<_, Arc<str>>(1)?),
            version: unbits(row.get(2)?),
            schema: row.get(3)?,
            status: row.get(4)?,
            digest: digest(row, 5)?,
            folded: unbits(row.get(6)?),
            updated_at: row.get(7)?,
        })
    };
    Ok(statement.query_row([commit.key.id.as_str()], row).optional()?)
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(Digest))
}

/// A task of a newer version of this program is left alone.
fn check_readable(commit: &Commit, standing: &Standing, desk: &Desk<'_>) -> Result<(), Fault> {
    if standing.schema > i64::from(crate::task::SCHEMA) {
        return Err(newer(&commit.key).into());
    }
    if desk.shared.strange {
        look_through(desk.connection(), &commit.key, standing.ordinal)?;
    }
    Ok(())
}

/// Whether this very commit stands where it would be written.
fn repeated(commit: &Commit, standing: &Standing, desk: &Desk<'_>) -> Result<bool, Fault> {
    if standing.version <= commit.expected {
        return Ok(false);
    }
    let mut statement = desk.statement("SELECT id = ?2 FROM commits WHERE place = ?1")?;
    let found =
        statement.query_row((place(standing.ordinal, commit.expected + 1), commit.id.as_str()), |row| row.get(0));
    Ok(found.optional()?.unwrap_or(false))
}

fn by_key(commit: &Commit, desk: &Desk<'_>) -> Result<Option<Known>, Fault> {
    let Some(name) = commit.submission.as_ref().and_then(|submission| submission.idempotency_key.as_ref()) else {
        return Ok(None);
    };
    let mut statement = desk.statement(
        "SELECT tasks.id, tasks.digest FROM submissions JOIN tasks ON tasks.ordinal = submissions.task
         WHERE submissions.tenant = ?1 AND submissions.name = ?2",
    )?;
    let row = |row: &Row<'_>| {
        let id = TaskId::trusted(row.get::<_, Arc<str>>(0)?);
        Ok(Known { key: TaskKey { tenant: commit.key.tenant.clone(), id }, digest: digest(row, 1)? })
    };
    Ok(statement.query_row([commit.key.tenant.as_str(), name.as_str()], row).optional()?)
}

/// A task's first commit.
fn begin(commit: &Commit, events: &str, desk: &mut Desk<'_>) -> Result<Committed, Fault> {
    let task = &commit.task;
    let submission = commit.submission.as_ref();
    let status = task.status();
    desk.run(
        "INSERT INTO tasks
            (id, tenant, version, schema, status, priority, accepted_at, updated_at, digest, summary, folded, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, '')",
        (
            task.key.id.as_str(),
            task.key.tenant.as_str(),
            bits(task.version),
            task.schema,
            status_number(status),
            task.options.priority as i64,
            sized(task.accepted_at.0),
            sized(task.updated_at.0),
            submission.map(|submission| submission.digest.0),
            &task.summary,
        ),
    )?;
    let ordinal = desk.last_row();
    if let Some(name) = submission.and_then(|submission| submission.idempotency_key.as_ref()) {
        let row = (task.key.tenant.as_str(), name.as_str(), ordinal);
        desk.run("INSERT INTO submissions (tenant, name, task) VALUES (?1, ?2, ?3)", row)?;
    }
    append(commit, ordinal, events, desk)?;
    desk.open += u64::from(!status.ended());
    Ok(Committed::Applied)
}

/// A task whose row has been brought to a commit's version.
struct Stepped {
    ordinal: i64,
    folded: u64,
}

/// The usual commit: the task stands where it is expected, and its status stays, so no index has to be written. Finds that
/// out and moves the row in one; none when it is not so.
fn step_on(commit: &Commit, desk: &Desk<'_>) -> Result<Option<Stepped>, Fault> {
    if commit.expected == 0 || desk.shared.strange {
        return Ok(None);
    }
    let task = &commit.task;
    let mut statement = desk.statement(
        "UPDATE tasks SET version = ?4, schema = ?5, updated_at = ?6
         WHERE id = ?1 AND version = ?2 AND status = ?3 AND tenant = ?7 AND schema <= ?8 AND updated_at = ?9
         RETURNING ordinal, folded",
    )?;
    let row = (
        task.key.id.as_str(),
        bits(commit.expected),
        status_number(task.status()),
        bits(task.version),
        task.schema,
        sized(task.updated_at.0),
        task.key.tenant.as_str(),
        crate::task::SCHEMA,
        sized(commit.expected_at.0),
    );
    let stepped = |row: &Row<'_>| Ok(Stepped { ordinal: row.get(0)?, folded: unbits(row.get(1)?) });
    Ok(statement.query_row(row, stepped).optional()?)
}

/// A later commit of a task that changes its status.
fn advance(commit: &Commit, standing: &Standing, events: &str, desk: &mut Desk<'_>) -> Result<Committed, Fault> {
    let task = &commit.task;
    let (status, ordinal) = (task.status(), standing.ordinal);
    let (updated_at, version, expected) = (sized(task.updated_at.0), bits(task.version), bits(commit.expected));
    let moved = desk.run(
        "UPDATE tasks SET version = ?3, schema = ?4, updated_at = ?5, status = ?6 WHERE ordinal = ?1 AND version = ?2",
        (ordinal, expected, version, task.schema, updated_at, status_number(status)),
    )?;
    if moved != 1 {
        return Ok(Committed::Conflict);
    }
    finish(commit, &Stepped { ordinal, folded: standing.folded }, events, desk)?;
    if status.ended() && !standing.ended() {
        desk.open = desk.open.saturating_sub(1);
        desk.run("DELETE FROM accepted_leases WHERE task = ?1", [ordinal])?;
    }
    Ok(Committed::Applied)
}

/// What a later commit writes beside the task's row.
fn finish(commit: &Commit, stepped: &Stepped, events: &str, desk: &Desk<'_>) -> Result<(), Fault> {
    if fold::is_due(commit.task.version, stepped.folded) {
        // The row is written already, so a failure here is the whole batch's.
        let failed = |error: StoreError| rusqlite::Error::ToSqlConversionFailure(error.into());
        let state = stored(commit, commit.task.as_ref()).map_err(failed)?;
        desk.run("UPDATE tasks SET folded = version, state = ?2 WHERE ordinal = ?1", (stepped.ordinal, state))?;
    }
    append(commit, stepped.ordinal, events, desk)
}

/// What every commit adds: its events, and payloads beside the task.
fn append(commit: &Commit, ordinal: i64, events: &str, desk: &Desk<'_>) -> Result<(), Fault> {
    let row = (place(ordinal, commit.expected + 1), commit.id.as_str(), events);
    desk.run("INSERT INTO commits (place, id, events) VALUES (?1, ?2, ?3)", row)?;
    for (name, value) in &commit.payloads {
        let row = (ordinal, name, value.text());
        desk.run("INSERT OR REPLACE INTO payloads (task, name, value) VALUES (?1, ?2, ?3)", row)?;
    }
    for event in &*commit.events {
        let kind = event.kind.name();
        if !desk.shared.kinds.lock().contains(kind) {
            desk.run("INSERT OR IGNORE INTO kinds (name) VALUES (?1)", [kind])?;
        }
    }
    for lease in &commit.effects.release {
        if desk.shared.accepted.lock().contains(&(commit.key.clone(), lease.clone())) {
            let row = (ordinal, lease.step.as_str(), lease.attempt.0);
            desk.run("DELETE FROM accepted_leases WHERE task = ?1 AND step = ?2 AND attempt = ?3", row)?;
        }
    }
    Ok(())
}

/// The stored form.
fn stored<T: Serialize + ?Sized>(commit: &Commit, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| {
        StoreError::Corrupt(format!("task {} has no stored form ({error}); it was not written", commit.key).into())
    })
}
