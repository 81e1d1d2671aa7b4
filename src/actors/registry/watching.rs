//! Processes that end without a word: the connection that each far agent's process holds open breaks off, its machine says
//! that nothing listens there, and what it held is placed elsewhere at once, not when its leases run out.

use super::Registry;
use crate::actors::patience::patiently;
use crate::actors::{FarLines, Handle, Reply, Turn};
use crate::messages::{CallContext, DueNow, Knock, Presence, Unreachable, Watch};
use crate::task::{AgentId, Incarnation};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longer than a process lets itself be watched at a stretch.
const WATCH_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a machine may take to say whether anything listens.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause before a process is watched again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// A watch that lasted so long did not fail.
const STEADY: Duration = Duration::from_secs(1);

/// Why an agent is set aside.
const NOBODY: &str = "nobody listens where an agent was reached";

/// One life of an agent.
pub(super) type Life = (AgentId, Incarnation);

/// The processes that are watched, by where they are reached.
#[derive(Default)]
pub(super) struct Watches(BTreeSet<Arc<str>>);

impl Registry {
    /// Begins to watch the processes of agents that came to be known.
    pub(super) fn watch_the_far(&mut self, turn: &mut Turn<'_, Self>) {
        let reached = self.agents.values().filter(|alive| alive.unreachable_since.is_none());
        let far = reached.filter_map(|alive| alive.declaration.url.as_ref());
        // Mostly none: this is done with every heartbeat.
        let new: Vec<_> = far.filter(|url| !self.watches.0.contains(*url)).cloned().collect();
        for url in new {
            if self.watches.0.insert(url.clone()) {
                self.watch(url, PAUSES.0, turn);
            }
        }
    }

    /// Watches a process for as long as an agent of it lives.
    fn watch(&mut self, url: Arc<str>, pause: Duration, turn: &mut Turn<'_, Self>) {
        let Some(lines) = self.lives_at(&url).find_map(|(agent, _)| self.far_lines(&agent)) else {
            self.watches.0.remove(&url);
            return;
        };
        let begun = Instant::now();
        let ended = lines.watch.ask(Watch, CallContext::default(), WATCH_TIMEOUT);
        // However it ended, the machine knows whether the process has.
        turn.spawn(ended, move |registry, _, turn| {
            let pause = if begun.elapsed() >= STEADY { PAUSES.0 } else { pause };
            // Before the question: of a process that comes after it nothing is said.
            let lives: Vec<_> = registry.lives_at(&url).collect();
            turn.spawn(async move { knock(&lines).await }, move |registry, presence, turn| {
                if presence == Presence::Refuses {
                    lives.into_iter().for_each(|life| registry.process_gone(life, NOBODY, turn));
                }
                let next = (2 * pause).min(PAUSES.1);
                let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                turn.later(jittered, move |registry, turn| registry.watch(url, next, turn));
            });
        });
    }

    /// The agents at a place that are not known to be gone.
    fn lives_at(&self, url: &str) -> impl Iterator<Item = Life> {
        let there = self.agents.values().filter(move |alive| {
            alive.unreachable_since.is_none() && alive.declaration.url.as_deref().is_some_and(|own| own == url)
        });
        there.map(|alive| (alive.declaration.agent.clone(), alive.declaration.incarnation.clone()))
    }

    fn far_lines(&self, agent: &AgentId) -> Option<FarLines> {
        self.parts.directory.find(agent)?.far.clone()
    }

    /// It gets no more work until it is heard again. Answers whether that is news.
    fn set_aside(&mut self, (agent, incarnation): &Life, why: &str, turn: &mut Turn<'_, Self>) -> bool {
        let known = self.agents.get_mut(agent).filter(|alive| alive.declaration.incarnation == *incarnation);
        let Some(alive) = known.filter(|alive| alive.unreachable_since.is_none()) else { return false };
        alive.unreachable_since = Some(Instant::now());
        tracing::warn!(%agent, "{why}: it gets no work until it is heard");
        self.tell_roster(turn);
        true
    }

    /// The process of this life is gone, and with it whatever it held.
    pub(super) fn process_gone(&mut self, life: Life, why: &str, turn: &mut Turn<'_, Self>) {
        self.set_aside(&life, why, turn);
        let (store, dispatcher) = (self.parts.store.clone(), self.parts.dispatcher.clone());
        let expired = async move { patiently(store.expire_leases_of(&life.0, &life.1)).await };
        turn.spawn(expired, move |_, expired, _| match (expired, dispatcher.get()) {
            // A full lane is no loss: the next round is a tenth of a second away.
            (Ok(()), Some(dispatcher)) => drop(dispatcher.tell(DueNow, CallContext::default())),
            (Ok(()), None) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "the leases of an agent that is gone could not be ended; they run out");
            }
        });
    }
}

impl Handle<Unreachable> for Registry {
    fn handle(&mut self, message: Unreachable, _: CallContext, reply: Reply<Unreachable>, turn: &mut Turn<'_, Self>) {
        reply.send(());
        let life = (message.agent, message.incarnation);
        if !self.set_aside(&life, NOBODY, turn) {
            return;
        }
        let Some(lines) = self.far_lines(&life.0) else { return };
        // A name that has no address for a moment, or a network that is down, ends nobody's work.
        turn.spawn(async move { knock(&lines).await }, move |registry, presence, turn| {
            if presence == Presence::Refuses {
                registry.process_gone(life, NOBODY, turn);
            }
        });
    }
}

async fn knock(lines: &FarLines) -> Presence {
    lines.knock.ask(Knock, CallContext::default(), KNOCK_TIMEOUT).await.unwrap_or(Presence::Unknown)
}
