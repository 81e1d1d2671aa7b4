//! Agents in the database: those that are reached over the network, and which of their leases they have accepted, because
//! both outlive this process. Agents inside a process are never written down, because none outlives it.

use super::error::Fault;
use super::schema::{sized, unbits};
use super::shared::Shared;
use super::writer::Desk;
use crate::messages::AgentRecord;
use crate::store::StoreError;
use crate::store::index::Held;
use crate::store::roster::Roster;
use crate::task::{AgentId, At, AttemptNo, Capability, Lease, StepId};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Shared {
    /// Of the leases just renewed, those of remote agents that are not yet recorded as accepted.
    pub fn newly_accepted(&self, asked: Vec<Held>, gone: &[Held]) -> Vec<Held> {
        let roster = self.roster.lock();
        let mut remote: Vec<_> = asked.into_iter().filter(|(_, lease)| roster.remote(&lease.agent)).collect();
        drop(roster);
        let gone: HashSet<&Held> = gone.iter().collect();
        remote.retain(|held| !gone.contains(held));
        let accepted = self.accepted.lock();
        remote.retain(|held| !accepted.contains(held));
        remote
    }
}

/// Writes down an agent that may outlive this process, and when its capabilities were seen.
pub(super) fn put_agent(desk: &mut Desk<'_>, record: &AgentRecord, ttl_ms: u64) -> Result<(), Fault> {
    let declaration = &record.declaration;
    for capability in &declaration.capabilities {
        let row = (capability.as_str(), sized(desk.now.0));
        desk.run("INSERT OR REPLACE INTO capabilities_seen (capability, at) VALUES (?1, ?2)", row)?;
    }
    if declaration.url.is_none() {
        return forget_agent(desk, &declaration.agent);
    }
    let Ok(text) = serde_json::to_string(record) else {
        let what = format!("the record of agent {} has no stored form", declaration.agent);
        return Err(StoreError::Corrupt(what.into()).into());
    };
    let until = sized(desk.now.plus(ttl_ms).0);
    let row = (declaration.agent.as_str(), sized(ttl_ms), until, text);
    desk.run("INSERT OR REPLACE INTO agents (agent, ttl_ms, until, record) VALUES (?1, ?2, ?3, ?4)", row)?;
    Ok(())
}

/// Forgets an agent, if it was written down.
pub(super) fn forget_agent(desk: &Desk<'_>, agent: &AgentId) -> Result<(), Fault> {
    desk.run("DELETE FROM agents WHERE agent = ?1", [agent.as_str()])?;
    Ok(())
}

// === On opening ===

/// An accepted lease as written down, by its task's ordinal.
pub(super) type LeaseRow = (i64, StepId, AttemptNo);

/// A lease in that form.
pub(super) fn lease_row(ordinal: i64, lease: &Lease) -> LeaseRow {
    (ordinal, lease.step.clone(), lease.attempt)
}

/// The leases that are written down.
pub(super) fn accepted(conn: &Connection) -> Result<HashSet<LeaseRow>, Fault> {
    let mut statement = conn.prepare("SELECT task, step, attempt FROM accepted_leases")?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, StepId::trusted(row.get::<_, Arc<str>>(1)?), AttemptNo(row.get(2)?)))
    };
    let rows = statement.query_map([], row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The agents that are reached over the network: those whose records still count, and how long each one's lease runs.
pub(super) fn agents(conn: &Connection, now: At) -> Result<(Roster, HashMap<String, u64>), Fault> {
    let mut roster = Roster::default();
    let mut remote = HashMap::new();
    let mut statement = conn.prepare("SELECT capability, at FROM capabilities_seen")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        roster.saw(Capability::trusted(row.get::<_, Arc<str>>(0)?), At(unbits(row.get(1)?)));
    }
    let mut statement = conn.prepare("SELECT agent, ttl_ms, until, record FROM agents")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (agent, ttl_ms, until) = (row.get(0)?, unbits(row.get(1)?), unbits(row.get(2)?));
        // A newer program's record is not needed: the agent soon registers again.
        if let Ok(record) = serde_json::from_str::<AgentRecord>(&row.get::<_, String>(3)?)
            && until > now.0
        {
            roster.restore(record, At(until));
        }
        remote.insert(agent, ttl_ms);
    }
    conn.execute("DELETE FROM agents WHERE until <= ?1", [sized(now.0)])?;
    conn.execute("DELETE FROM accepted_leases WHERE task NOT IN (SELECT ordinal FROM tasks WHERE status < 3)", [])?;
    Ok((roster, remote))
}
