//! The dispatcher: sees to it that what is due happens. It claims queued steps when slots are free and feeds due timers
//! and lost leases to the master; it never decides, and whatever it misses it finds again on its next round.

mod setbacks;

use super::patience::patiently;
use super::vigil::Vigil;
use super::{ActorRef, Behaviour, Handle, Reply, Turn};
use crate::messages::{Advance, CallContext, Due, DueNow, MasterError, QueueDepths, Receipt, SlotsFree};
use crate::store::{Entry, Store, StoreError};
use crate::task::{Capability, Loss, TaskKey};
use futures_util::future::join_all;
use setbacks::{Outcome, Setbacks};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// What a dispatcher is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct DispatcherParts {
    /// Where queues, timers and leases are.
    pub store: Arc<dyn Store>,
    /// Who decides what is due.
    pub master: ActorRef<Advance>,
    /// Who keeps the estimate of what waits.
    pub estimate: ActorRef<QueueDepths>,
    /// How long a heartbeat counts, in milliseconds.
    pub heartbeat_ttl_ms: u64,
}

/// How often timers and leases are looked at: the grain of every back-off.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
/// How often every queue is looked at, whatever was or was not told.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// How many due things are taken at once.
const BATCH: usize = 256;
/// How long due things are kept from other dispatchers, in milliseconds.
const CLAIM_MS: u64 = 5_000;
/// How long the master may take over one of them. As long as the claim, after which it is taken again.
const ADVANCE_TIMEOUT: Duration = Duration::from_millis(CLAIM_MS);

/// Sees to it that what is due happens.
pub struct Dispatcher {
    parts: DispatcherParts,
    /// Free slots last told, per capability whose queue is being served.
    serving: HashMap<Capability, Option<u32>>,
    /// Steps that the master is being asked about.
    claiming: HashSet<Thing>,
    setbacks: Setbacks,
    vigil: Vigil,
}

/// Something whose time has come, and whose.
type Thing = (TaskKey, Entry);

// === impl Dispatcher ===

impl Dispatcher {
    /// A new life; it finds everything in the store.
    pub fn create(parts: DispatcherParts) -> Self {
        let vigil = Vigil::new(parts.heartbeat_ttl_ms);
        Self { parts, serving: HashMap::new(), claiming: HashSet::new(), setbacks: Setbacks::new(), vigil }
    }

    // === Timers and leases ===

    fn sweep(&mut self, turn: &mut Turn<'_, Self>) {
        let before = self.vigil;
        let ends_leases = self.vigil.begin(self.parts.store.now());
        self.round(ends_leases, turn, move |dispatcher, swept, turn| match swept {
            // A full batch means that more is due.
            Ok(count) if count >= BATCH => turn.defer(Self::sweep),
            Ok(_) => dispatcher.sweep_later(turn),
            Err(error) => {
                dispatcher.vigil.failed(before);
                tracing::warn!(%error, "due timers and leases could not be read");
                dispatcher.sweep_later(turn);
            }
        });
    }

    /// One round over timers and, where they are to be ended, leases; and then what is to be done with how many were due.
    fn round(
        &self,
        ends_leases: bool,
        turn: &mut Turn<'_, Self>,
        then: impl FnOnce(&mut Self, Result<usize, StoreError>, &mut Turn<'_, Self>) + 'static,
    ) {
        let store = self.parts.store.clone();
        turn.spawn(async move { due(&*store, ends_leases).await }, |dispatcher, due, turn| match due {
            Ok((things, count)) => dispatcher.advance(things, turn, move |dispatcher, _, turn| {
                then(dispatcher, Ok(count), turn);
            }),
            Err(error) => then(dispatcher, Err(error), turn),
        });
    }

    /// Asks the master to look at things whose time has come, and then goes on, told how many of them are stuck.
    fn advance(
        &mut self,
        things: Vec<Thing>,
        turn: &mut Turn<'_, Self>,
        then: impl FnOnce(&mut Self, u32, &mut Turn<'_, Self>) + 'static,
    ) {
        let things = things.into_iter().filter(|thing| !self.setbacks.passes_over(thing));
        let asked: Vec<_> = things
            .map(|thing| {
                let asked = advance(&self.parts.master, &thing);
                async move { (asked.await, thing) }
            })
            .collect();
        if asked.is_empty() {
            return then(self, 0, turn);
        }
        turn.spawn(join_all(asked), |dispatcher, outcomes, turn| {
            let stuck = outcomes.iter().filter(|(outcome, _)| matches!(outcome, Outcome::Stuck(_))).count() as u32;
            for (outcome, thing) in outcomes {
                if dispatcher.setbacks.learn(&thing, &outcome) {
                    dispatcher.find_out(thing, turn);
                }
            }
            then(dispatcher, stuck, turn);
        });
    }

    /// Drops something that its task knows nothing of.
    fn find_out(&self, (key, entry): Thing, turn: &mut Turn<'_, Self>) {
        let (store, whose) = (self.parts.store.clone(), key.clone());
        let dropped = async move { patiently(store.drop_stray(&whose, entry)).await };
        turn.spawn(dropped, move |_, dropped, _| match dropped {
            Ok(true) => {
                tracing::info!(task = %key.id, "something fell due that the task knows nothing of; it was dropped")
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(task = %key.id, %error, "what led to nothing could not be looked at"),
        });
    }

    fn sweep_later(&mut self, turn: &mut Turn<'_, Self>) {
        turn.later(SWEEP_EVERY, Self::sweep);
    }

    // === Queues ===

    /// Looks at every queue that holds anything, and tells the master how much.
    fn survey(&mut self, turn: &mut Turn<'_, Self>) {
        let store = self.parts.store.clone();
        turn.spawn(async move { survey(&*store).await }, |dispatcher, depths, turn| {
            match depths {
                // The master answers with `SlotsFree` where anything can run. Not taken now, it will be with the next.
                Ok(depths) => drop(dispatcher.parts.estimate.tell(depths, CallContext::default())),
                Err(error) => tracing::warn!(%error, "the queues could not be read"),
            }
            turn.later(SURVEY_EVERY, Self::survey);
        });
    }

    /// Claims the head of a queue for as many slots as are free; one round at a time per capability.
    fn serve(&mut self, capability: Capability, free: u32, turn: &mut Turn<'_, Self>) {
        if let Some(told) = self.serving.get_mut(&capability) {
            *told = Some(free);
            return;
        }
        self.serving.insert(capability.clone(), None);
        let (parts, wanted) = (self.parts.clone(), capability.clone());
        // Entries under claim stand at the head until their commit is done, and those that are stuck for longer.
        let limit = (free as usize).min(BATCH) + self.claiming.len() + self.setbacks.count();
        let head = async move { patiently(parts.store.waiting(&wanted, limit)).await };
        turn.spawn(head, move |dispatcher, head, turn| match head {
            Ok(head) => {
                let steps = head.entries.into_iter().map(|(key, entry)| (key, Entry::Queued(entry))).collect();
                dispatcher.claim(capability, steps, free, turn);
            }
            Err(error) => {
                tracing::warn!(%error, %capability, "a queue could not be read");
                dispatcher.serving.remove(&capability);
            }
        });
    }

    fn claim(&mut self, capability: Capability, steps: Vec<Thing>, free: u32, turn: &mut Turn<'_, Self>) {
        let is_fresh = |step: &Thing| !self.claiming.contains(step) && !self.setbacks.passes_over(step);
        let fresh: Vec<_> = steps.into_iter().filter(is_fresh).take(free as usize).collect();
        self.claiming.extend(fresh.iter().cloned());
        self.advance(fresh.clone(), turn, move |dispatcher, stuck, turn| {
            for step in &fresh {
                dispatcher.claiming.remove(step);
            }
            // Slots that came free meanwhile are served in a round of their own, and those that nothing could be done with
            // by what stands behind.
            let told = dispatcher.serving.remove(&capability).flatten();
            let left = (stuck > 0 && dispatcher.setbacks.have_room()).then_some(stuck);
            if let Some(free) = told.or(left) {
                dispatcher.serve(capability, free, turn);
            }
        });
    }
}

impl Behaviour for Dispatcher {
    const KIND: &'static str = "dispatcher";

    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        self.sweep(turn);
        self.survey(turn);
    }
}

impl Handle<SlotsFree> for Dispatcher {
    fn handle(&mut self, message: SlotsFree, _: CallContext, reply: Reply<SlotsFree>, turn: &mut Turn<'_, Self>) {
        reply.send(());
        self.serve(message.capability, message.free, turn);
    }
}

impl Handle<DueNow> for Dispatcher {
    fn handle(&mut self, _: DueNow, _: CallContext, reply: Reply<DueNow>, turn: &mut Turn<'_, Self>) {
        let ends_leases = self.vigil.counts_silence(self.parts.store.now());
        // Beside the rounds: what is due is claimed, so that two at once do nothing twice. What this one cannot read, the
        // next round finds.
        self.round(ends_leases, turn, |_, swept, _| {
            if let Err(error) = swept {
                tracing::debug!(%error, "what fell due just now waits for the next round");
            }
            reply.send(());
        });
    }
}

// === The rounds ===

/// The timers that are due and, where they are to be ended, the leases; and how many of the larger kind.
async fn due(store: &dyn Store, ends_leases: bool) -> Result<(Vec<Thing>, usize), StoreError> {
    let leases = match ends_leases {
        true => patiently(store.expired_leases(BATCH, CLAIM_MS)).await?.due,
        false => Vec::new(),
    };
    let timers = patiently(store.due_timers(BATCH, CLAIM_MS)).await?.due;
    let count = leases.len().max(timers.len());
    let lost = leases.into_iter().map(|(key, lease)| (key, Entry::Lease(lease)));
    let fired = timers.into_iter().map(|(key, timer)| (key, Entry::Timer(timer.id)));
    Ok((lost.chain(fired).collect(), count))
}

async fn survey(store: &dyn Store) -> Result<QueueDepths, StoreError> {
    let mut depths = Vec::new();
    for capability in patiently(store.waiting_capabilities()).await? {
        let waiting = patiently(store.waiting(&capability, 0)).await?.counts;
        depths.push((capability, waiting));
    }
    Ok(QueueDepths(depths))
}

/// Asks the master to look at one due thing. Whatever it answers, the store knows whether the thing is still due.
fn advance(master: &ActorRef<Advance>, (key, entry): &Thing) -> impl Future<Output = Outcome> + use<> {
    let task = key.id.clone();
    let due = match entry {
        Entry::Queued(entry) => Due::Claim(entry.step.clone()),
        Entry::Timer(timer) => Due::Timer(*timer),
        Entry::Lease(lease) => Due::Lost(lease.step.clone(), lease.attempt, Loss::LeaseExpired),
    };
    let asked = master.ask(Advance { key: key.clone(), due }, CallContext::default(), ADVANCE_TIMEOUT);
    async move {
        match asked.await {
            Ok(Ok(Receipt::Counted)) => return Outcome::Advanced,
            Ok(Ok(Receipt::Dropped)) | Ok(Err(MasterError::NotFound(_))) => return Outcome::Nothing,
            // Of a newer version, or damaged: asking again changes nothing.
            Ok(Err(MasterError::Internal(why))) => return Outcome::Stuck(why),
            Ok(Err(error @ MasterError::Overloaded { .. })) => tracing::debug!(%task, %error, "what is due waits"),
            Ok(Err(error)) => tracing::warn!(%task, %error, "what was due could not be done; it stays due"),
            Err(error) => tracing::warn!(%task, %error, "the master did not answer; what was due stays due"),
        }
        Outcome::Later
    }
}
