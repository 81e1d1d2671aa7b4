//! An agent as an actor: keeps the slots, runs each attempt as a child of its own, reports how it ended and tells the
//! registry that it is alive. The step itself happens in the child; the actor only counts.

mod report;
mod think;

use super::{ActorRef, Behaviour, Handle, Reply, TaskEnd, TaskSet, Turn, spawn_task};
use crate::agents::{Agent, AgentError};
use crate::messages::{
    ActiveAttempt, CallContext, CallError, Declaration, Drain, Draining, DropAttempt, Generate, Heartbeat,
    HeartbeatAnswer, Perform, Register, RegistryError, StepOutcome, StepResult, Work, WorkReply,
};
use crate::task::{AgentId, Capability, ErrorCode, Failure, Incarnation, Json, Loss};
use foldhash::{HashMap, HashMapExt as _};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use think::{GatewayThink, Progress};
use tokio::sync::{oneshot, watch};

/// What an agent's actor is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct AgentParts {
    /// Its name.
    pub id: AgentId,
    /// What it is to do, from now on; none once its team has no place for it.
    pub duties: watch::Receiver<Option<Arc<Duties>>>,
    /// Who takes its results.
    pub master: ActorRef<StepResult>,
    /// Where it thinks.
    pub gateway: ActorRef<Generate>,
    /// Where it joins.
    pub register: ActorRef<Register>,
    /// Where it says that it is alive.
    pub heartbeat: ActorRef<Heartbeat>,
    /// How long a heartbeat counts, in milliseconds.
    pub heartbeat_ttl_ms: u64,
    /// Where other processes reach it; none when only its own does.
    pub url: Option<Arc<str>>,
}

/// What an agent is to do. Steps that began under other duties end under them.
#[derive(Clone)]
pub struct Duties {
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// What kind of specialist it is.
    pub profile: Arc<str>,
    /// What it is, for people.
    pub description: Arc<str>,
    /// Which provider it thinks with; the gateway's own when none.
    pub provider: Option<Arc<str>>,
    /// What it does.
    pub agent: Arc<dyn Agent>,
}

/// An accepted attempt is in a heartbeat within this time.
const FIRST_BEAT: Duration = Duration::from_millis(800);
/// How long the registry may take to answer one who joins.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(15);
/// What of a heartbeat's lifetime may pass before its answer is given up, and it is sent once more, where there are
/// several masters to the next: beats are a third apart, so both tries are over before the next.
const BEAT_PATIENCE: u32 = 6;
/// A heartbeat that was not taken is sent again after so long, not when the next is due.
const BEAT_AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest pause between tries at joining.
const JOIN_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The largest output that is taken, in bytes.
const MAX_OUTPUT_BYTES: usize = 2 * 1024 * 1024;

/// One agent.
pub struct AgentActor {
    parts: AgentParts,
    /// None once it is to take nothing new.
    duties: Option<Arc<Duties>>,
    incarnation: Incarnation,
    steps: TaskSet<DropAttempt>,
    /// What each attempt is busy with, until its result has been taken.
    attempts: HashMap<DropAttempt, Arc<Progress>>,
    /// Who waits on the spot for an attempt's result, in the master's place.
    waiting: HashMap<DropAttempt, oneshot::Sender<StepResult>>,
    /// Attempts that were handed back, until the master knows of it.
    handed_back: usize,
    is_draining: bool,
    /// It is trying to join; one such chain is enough.
    is_joining: bool,
    /// A heartbeat is on its way already that will list what was just accepted.
    beat_is_due: bool,
}

// === impl AgentActor ===

impl AgentActor {
    /// A new life, with free slots. Attempts that an earlier one left running are reported as lost.
    pub fn create(mut parts: AgentParts) -> Self {
        let master = parts.master.clone();
        let agent = parts.id.clone();
        let duties = parts.duties.borrow_and_update().clone();
        let steps = TaskSet::new(move |attempt| report::lost(&master, &agent, attempt, Loss::AgentRestarted));
        let incarnation = Incarnation::trusted(uuid::Uuid::now_v7().to_string());
        Self {
            is_draining: duties.is_none(),
            parts,
            duties,
            incarnation,
            steps,
            attempts: HashMap::new(),
            waiting: HashMap::new(),
            handed_back: 0,
            is_joining: false,
            beat_is_due: false,
        }
    }

    fn id(&self) -> &AgentId {
        &self.parts.id
    }

    fn slots(&self) -> u32 {
        self.duties.as_ref().map_or(0, |duties| duties.slots)
    }

    fn take(&mut self, work: Work, context: CallContext, turn: &mut Turn<'_, Self>) -> WorkReply {
        let attempt = DropAttempt { key: work.key.clone(), step: work.step.clone(), attempt: work.attempt };
        let duties = self.duties.clone().filter(|_| !self.is_draining);
        let Some(duties) = duties else { return WorkReply::Draining };
        if work.incarnation.as_ref().is_some_and(|meant| *meant != self.incarnation) {
            WorkReply::Restarted
        } else if self.attempts.contains_key(&attempt) {
            WorkReply::Accepted
        } else if self.steps.len() >= duties.slots as usize {
            WorkReply::Overloaded
        } else {
            self.begin(&duties, work, context, turn);
            WorkReply::Accepted
        }
    }

    fn begin(&mut self, duties: &Duties, work: Work, context: CallContext, turn: &mut Turn<'_, Self>) {
        let attempt = DropAttempt { key: work.key.clone(), step: work.step.clone(), attempt: work.attempt };
        let progress = Arc::new(Progress::default());
        let agent = duties.agent.clone();
        let think = GatewayThink::new(self, duties, &work, context, progress.clone());
        let name = [work.step.as_str(), " #", &work.attempt.0.to_string()].concat();
        let child = spawn_task(turn.node(), name, async move { agent.perform(&work, &think).await });
        self.steps.insert(attempt.clone(), child.abort_handle());
        self.attempts.insert(attempt.clone(), progress);
        turn.spawn(child, move |actor, outcome, turn| actor.ended(attempt, outcome, turn));
        self.beat_within(FIRST_BEAT, turn);
    }

    /// Answers on the spot once the attempt has ended; whoever gives up drops it. Of two who wait for the same attempt the
    /// second is answered.
    fn wait_with(&mut self, attempt: DropAttempt, mut reply: Reply<Perform>, turn: &mut Turn<'_, Self>) {
        let (tell, told) = oneshot::channel();
        self.waiting.insert(attempt.clone(), tell);
        let answered = async move {
            let result = match select(told, pin!(reply.closed())).await {
                Either::Left((result, _)) => result.ok(),
                Either::Right(_) => return true,
            };
            if let Some(result) = result {
                reply.send(Ok(result));
            }
            false
        };
        turn.spawn(answered, move |actor, is_given_up, _| {
            if is_given_up {
                actor.waiting.remove(&attempt);
                actor.drop_attempt(&attempt);
            }
        });
    }

    /// A step's child has ended: its slot is free, and its outcome is reported until the master has it.
    fn ended(&mut self, attempt: DropAttempt, outcome: TaskEnd<Result<Json, AgentError>>, turn: &mut Turn<'_, Self>) {
        let waiting = self.waiting.remove(&attempt);
        // Not here any more: it was dropped on request, and nobody waits for word of it.
        if self.steps.remove(&attempt).is_none() {
            self.attempts.remove(&attempt);
            return;
        }
        let Some(outcome) = judge(outcome) else {
            self.attempts.remove(&attempt);
            return;
        };
        let result = StepResult {
            key: attempt.key.clone(),
            step: attempt.step.clone(),
            agent: self.id().clone(),
            attempt: Some(attempt.attempt),
            outcome,
            trace: Vec::new(),
        };
        if let Some(waiting) = waiting {
            self.attempts.remove(&attempt);
            // Whoever gave up has dropped the attempt.
            let _ = waiting.send(result);
            return;
        }
        let delivered = report::deliver(self.parts.master.clone(), result);
        turn.spawn(delivered, move |actor, (), _| {
            actor.attempts.remove(&attempt);
        });
    }

    // === Joining and staying ===

    fn join(&mut self, pause: Duration, turn: &mut Turn<'_, Self>) {
        let Some(declaration) = self.declaration() else { return };
        self.is_joining = true;
        let joined = self.parts.register.ask(Register(declaration), CallContext::default(), REGISTRY_TIMEOUT);
        turn.spawn(joined, move |actor, joined, turn| {
            actor.is_joining = !matches!(joined, Ok(Ok(()))) && !actor.is_draining;
            if actor.is_joining {
                let pause = actor.pause_after(&joined, pause);
                let next = (pause * 2).min(JOIN_PAUSES.1);
                let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                turn.later(jittered, move |actor, turn| actor.join(next, turn));
            }
        });
    }

    /// How long it waits after it could not join.
    fn pause_after(&self, joined: &Result<Result<(), RegistryError>, CallError>, pause: Duration) -> Duration {
        if let Ok(Err(RegistryError::Replaced(why))) = joined {
            tracing::error!(agent = %self.id(), "this agent gets no work: {why}");
            // Its name is free again when the newer life has not been heard for so long.
            return Duration::from_millis(self.parts.heartbeat_ttl_ms) * 2;
        }
        tracing::warn!(agent = %self.id(), ?joined, "could not join; trying again");
        pause
    }

    /// What it says of itself; none when it is to join no more.
    fn declaration(&self) -> Option<Declaration> {
        let duties = self.duties.as_ref()?;
        Some(Declaration {
            agent: self.id().clone(),
            incarnation: self.incarnation.clone(),
            capabilities: duties.capabilities.clone(),
            slots: duties.slots,
            profile: duties.profile.clone(),
            description: Some(duties.description.clone()),
            url: self.parts.url.clone(),
            foreign: false,
            reads_stages: true,
        })
    }

    /// Waits for other duties, takes them up, and joins again with them.
    fn follow_duties(&self, turn: &mut Turn<'_, Self>) {
        let mut told = self.parts.duties.clone();
        turn.spawn(async move { told.changed().await.is_ok() }, |actor, is_told, turn| {
            if is_told {
                actor.duties = actor.parts.duties.borrow_and_update().clone();
                actor.is_draining |= actor.duties.is_none();
                actor.join(JOIN_PAUSES.0, turn);
                actor.follow_duties(turn);
            }
        });
    }

    fn beat_within(&mut self, delay: Duration, turn: &mut Turn<'_, Self>) {
        if !std::mem::replace(&mut self.beat_is_due, true) {
            turn.later(delay, |actor, turn| {
                actor.beat_is_due = false;
                // What ended meanwhile needs no word.
                if !actor.attempts.is_empty() {
                    actor.beat(turn);
                }
            });
        }
    }

    fn beat(&mut self, turn: &mut Turn<'_, Self>) {
        // A result on its way to the master stalls nobody's work.
        let active = |(attempt, progress): (&DropAttempt, &Arc<Progress>)| {
            let age_ms = if self.steps.contains(attempt) { progress.age_ms() } else { 0 };
            active(attempt, progress, age_ms)
        };
        let active = self.attempts.iter().map(active).collect();
        let load = self.steps.len() as f64 / f64::from(self.slots().max(1));
        let beat =
            Heartbeat { agent: self.id().clone(), incarnation: self.incarnation.clone(), load: load.min(1.0), active };
        let heartbeat = self.parts.heartbeat.clone();
        let patience = Duration::from_millis(self.parts.heartbeat_ttl_ms) / BEAT_PATIENCE;
        let answered = async move {
            match heartbeat.ask(beat.clone(), CallContext::default(), patience).await {
                // A master that stands still keeps its connections; what a beat does may be done twice.
                Err(CallError::Timeout | CallError::Crashed) => {
                    heartbeat.ask(beat, CallContext::default(), patience).await
                }
                answer => answer,
            }
        };
        turn.spawn(answered, |actor, answer, turn| match answer {
            Ok(Ok(HeartbeatAnswer { drop, known })) => {
                for attempt in drop {
                    actor.drop_attempt(&attempt);
                }
                if !known && !actor.is_draining && !actor.is_joining {
                    actor.join(JOIN_PAUSES.0, turn);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(agent = %actor.id(), %error, "a heartbeat was not taken");
                actor.beat_within(BEAT_AGAIN, turn);
            }
            Err(error) => {
                tracing::warn!(agent = %actor.id(), %error, "a heartbeat got no answer");
                actor.beat_within(BEAT_AGAIN, turn);
            }
        });
    }

    /// Gives up what still runs, and says so until the master has heard it: another agent takes it up at once, not after
    /// its lease.
    fn hand_back(&mut self, turn: &mut Turn<'_, Self>) {
        let left: Vec<_> = self.steps.keys().cloned().collect();
        for attempt in left {
            self.steps.abort(&attempt);
            let result = report::loss(self.id(), attempt, Loss::Drained);
            self.handed_back += 1;
            let delivered = report::deliver(self.parts.master.clone(), result);
            turn.spawn(delivered, |actor, (), _| actor.handed_back -= 1);
        }
    }

    fn drop_attempt(&mut self, attempt: &DropAttempt) {
        if self.steps.abort(attempt) {
            tracing::info!(task = %attempt.key.id, step = %attempt.step, attempt = attempt.attempt.0, "dropped an attempt");
        }
    }
}

impl Behaviour for AgentActor {
    const KIND: &'static str = "agent";

    fn started(&mut self, turn: &mut Turn<'_, Self>) {
        self.join(JOIN_PAUSES.0, turn);
        self.follow_duties(turn);
        turn.every(Duration::from_millis(self.parts.heartbeat_ttl_ms / 3), Self::beat);
    }
}

impl Handle<Work> for AgentActor {
    fn handle(&mut self, work: Work, context: CallContext, reply: Reply<Work>, turn: &mut Turn<'_, Self>) {
        reply.send(self.take(work, context, turn));
    }
}

impl Handle<Perform> for AgentActor {
    fn handle(&mut self, message: Perform, context: CallContext, reply: Reply<Perform>, turn: &mut Turn<'_, Self>) {
        let Perform(work) = message;
        let attempt = DropAttempt { key: work.key.clone(), step: work.step.clone(), attempt: work.attempt };
        match self.take(work, context, turn) {
            WorkReply::Accepted => self.wait_with(attempt, reply, turn),
            refusal => reply.send(Err(refusal)),
        }
    }
}

impl Handle<DropAttempt> for AgentActor {
    fn handle(&mut self, attempt: DropAttempt, _: CallContext, reply: Reply<DropAttempt>, _: &mut Turn<'_, Self>) {
        self.drop_attempt(&attempt);
        reply.send(());
    }
}

impl Handle<Drain> for AgentActor {
    fn handle(&mut self, drain: Drain, _: CallContext, reply: Reply<Drain>, turn: &mut Turn<'_, Self>) {
        self.is_draining = true;
        if drain.hand_back {
            self.hand_back(turn);
        }
        let left = self.attempts.len() + self.handed_back;
        reply.send(Draining { incarnation: self.incarnation.clone(), left });
    }
}

// === Pure parts ===

fn active(attempt: &DropAttempt, progress: &Progress, progress_age_ms: u64) -> ActiveAttempt {
    let (phase, call) = progress.now();
    ActiveAttempt {
        key: attempt.key.clone(),
        step: attempt.step.clone(),
        attempt: attempt.attempt,
        phase,
        progress_age_ms,
        call,
    }
}

/// What a step's end means to the master; none when it was aborted from outside, which whoever did it reports.
fn judge(outcome: TaskEnd<Result<Json, AgentError>>) -> Option<StepOutcome> {
    Some(match outcome {
        TaskEnd::Finished(Ok(output)) if output.bytes() > MAX_OUTPUT_BYTES => {
            let message =
                format!("its output of {} bytes is over the {MAX_OUTPUT_BYTES} that are taken", output.bytes());
            StepOutcome::FatalFailure(Failure::new(ErrorCode::ValidationError, message))
        }
        TaskEnd::Finished(Ok(output)) => StepOutcome::Succeeded(output),
        TaskEnd::Finished(Err(AgentError::Retryable(failure))) => StepOutcome::RetryableFailure(failure),
        TaskEnd::Finished(Err(AgentError::Fatal(failure))) => StepOutcome::FatalFailure(failure),
        TaskEnd::Finished(Err(AgentError::Crashed(failure))) => StepOutcome::Crashed(failure),
        TaskEnd::Finished(Err(AgentError::Lost(loss))) => StepOutcome::Lost(loss),
        TaskEnd::Panicked(words) => {
            StepOutcome::Crashed(Failure::new(ErrorCode::Crashed, format!("the agent's code panicked: {words}")))
        }
        TaskEnd::Aborted => return None,
    })
}

#[cfg(test)]
mod tests;
