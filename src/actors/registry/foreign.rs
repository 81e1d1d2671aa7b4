//! Agents that know only the predecessor's part of the contract: they show that they live by a key, or by a heartbeat
//! that names steps and no attempts; those that do neither are asked. What is assigned to them is renewed for as long as
//! they live, unless they had listed it and do no longer.

use super::{Registry, dropped, unavailable};
use crate::actors::patience::patiently;
use crate::actors::{Handle, Reply, Turn};
use crate::messages::{Advance, CallContext, Due, ForeignBeat, HeartbeatAnswer, Probe};
use crate::store::StoreError;
use crate::task::{AgentId, Incarnation, Lease, Loss, TaskKey};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How many beats in a row may leave out a step that was listed before, without a result having come.
const MISSED: u32 = 2;

/// An attempt that an agent holds, with the task that it is of.
type Held = (TaskKey, Lease);

/// What foreign agents said of the steps that they hold.
pub(super) struct Strangers {
    /// How often keys are looked at: as often as they are written, so that each is a beat.
    every: Duration,
    /// Those that have shown by themselves that they live; their silence is death.
    beaten: BTreeSet<AgentId>,
    /// The attempts that were listed once, with how many beats in a row have left them out since.
    listed: BTreeMap<AgentId, HashMap<Held, u32>>,
}

impl Strangers {
    pub(super) fn new(heartbeat_ttl_ms: u64) -> Self {
        Self { every: Duration::from_millis(heartbeat_ttl_ms / 3), beaten: BTreeSet::new(), listed: BTreeMap::new() }
    }

    /// Takes one beat in, over what its agent holds; divides that into what goes on and what is lost. Neither is what a
    /// former life held, where it is known which one beats: nobody answers for that, and it runs out.
    fn judge(&mut self, beat: &ForeignBeat, life: Option<&Incarnation>, held: Vec<Held>) -> (Vec<Held>, Vec<Held>) {
        let before = self.listed.remove(&beat.agent).unwrap_or_default();
        let (mut go_on, mut lost, mut listed) = (Vec::new(), Vec::new(), HashMap::default());
        let is_its = |lease: &Lease| life.is_none_or(|life| lease.incarnation == *life);
        for held in held.into_iter().filter(|(_, lease)| is_its(lease)) {
            let missed = if beat.active.contains(&held.1.step) { Some(0) } else { before.get(&held).map(|n| n + 1) };
            match missed {
                Some(missed) if missed >= MISSED => lost.push(held),
                Some(missed) => {
                    listed.insert(held.clone(), missed);
                    go_on.push(held);
                }
                None => go_on.push(held),
            }
        }
        if !listed.is_empty() {
            self.listed.insert(beat.agent.clone(), listed);
        }
        (go_on, lost)
    }
}

/// By what is known that a foreign agent lives.
enum Sign {
    /// Its key in the store, which is its own record.
    Key,
    /// Its heartbeat, which is to be answered.
    Beat(Reply<ForeignBeat>),
    /// Its answer to our question.
    Answer,
}

/// How long it may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

impl Registry {
    /// Looks at the keys by which foreign agents show that they live.
    pub(super) fn keep_looking_at_strangers(&mut self, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        let read = async move { patiently(store.foreign_beats()).await };
        turn.spawn(read, |registry, beats, turn| {
            match beats {
                Ok(beats) => beats.into_iter().for_each(|beat| registry.take_beat(beat, Sign::Key, turn)),
                Err(error) => tracing::debug!(%error, "the foreign agents' keys could not be read"),
            }
            registry.probe_the_silent(turn);
            turn.later(registry.strangers.every, Self::keep_looking_at_strangers);
        });
    }

    /// Asks those that have never shown by themselves that they live: the least that a worker must do is to register and
    /// to answer.
    fn probe_the_silent(&self, turn: &mut Turn<'_, Self>) {
        let is_silent = |agent: &AgentId| !self.strangers.beaten.contains(agent);
        let foreign = self.agents.iter().filter(|(agent, alive)| alive.declaration.foreign && is_silent(agent));
        for (agent, _) in foreign {
            let lines = self.parts.directory.find(agent);
            let Some(probe) = lines.and_then(|lines| Some(lines.far.as_ref()?.probe.clone())) else { continue };
            let agent = agent.clone();
            let asked = probe.ask(Probe, CallContext::default(), PROBE_TIMEOUT);
            turn.spawn(asked, move |registry, answer, turn| {
                if answer.is_ok() {
                    registry.take_beat(ForeignBeat { agent, load: 0.0, active: Vec::new() }, Sign::Answer, turn);
                    registry.tell_roster(turn);
                }
            });
        }
    }

    /// Renews what the agent holds, and ends what it has forgotten.
    fn take_beat(&mut self, beat: ForeignBeat, sign: Sign, turn: &mut Turn<'_, Self>) {
        if !matches!(sign, Sign::Answer) {
            self.strangers.beaten.insert(beat.agent.clone());
        }
        let active = u32::try_from(beat.active.len()).unwrap_or(u32::MAX);
        let now = self.parts.store.now();
        let known = self.agents.get_mut(&beat.agent).map(|alive| {
            alive.heard = Instant::now();
            alive.unreachable_since = None;
            alive.record(now, beat.load, active)
        });
        let (parts, agent) = (self.parts.clone(), beat.agent.clone());
        let is_recorded = matches!(sign, Sign::Key);
        let held = async move {
            if let Some(record) = known.as_ref().filter(|_| !is_recorded) {
                patiently(parts.store.put_agent(record.clone(), parts.heartbeat_ttl_ms)).await?;
            }
            Ok((patiently(parts.store.leases_of(&agent)).await?, known.map(|record| record.declaration.incarnation)))
        };
        turn.spawn(held, move |registry, held: Result<_, StoreError>, turn| match held {
            Ok((held, life)) => {
                let lost = registry.renew_for(&beat, life.as_ref(), held, turn);
                let drop = lost.into_iter().map(dropped).collect();
                if let Sign::Beat(reply) = sign {
                    reply.send(Ok(HeartbeatAnswer { drop, known: life.is_some() }));
                }
            }
            Err(error) => match sign {
                Sign::Beat(reply) => reply.send(Err(unavailable(error))),
                Sign::Key | Sign::Answer => {
                    tracing::debug!(agent = %beat.agent, %error, "what a foreign agent holds could not be read")
                }
            },
        });
    }

    fn renew_for(
        &mut self,
        beat: &ForeignBeat,
        life: Option<&Incarnation>,
        held: Vec<Held>,
        turn: &mut Turn<'_, Self>,
    ) -> Vec<Held> {
        let (go_on, lost) = self.strangers.judge(beat, life, held);
        for (key, lease) in &lost {
            tracing::warn!(agent = %beat.agent, task = %key.id, step = %lease.step, "a foreign agent lost a step");
            let due = Due::Lost(lease.step.clone(), lease.attempt, Loss::LeaseExpired);
            if let Some(master) = self.parts.master.get() {
                // Not taken now, it will be with the next beat.
                let _ = master.tell(Advance { key: key.clone(), due }, CallContext::default());
            }
        }
        if !go_on.is_empty() {
            let (store, ttl_ms) = (self.parts.store.clone(), self.parts.heartbeat_ttl_ms);
            turn.spawn(async move { patiently(store.renew(go_on, ttl_ms)).await }, |_, renewed, _| {
                if let Err(error) = renewed {
                    tracing::warn!(%error, "a foreign agent's leases could not be renewed");
                }
            });
        }
        lost
    }
}

impl Handle<ForeignBeat> for Registry {
    fn handle(&mut self, beat: ForeignBeat, _: CallContext, reply: Reply<ForeignBeat>, turn: &mut Turn<'_, Self>) {
        self.take_beat(beat, Sign::Beat(reply), turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{AttemptNo, StepId, TaskId, Tenant};

    fn held(step: &'static str) -> Held {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") };
        let (agent, incarnation) = (AgentId::trusted("stranger"), Incarnation::trusted("i1"));
        (key, Lease { step: StepId::trusted(step), attempt: AttemptNo(1), agent, incarnation })
    }

    fn beat(active: &[&'static str]) -> ForeignBeat {
        let active = active.iter().map(|step| StepId::trusted(*step)).collect();
        ForeignBeat { agent: AgentId::trusted("stranger"), load: 0.5, active }
    }

    #[test]
    fn a_step_that_was_never_listed_goes_on_and_a_forgotten_one_is_lost_at_the_second_beat_without_it() {
        let mut strangers = Strangers::new(30_000);
        let both = || vec![held("t-1-P1"), held("t-1-P2")];
        for _ in 0..5 {
            assert_eq!(strangers.judge(&beat(&[]), None, both()).1, []);
        }
        assert_eq!(strangers.judge(&beat(&["t-1-P1"]), None, both()).1, []);
        assert_eq!(strangers.judge(&beat(&[]), None, both()).1, []);
        // Seen again in between: it counts anew.
        assert_eq!(strangers.judge(&beat(&["t-1-P1"]), None, both()).1, []);
        assert_eq!(strangers.judge(&beat(&[]), None, both()).1, []);
        assert_eq!(strangers.judge(&beat(&[]), None, both()), (vec![held("t-1-P2")], vec![held("t-1-P1")]));
    }

    #[test]
    fn what_a_former_life_held_is_neither_renewed_nor_asked_after() {
        let mut strangers = Strangers::new(30_000);
        let life = |name: &'static str| Incarnation::trusted(name);
        let of = |name, (key, lease): Held| (key, Lease { incarnation: life(name), ..lease });
        let all = || vec![of("i1", held("t-1-P1")), of("i2", held("t-1-P2"))];
        for active in [&["t-1-P1", "t-1-P2"][..], &[], &[]] {
            let (go_on, lost) = strangers.judge(&beat(active), Some(&life("i2")), all());
            assert!(go_on.into_iter().chain(lost).all(|(_, lease)| lease.incarnation == life("i2")));
        }
        // Which life it is may not be known: the living are not ended for that.
        assert_eq!(Strangers::new(30_000).judge(&beat(&[]), None, all()), (all(), vec![]));
    }
}
