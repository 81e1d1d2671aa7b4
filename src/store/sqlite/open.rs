//! Opening the database: one process at a time, tables of a version that this program knows, and the index built anew
//! from the open tasks. Whoever worked in the earlier process is gone, so what it held is free at once.

use super::SqliteOptions;
use super::agents::{accepted, agents, lease_row};
use super::error::{Fault, explain};
use super::fold::{COLUMNS, Stored};
use super::schema::{APPLICATION, LATER_INDEXES, TABLES, create, holds_unknown_kinds, upgrade};
use crate::store::StoreError;
use crate::store::index::{Held, Index};
use crate::store::roster::Roster;
use crate::task::{At, Task, TaskId, TaskKey, Tenant};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Takes the file that says who has the database, for as long as it is held open.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let folder = folder(path);
    if !folder.is_dir() {
        let what = format!("the folder {} does not exist: create it, or choose another file", folder.display());
        return Err(StoreError::Unavailable(what.into()));
    }
    let mut file = path.to_path_buf().into_os_string();
    file.push(".lock");
    let name = PathBuf::from(file);
    let cannot = |error: std::io::Error| {
        let what = format!(
            "{} cannot be made ({error}): make the folder writable for this user, or choose another file",
            name.display()
        );
        StoreError::Unavailable(what.into())
    };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&name).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
        Err(TryLockError::WouldBlock) => return Err(taken(path, &mut file)),
    }
    // The number only helps whoever is refused; the lock is what counts.
    let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::debug!(%error, "the process id could not be noted in the lock file");
    }
    Ok(file)
}

fn taken(path: &Path, file: &mut File) -> StoreError {
    let mut owner = String::new();
    let known = file.read_to_string(&mut owner).is_ok() && owner.parse::<u32>().is_ok();
    let owner = if known { format!("process {owner}") } else { "another process".into() };
    let what = format!(
        "{} is in use by {owner}, and a SQLite file serves one process at a time: stop that one, choose another file with \
         --store, or let several processes share a Redis server (--store redis://HOST)",
        path.display()
    );
    StoreError::Unavailable(what.into())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens the database for writing, with its log empty and its transactions synced; makes the tables where there are
/// none.
pub(super) fn connect(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let path = options.path.as_path();
    let new = !path.exists();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| explain(&error, path))?;
    prepare(&conn, options).map_err(|fault| fault.told(path))?;
    if new {
        // Otherwise a power loss could take the name of the file that the data was synced to.
        let synced = File::open(folder(path)).and_then(|folder| folder.sync_all());
        synced.map_err(|error| {
            StoreError::Unavailable(format!("the disk failed under {}: {error}", path.display()).into())
        })?;
    }
    Ok(conn)
}

fn prepare(conn: &Connection, options: &SqliteOptions) -> Result<(), Fault> {
    conn.busy_timeout(options.busy_timeout)?;
    let path = options.path.display();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION {
        let what = format!("{path} is another program's database: choose another file");
        return Err(StoreError::Corrupt(what.into()).into());
    }
    if version > TABLES {
        return Err(StoreError::Newer(
            format!("{path} (tables of version {version}, this program knows {TABLES})").into(),
        )
        .into());
    }
    if let Some(pages) = options.max_pages {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    if tables == 0 {
        // Before the log's mode and the first table, or it would need the whole file written anew.
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB, negative by SQLite's rule.
    conn.pragma_update(None, "cache_size", -16_384)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let what = format!("{path} cannot have a write-ahead log here: choose a file on a local disk");
        return Err(StoreError::Unavailable(what.into()).into());
    }
    if tables == 0 {
        let create = create();
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {create} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {TABLES}; COMMIT;"
        ))?;
    } else if version < TABLES {
        tracing::info!(%path, from = version, to = TABLES, "the tables are brought to this version");
        let upgrade = upgrade();
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {upgrade} PRAGMA user_version = {TABLES}; COMMIT;"))?;
    }
    conn.execute_batch(LATER_INDEXES)?;
    // Shows that it can be written, and the log begins empty, which counting syncs rests on.
    conn.execute("UPDATE store SET opened = opened + 1", [])?;
    conn.wal_checkpoint_v2(Some("main"), CheckpointMode::TRUNCATE)?;
    Ok(())
}

/// What an earlier process left behind, in memory again.
pub(super) struct Found {
    pub index: Index,
    pub roster: Roster,
    pub accepted: HashSet<Held>,
    pub recent: Vec<Arc<Task>>,
    pub open: u64,
    pub strange: bool,
}

/// Reads what is open; at most `recent` states are kept for quick loading.
pub(super) fn look_around(conn: &Connection, now: At, recent: usize) -> Result<Found, Fault> {
    let strange = holds_unknown_kinds(conn)?;
    let (roster, remote) = agents(conn, now)?;
    let leases = accepted(conn)?;
    let mut found =
        Found { index: Index::default(), roster, accepted: HashSet::new(), recent: Vec::new(), open: 0, strange };
    let mut statement =
        conn.prepare(&format!("SELECT tenant, id, {COLUMNS} FROM tasks WHERE status < 3 ORDER BY ordinal"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.open += 1;
        let key = TaskKey {
            tenant: Tenant::trusted(row.get::<_, Arc<str>>(0)?),
            id: TaskId::trusted(row.get::<_, Arc<str>>(1)?),
        };
        let stored = Stored::read(row, 2)?;
        let ordinal = stored.ordinal;
        let task = match stored.task(conn, &key, strange) {
            Ok(task) => task,
            Err(Fault::Refused(error)) => {
                tracing::error!(task = %key, %error, "a task is left alone; the others go on");
                continue;
            }
            Err(fault) => return Err(fault),
        };
        found.index.place(&task, |lease| {
            let fresh = remote.get(lease.agent.as_str()).filter(|_| leases.contains(&lease_row(ordinal, lease)));
            fresh.map_or(now, |ttl_ms| {
                found.accepted.insert((key.clone(), lease.clone()));
                now.plus(*ttl_ms)
            })
        });
        if found.recent.len() < recent {
            found.recent.push(Arc::new(task));
        }
    }
    Ok(found)
}
