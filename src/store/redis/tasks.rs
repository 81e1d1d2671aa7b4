//! Writing commits and reading tasks.

use super::link::Again;
use super::predecessor::noted;
use super::reply::{Reply, json};
use super::task_wire::{Body, check_readable, newer, read_event, read_held, read_listed, read_state};
use super::{RedisStore, script};
use crate::store::{Clash, Commit, Committed, ListPage, ListQuery, StoreError, Woken};
use crate::task::{AgentId, Event, Json, Lease, SCHEMA, Task, TaskId, TaskKey, Tenant, UNACCEPTED_LEASE_MS};
use deadpool_redis::redis::{cmd, pipe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl RedisStore {
    pub(super) async fn commit_now(&self, commit: Commit) -> Result<Committed, StoreError> {
        commit.check()?;
        let waits = self.options.wait_replicas > 0 && (commit.expected == 0 || commit.task.end.is_some());
        let submission = commit.submission.as_ref();
        let name = submission.and_then(|submission| submission.idempotency_key.as_ref());
        let call = self
            .call(&script::COMMIT)
            .arg(commit.key.id.as_str())
            .arg(commit.key.tenant.as_str())
            .arg(commit.id.as_str())
            .arg(commit.expected)
            .arg(commit.expected_at.0)
            .arg(commit.expected + 1)
            .arg(SCHEMA)
            .arg(u8::from(waits))
            .arg(u8::from(submission.is_some()))
            .arg(u8::from(submission.is_some_and(|submission| submission.id_given)))
            .arg(submission.map_or_else(String::new, |submission| submission.digest.hex()))
            .arg(name.map_or("", |name| name.as_str()))
            .arg(submission.map_or(u64::MAX, |submission| submission.max_open))
            .each(bounds(&commit).iter(), |call, (lease, most)| {
                call.arg(lease.agent.as_str()).arg(lease.incarnation.as_str()).arg(*most)
            })
            .arg(UNACCEPTED_LEASE_MS);
        let noted = noted(&self.options, &commit.task, &commit.events, &commit.payloads);
        let body = Body {
            task: &commit.task,
            is_first: commit.expected == 0,
            events: &commit.events,
            payloads: &commit.payloads,
            effects: &commit.effects,
            noted: &noted,
        };
        let call = body.put(call)?;
        let _pass = if commit.expected == 0 { self.gate.pass_new().await? } else { self.gate.pass().await? };
        let (answer, replicas) = if waits {
            self.link.run_and_wait(&call, self.options.wait_replicas).await?
        } else {
            (self.link.run(&call, Again::Yes).await?, 0)
        };
        let mut reply = self.read_moment(answer)?;
        let committed = self.read_committed(&commit.key, &mut reply)?;
        if committed == Committed::Applied {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(committed, Committed::Applied | Committed::AlreadyApplied) {
            self.watchers.wake_to(&commit.key, Woken::at(&commit.task));
        }
        // A repeated submission is answered like the first one, whose answer may be the one that is still owed.
        let tells_of_a_write =
            matches!(committed, Committed::Applied | Committed::AlreadyApplied | Committed::Repeated(_));
        if tells_of_a_write && waits && replicas < self.options.wait_replicas {
            return Err(self.unreplicated(replicas));
        }
        Ok(committed)
    }

    /// It is written, and who asks again is answered so once the replicas have it.
    fn unreplicated(&self, replicas: u32) -> StoreError {
        let words = format!(
            "{} had it on {replicas} of {} replicas (redis_wait_replicas) in time: see that they follow it",
            self.link.address(),
            self.options.wait_replicas
        );
        StoreError::Unavailable(words.into())
    }

    fn read_committed(&self, key: &TaskKey, reply: &mut Reply) -> Result<Committed, StoreError> {
        self.open.store(reply.number()?, Ordering::Relaxed);
        Ok(match reply.text()?.as_str() {
            "applied" => Committed::Applied,
            "again" => Committed::AlreadyApplied,
            "conflict" => Committed::Conflict,
            "repeated" => {
                Committed::Repeated(TaskKey { tenant: key.tenant.clone(), id: TaskId::trusted(reply.text()?) })
            }
            "id" => Committed::Clash(Clash::TaskId),
            "name" => Committed::Clash(Clash::IdempotencyKey),
            "disagree" => Committed::Clash(Clash::Disagree),
            "full" => Committed::Full,
            "no slot" => {
                let mut held = reply.list()?;
                let mut leases = Vec::new();
                while !held.is_empty() {
                    leases.push(read_held(&held.text()?)?);
                }
                Committed::NoSlot(leases)
            }
            "newer" => return Err(newer(key)),
            other => return Err(StoreError::Corrupt(format!("a commit was answered {other:?}").into())),
        })
    }

    // === Reading ===

    pub(super) async fn load_now(&self, key: TaskKey) -> Result<Option<Arc<Task>>, StoreError> {
        let _pass = self.gate.pass().await?;
        let mut command = cmd("HMGET");
        command.arg(self.task(&key.id)).arg(&["tenant", "schema", "kinds", "state"]);
        let mut row = Reply::of(self.link.ask(&command, Again::Yes).await?)?;
        if row.maybe()?.as_deref() != Some(key.tenant.as_str()) {
            return Ok(None);
        }
        let (schema, kinds, state) = (row.number()?, row.text()?, row.text()?);
        read_state(&key, schema, &kinds, &state).map(|task| Some(Arc::new(task)))
    }

    pub(super) async fn key_of_now(&self, id: TaskId) -> Result<Option<TaskKey>, StoreError> {
        let mut command = cmd("HMGET");
        command.arg(self.task(&id)).arg("tenant");
        let tenant = Reply::of(self.link.ask(&command, Again::Yes).await?)?.maybe()?;
        Ok(tenant.map(|tenant| TaskKey { tenant: Tenant::trusted(tenant), id }))
    }

    pub(super) async fn payload_now(&self, key: TaskKey, name: String) -> Result<Option<Json>, StoreError> {
        let _pass = self.gate.pass().await?;
        let mut both = pipe();
        both.cmd("HMGET").arg(self.task(&key.id)).arg("tenant");
        both.cmd("HMGET").arg(self.key(&format!("payload:{}", key.id))).arg(name);
        let mut answers = self.link.ask_all(&both).await?.into_iter();
        let mut next = || Reply::of(answers.next().unwrap_or_default())?.maybe();
        let (tenant, value) = (next()?, next()?);
        if tenant.as_deref() != Some(key.tenant.as_str()) {
            return Ok(None);
        }
        value.map(json).transpose()
    }

    pub(super) async fn events_now(
        &self,
        key: TaskKey,
        after: u64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let _pass = self.gate.pass().await?;
        let call = self.call(&script::EVENTS).arg(key.id.as_str()).arg(key.tenant.as_str());
        let mut reply = self.run(call.arg(after).arg(limit), Again::Yes).await?;
        let Some(schema) = reply.maybe()? else { return Ok(None) };
        check_readable(&key, schema.parse().unwrap_or(u16::MAX), "")?;
        let mut texts = reply.list()?;
        let mut events = Vec::new();
        while !texts.is_empty() {
            events.push(read_event(&key, &texts.text()?)?);
        }
        Ok(Some(events))
    }

    pub(super) async fn list_now(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        let before = query.before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        // One more than asked for tells whether there is a next page.
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
        let call = self
            .call(&script::LIST)
            .arg(query.tenant.as_ref().map_or("", Tenant::as_str))
            .arg(query.status.map_or_else(String::new, |status| (status as u8).to_string()))
            .arg(before)
            .arg(limit);
        let _pass = self.gate.pass().await?;
        let mut rows = self.run(call, Again::Yes).await?.list()?;
        let mut tasks = Vec::new();
        while !rows.is_empty() {
            tasks.push(read_listed(rows.list()?)?);
        }
        let more = tasks.len() > query.limit;
        tasks.truncate(query.limit);
        let next = tasks.last().map(|listed| listed.place).filter(|_| more);
        Ok(ListPage { tasks, next })
    }

    pub(super) fn task(&self, id: &TaskId) -> String {
        self.key(&format!("task:{id}"))
    }
}

/// How many leases each agent that gets one may have before the commit: those that it gives back are there still.
fn bounds(commit: &Commit) -> Vec<(&Lease, u32)> {
    let count = |leases: &[Lease], of: &Lease| {
        let is_of = |lease: &&Lease| (&lease.agent, &lease.incarnation) == (&of.agent, &of.incarnation);
        u32::try_from(leases.iter().filter(is_of).count()).unwrap_or(u32::MAX)
    };
    let of = |(agent, slots): &(AgentId, u32)| {
        let lease = commit.effects.lease.iter().find(|lease| lease.agent == *agent)?;
        let most = slots.saturating_add(count(&commit.effects.release, lease));
        Some((lease, most.saturating_sub(count(&commit.effects.lease, lease))))
    };
    commit.slots.iter().filter_map(of).collect()
}
