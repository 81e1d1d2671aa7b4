//! Agents, shared context and traces.

use super::link::Again;
use super::predecessor::{Listing, called_of, read_beat};
use super::reply::Reply;
use super::task_wire::whose;
use super::{RedisStore, script};
use crate::messages::{AgentRecord, ForeignBeat};
use crate::store::StoreError;
use crate::task::{AgentId, At, Capability, Json, TaskKey, Tenant};
use deadpool_redis::redis::cmd;
use std::sync::Arc;

impl RedisStore {
    pub(super) async fn put_agent_now(&self, record: AgentRecord, ttl_ms: u64) -> Result<(), StoreError> {
        let declaration = &record.declaration;
        let unwritten = |error: serde_json::Error| {
            StoreError::Corrupt(format!("agent {} has no stored form ({error})", declaration.agent).into())
        };
        let text = serde_json::to_string(&record).map_err(unwritten)?;
        // A part of the record, word for word.
        let declared = serde_json::to_string(declaration).map_err(unwritten)?;
        let call = self
            .call(&script::PUT_AGENT)
            .arg(declaration.agent.as_str())
            .arg(text)
            .arg(declared)
            .arg(ttl_ms)
            .arg(u8::from(declaration.foreign))
            .arg(u8::from(self.options.predecessor_keys))
            .each(declaration.capabilities.iter(), |call, capability| call.arg(capability.as_str()));
        let call = if self.options.predecessor_keys {
            let listing = Listing::of(&record);
            call.arg(listing.declaration).arg(listing.load).arg(listing.last_heartbeat).arg(listing.hello)
        } else {
            call
        };
        self.set(call, Again::Yes).await
    }

    pub(super) async fn agents_now(&self) -> Result<Vec<AgentRecord>, StoreError> {
        let call = self.call(&script::AGENTS).arg(u8::from(self.options.predecessor_keys));
        let mut rows = self.run(call, Again::Yes).await?.list()?;
        let now = self.clock.now();
        let mut records = Vec::new();
        while !rows.is_empty() {
            let mut row = rows.list()?;
            // A newer version's record is nothing that this one can send work to.
            let Ok(mut record) = serde_json::from_str::<AgentRecord>(&row.text()?) else { continue };
            if let Some(beat) = row.maybe()? {
                let beat = read_beat(record.declaration.agent.clone(), &beat);
                record.load = beat.load;
                record.active = u32::try_from(beat.active.len()).unwrap_or(u32::MAX);
                record.last_heartbeat = record.last_heartbeat.max(At(now.0.saturating_sub(row.number()?)));
            }
            records.push(record);
        }
        records.sort_by(|one, other| one.declaration.agent.cmp(&other.declaration.agent));
        Ok(records)
    }

    pub(super) async fn foreign_beats_now(&self) -> Result<Vec<ForeignBeat>, StoreError> {
        if !self.options.predecessor_keys {
            return Ok(Vec::new());
        }
        let mut rows = self.run(self.call(&script::FOREIGN_BEATS), Again::Yes).await?.list()?;
        let mut beats = Vec::new();
        while !rows.is_empty() {
            let mut row = rows.list()?;
            beats.push(read_beat(AgentId::trusted(row.text()?), &row.text()?));
        }
        beats.sort_by(|one, other| one.agent.cmp(&other.agent));
        Ok(beats)
    }

    pub(super) async fn capabilities_seen_now(&self) -> Result<Vec<(Capability, At)>, StoreError> {
        let mut fields = self.hash("seen").await?;
        let mut seen = Vec::new();
        while !fields.is_empty() {
            seen.push((Capability::trusted(fields.text()?), fields.moment()?));
        }
        seen.sort();
        Ok(seen)
    }

    pub(super) async fn context_now(&self, tenant: Tenant) -> Result<Vec<(Arc<str>, Json)>, StoreError> {
        let mut fields = self.hash(&format!("context:{tenant}")).await?;
        let mut context = Vec::new();
        while !fields.is_empty() {
            context.push((Arc::from(fields.text()?), fields.json()?));
        }
        context.sort_by(|(one, _): &(Arc<str>, Json), (other, _)| one.cmp(other));
        Ok(context)
    }

    async fn hash(&self, name: &str) -> Result<Reply, StoreError> {
        Reply::of(self.link.ask(cmd("HGETALL").arg(self.key(name)), Again::Yes).await?)
    }

    pub(super) async fn append_trace_now(
        &self,
        key: TaskKey,
        agent: AgentId,
        steps: Vec<Json>,
    ) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        let theirs = if self.options.predecessor_keys { self.their_trace(&key, &agent).await? } else { String::new() };
        let call = self
            .call(&script::APPEND_TRACE)
            .arg(whose(&key))
            .arg(agent.as_str())
            .arg(theirs)
            .arg(self.options.predecessor_ttl.as_secs().max(1))
            .each(steps.iter(), |call, step| call.arg(step.text()));
        // Twice would be two steps.
        self.set(call, Again::No).await
    }

    /// The predecessor's name for a trace, by what the task is called there.
    async fn their_trace(&self, key: &TaskKey, agent: &AgentId) -> Result<String, StoreError> {
        let called = match self.load_now(key.clone()).await {
            Ok(task) => task.map(|task| called_of(&task)),
            Err(StoreError::Newer(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(format!("ag2:trace:{}:{agent}", called.as_deref().unwrap_or(key.id.as_str())))
    }

    pub(super) async fn trace_now(&self, key: TaskKey, agent: AgentId) -> Result<Vec<Json>, StoreError> {
        let list = self.key(&format!("trace:{}\n{agent}", whose(&key)));
        let mut steps = Reply::of(self.link.ask(cmd("LRANGE").arg(list).arg(0).arg(-1), Again::Yes).await?)?;
        let mut trace = Vec::new();
        while !steps.is_empty() {
            trace.push(steps.json()?);
        }
        Ok(trace)
    }
}
