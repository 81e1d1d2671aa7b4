//! Queues, timers and leases.

use super::link::Again;
use super::reply::Reply;
use super::script::Script;
use super::task_wire::{held, read_entry, read_held, read_timer, whose};
use super::{RedisStore, script};
use crate::store::{DuePage, Entry, StoreError, Waiting};
use crate::task::{AgentId, At, Capability, Lease, TaskKey, Timer};
use deadpool_redis::redis::{cmd, pipe};
use std::collections::HashSet;

impl RedisStore {
    pub(super) async fn waiting_now(&self, capability: Capability, limit: usize) -> Result<Waiting, StoreError> {
        let mut both = pipe();
        // The first behind the last are none.
        let (first, last) = limit.checked_sub(1).map_or((1, 0), |last| (0, i64::try_from(last).unwrap_or(i64::MAX)));
        both.cmd("ZRANGE").arg(self.key(&format!("queue:{capability}"))).arg(first).arg(last);
        both.cmd("HMGET").arg(self.key(&format!("counts:{capability}"))).arg(&["0", "1", "2"]);
        let mut answers = self.link.ask_all(&both).await?.into_iter();
        let mut members = Reply::of(answers.next().unwrap_or_default())?;
        let mut waiting = Waiting::default();
        while !members.is_empty() {
            waiting.entries.push(read_entry(&capability, &members.text()?)?);
        }
        let mut counts = Reply::of(answers.next().unwrap_or_default())?;
        for count in &mut waiting.counts {
            *count = counts.maybe()?.and_then(|count| count.parse().ok()).unwrap_or(0);
        }
        Ok(waiting)
    }

    pub(super) async fn waiting_capabilities_now(&self) -> Result<Vec<Capability>, StoreError> {
        let mut names = Reply::of(self.link.ask(cmd("SMEMBERS").arg(self.key("queues")), Again::Yes).await?)?;
        let mut capabilities = Vec::new();
        while !names.is_empty() {
            capabilities.push(Capability::trusted(names.text()?));
        }
        capabilities.sort();
        Ok(capabilities)
    }

    pub(super) async fn due_timers_now(&self, limit: usize, claim_ms: u64) -> Result<DuePage<Timer>, StoreError> {
        let (things, next) = self.claim("timers", limit, claim_ms).await?;
        let mut due = Vec::with_capacity(things.len());
        for (thing, at) in things {
            match read_timer(&thing, at) {
                Ok(timer) => due.push(timer),
                // It is for whoever knows its kind.
                Err(StoreError::Newer(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(DuePage { due, next })
    }

    pub(super) async fn expired_leases_now(&self, limit: usize, claim_ms: u64) -> Result<DuePage<Lease>, StoreError> {
        let (things, next) = self.claim("leases", limit, claim_ms).await?;
        let due = things.iter().map(|(thing, _)| read_held(thing)).collect::<Result<_, _>>()?;
        Ok(DuePage { due, next })
    }

    /// The first due things of a set, earliest first, now claimed; and when to look again.
    async fn claim(
        &self,
        set: &str,
        limit: usize,
        claim_ms: u64,
    ) -> Result<(Vec<(String, At)>, Option<At>), StoreError> {
        static CLAIM: &Script = &script::CLAIM;
        let call = self.call(CLAIM).arg(set).arg(limit).arg(claim_ms);
        let mut reply = self.run(call, Again::Yes).await?;
        let mut things = reply.list()?;
        let mut due = Vec::new();
        while !things.is_empty() {
            due.push((things.text()?, things.moment()?));
        }
        due.sort_by_key(|(_, at)| *at);
        // Scores are floating-point numbers, exact as far as moments go.
        let next: Option<f64> = reply.maybe()?.and_then(|text| text.parse().ok());
        Ok((due, next.map(|at| At(at as u64))))
    }

    pub(super) async fn leases_now(&self) -> Result<Vec<(TaskKey, Lease)>, StoreError> {
        self.all_held(Reply::of(self.link.ask(cmd("HKEYS").arg(self.key("leases:at")), Again::Yes).await?)?)
    }

    pub(super) async fn leases_of_now(&self, agent: AgentId) -> Result<Vec<(TaskKey, Lease)>, StoreError> {
        let key = self.key(&format!("held:{agent}"));
        self.all_held(Reply::of(self.link.ask(cmd("SMEMBERS").arg(key), Again::Yes).await?)?)
    }

    fn all_held(&self, mut things: Reply) -> Result<Vec<(TaskKey, Lease)>, StoreError> {
        let mut leases = Vec::new();
        while !things.is_empty() {
            leases.push(read_held(&things.text()?)?);
        }
        Ok(leases)
    }

    pub(super) async fn drop_stray_now(&self, key: TaskKey, entry: Entry) -> Result<bool, StoreError> {
        let task = self.load_now(key.clone()).await?;
        if task.as_ref().is_some_and(|task| entry.stands_in(task)) {
            return Ok(false);
        }
        let base = task.map_or_else(Default::default, |task| [task.version, task.updated_at.0].map(|n| n.to_string()));
        let call = self.call(&script::DROP_STRAY).arg(key.id.as_str()).arg(key.tenant.as_str()).arg(&base[..]);
        let call = match &entry {
            Entry::Queued(entry) => {
                let place = format!("{}\n{}", whose(&key), entry.step);
                call.arg("queue").arg(entry.capability.as_str()).arg(place)
            }
            Entry::Timer(id) => call.arg("timers").arg("").arg(format!("{}\n{id}", whose(&key))),
            Entry::Lease(lease) => call.arg("leases").arg(lease.agent.as_str()).arg(held(&key, lease)),
        };
        Ok(self.run(call, Again::Yes).await?.number::<u8>()? == 1)
    }

    pub(super) async fn renew_now(
        &self,
        leases: Vec<(TaskKey, Lease)>,
        ttl_ms: u64,
    ) -> Result<Vec<(TaskKey, Lease)>, StoreError> {
        let call = self.call(&script::RENEW).arg(ttl_ms);
        let call = call.each(leases.iter(), |call, (key, lease)| call.arg(held(key, lease)));
        let mut places = self.run(call, Again::Yes).await?.list()?;
        let mut gone = HashSet::new();
        while !places.is_empty() {
            gone.insert(places.number::<usize>()?);
        }
        // Scripts count from one.
        let numbered = leases.into_iter().zip(1..);
        Ok(numbered.filter(|(_, place)| gone.contains(place)).map(|(held, _)| held).collect())
    }
}
