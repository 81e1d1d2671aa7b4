//! Deciding: a state, an input and the moment give the events that follow, and nothing else happens. Retries, deadlines,
//! first-result-wins, cancellation and poison are all decided here.

use super::TimerId;
use super::apply::{apply, begin};
use super::event::{AttemptEnd, Event, EventKind, Loss};
use super::failure::{ErrorCode, Failure};
use super::fleet::{Choice, Fleet, Wanted};
use super::id::{AgentId, At, AttemptNo, Scope, StepId, StepIndex};
use super::json::Payload;
use super::plan::Plan;
use super::state::{StepState, Task};
use super::submission::Submission;
use std::sync::Arc;

/// How many characters of the objective lists show.
const SUMMARY_CHARS: usize = 120;
/// The least time, in milliseconds, after which a step that waits for a slot is looked at again: even one that may not
/// wait for an agent at all must not make its timer spin.
const MIN_RECHECK_MS: u64 = 1_000;

/// What a decision may know besides the task.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// Now, by the store's clock.
    pub now: At,
    /// For jitter and for taking turns.
    pub seed: u64,
    /// Who could take a step.
    pub fleet: &'a Fleet,
}

/// Something that concerns an accepted task.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An attempt ended, or is said to have.
    Report(Report),
    /// A queued step's turn has come.
    Claim(StepId),
    /// A timer's time has come.
    TimerFired(TimerId),
    /// Somebody no longer wants it.
    Cancel(Arc<str>),
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which step.
    pub step: StepId,
    /// Who says so.
    pub agent: AgentId,
    /// Which attempt; the newest of that agent when it does not say.
    pub attempt: Option<AttemptNo>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With this output.
    Succeeded(Payload),
    /// Otherwise.
    Ended(AttemptEnd),
}

/// Why an input changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is late or a repetition: nothing is owed.
    #[error("it came too late to count")]
    Stale,
    /// No such step.
    #[error("the task has no step {0}")]
    UnknownStep(StepId),
    /// The agent never had the step.
    #[error("step {step} was never assigned to agent {agent} (attempt {attempt:?})")]
    NeverAssigned {
        /// The step.
        step: StepId,
        /// The agent.
        agent: AgentId,
        /// The attempt it named.
        attempt: Option<AttemptNo>,
    },
    /// The task has ended otherwise.
    #[error("the task has already {0}")]
    AlreadyEnded(&'static str),
    /// No agent has a free slot for the claimed step.
    #[error("no agent has a free slot")]
    NoSlot,
}

/// The events that follow, and the state they lead to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The new events; never empty.
    pub events: Vec<Event>,
    /// The state with them folded in.
    pub task: Task,
}

/// Takes a task: accepted, planned and first steps placed, in one decision.
pub fn accept(submission: &Submission, request: Payload, plan: Plan, world: World<'_>) -> Decision {
    let now = world.now;
    let mut scopes = vec![
        Scope::of_parts(&["tenant:", submission.key.tenant.as_str()]),
        Scope::of_parts(&["task:", submission.key.id.as_str()]),
    ];
    scopes.extend(submission.options.budget.scopes.iter().cloned());
    let accepted = EventKind::Accepted {
        request,
        summary: summary(&submission.request.objective),
        options: submission.options.clone().into(),
        budget_scopes: scopes.into(),
        deadline_at: now.plus(submission.options.deadline_ms),
    };
    let events =
        vec![Event { seq: 1, at: now, kind: accepted }, Event { seq: 2, at: now, kind: EventKind::Planned { plan } }];
    let task = begin(&submission.key, &events[0], &events[1]);
    #[expect(clippy::expect_used, reason = "the two events above are what a beginning is")]
    let task = task.expect("accepted and planned begin a task");
    let mut draft = Draft { task, events, world, taken: Vec::new() };
    draft.advance();
    draft.done()
}

fn summary(objective: &str) -> Arc<str> {
    // An objective may go on for long, and each of its words has a character at least.
    let line = objective.split_whitespace().take(SUMMARY_CHARS).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SUMMARY_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]).into(),
        None => line.into(),
    }
}

/// What follows from an input.
///
/// # Errors
/// [`Refusal`] when nothing does; the state is then unchanged.
pub fn decide(task: &Task, input: Input, world: World<'_>) -> Result<Decision, Refusal> {
    if let Some(end) = &task.end {
        return Err(match (input, &end.outcome) {
            (Input::Cancel(_), super::TaskOutcome::Succeeded(_)) => Refusal::AlreadyEnded("succeeded"),
            (Input::Cancel(_), super::TaskOutcome::Failed(_)) => Refusal::AlreadyEnded("failed"),
            (Input::Report(report), _) => assigned(task, &report).err().unwrap_or(Refusal::Stale),
            _ => Refusal::Stale,
        });
    }
    // Most decisions are a step's end and the next one's beginning.
    let mut draft = Draft { task: task.clone(), events: Vec::with_capacity(2), world, taken: Vec::new() };
    match input {
        Input::Report(report) => draft.report(report)?,
        Input::Claim(step) => draft.claim(&step)?,
        Input::TimerFired(timer) => draft.timer_fired(timer)?,
        Input::Cancel(reason) => draft.emit(EventKind::TaskCancelled { reason }),
    }
    draft.advance();
    Ok(draft.done())
}

/// The attempt that a report is about.
fn assigned(task: &Task, report: &Report) -> Result<(StepIndex, AttemptNo), Refusal> {
    let index = task.plan.find(&report.step).ok_or_else(|| Refusal::UnknownStep(report.step.clone()))?;
    let step = &task.steps[index.position()];
    let attempt = match report.attempt {
        Some(no) => step.attempt(no).filter(|attempt| attempt.agent == report.agent).map(|_| no),
        None => step.newest_of(&report.agent),
    };
    attempt.map(|no| (index, no)).ok_or_else(|| Refusal::NeverAssigned {
        step: report.step.clone(),
        agent: report.agent.clone(),
        attempt: report.attempt,
    })
}

/// A decision in the making: each event is folded in as soon as it is decided, so what follows sees it.
struct Draft<'a> {
    task: Task,
    events: Vec<Event>,
    world: World<'a>,
    /// Slots promised in this decision, which the fleet does not know of yet.
    taken: Vec<AgentId>,
}

impl Draft<'_> {
    fn done(self) -> Decision {
        Decision { events: self.events, task: self.task }
    }

    fn emit(&mut self, kind: EventKind) {
        // After a clock was set back, a task's moments stand still until it has caught up; what they are counted from, such
        // as a pause, goes by the clock.
        let at = self.world.now.max(self.task.updated_at);
        let event = Event { seq: self.task.version + 1, at, kind };
        apply(&mut self.task, &event);
        self.events.push(event);
    }

    fn seed(&self) -> u64 {
        self.world.seed.wrapping_add(self.task.version)
    }

    // === Inputs ===

    fn report(&mut self, report: Report) -> Result<(), Refusal> {
        let (index, attempt) = assigned(&self.task, &report)?;
        let step = &self.task.steps[index.position()];
        if step.state.ended() {
            return Err(Refusal::Stale);
        }
        match report.outcome {
            Outcome::Succeeded(output) => self.succeeded(index, attempt, report.agent, output),
            // Only a counted success supersedes; from outside it would be a free retry without a limit.
            Outcome::Ended(AttemptEnd::Superseded) => return Err(Refusal::Stale),
            Outcome::Ended(end) => {
                if step.current().is_none_or(|(current, _)| current != attempt) {
                    return Err(Refusal::Stale);
                }
                self.attempt_ended(index, attempt, end);
            }
        }
        Ok(())
    }

    /// A success counts from any attempt ever assigned, while the step is open.
    fn succeeded(&mut self, index: StepIndex, attempt: AttemptNo, agent: AgentId, output: Payload) {
        let current = self.task.steps[index.position()].current().map(|(no, _)| no);
        if let Some(other) = current.filter(|no| *no != attempt) {
            self.emit(EventKind::AttemptEnded { step: index, attempt: other, end: AttemptEnd::Superseded });
        }
        self.emit(EventKind::StepSucceeded { step: index, attempt, agent, output });
    }

    fn claim(&mut self, id: &StepId) -> Result<(), Refusal> {
        let index = self.task.plan.find(id).ok_or_else(|| Refusal::UnknownStep(id.clone()))?;
        if !matches!(self.task.steps[index.position()].state, StepState::Queued { .. }) {
            return Err(Refusal::Stale);
        }
        let choice = self.choose(index).ok_or(Refusal::NoSlot)?;
        self.place(index, choice);
        Ok(())
    }

    fn timer_fired(&mut self, timer: TimerId) -> Result<(), Refusal> {
        let TimerId::Step(index, epoch) = timer else {
            let message = format!("the task was not done within {} ms", self.task.options.deadline_ms);
            self.fail(Failure::new(ErrorCode::DeadlineExceeded, message));
            return Ok(());
        };
        let step = self.task.steps.get(index.position()).filter(|step| step.epoch == epoch).ok_or(Refusal::Stale)?;
        match step.state {
            StepState::Running { .. } => {
                let attempt = step.last_no();
                self.attempt_ended(index, attempt, AttemptEnd::TimedOut);
            }
            StepState::BackingOff { .. } => self.ready(index, self.world.now),
            StepState::Queued { since, .. } => self.ready(index, since),
            _ => return Err(Refusal::Stale),
        }
        Ok(())
    }

    // === What follows ===

    /// Makes every step ready whose needs are met, and ends the task when no step is open. It is the last thing that
    /// every decision does, and nothing below calls it, so a long row of skipped steps takes no stack.
    fn advance(&mut self) {
        // Needs point backwards, so one pass in plan order sees every step that a skipped one lets go.
        for index in self.task.plan.indices() {
            if self.task.end.is_some() {
                return;
            }
            let (spec, step) = self.task.step(index);
            let met = spec.needs.iter().all(|need| self.task.steps[need.position()].state.lets_others_go());
            if matches!(step.state, StepState::Pending) && met {
                self.ready(index, self.world.now);
            }
        }
        if self.task.end.is_none() && self.task.steps.iter().all(|step| step.state.ended()) {
            let final_step = self.task.outputs().last().map(|(index, _)| index);
            self.emit(EventKind::TaskSucceeded { final_step });
        }
    }

    /// A step may run: it is placed, queued, skipped, or, when nobody came for it in time, failed. `since` is its place
    /// in the queue.
    fn ready(&mut self, index: StepIndex, since: At) {
        let World { now, fleet, .. } = self.world;
        let (spec, step) = self.task.step(index);
        let (capability, optional) = (spec.capability.clone(), spec.optional);
        let patience = spec.limits.no_agent_timeout_ms;
        let priority = self.task.options.priority;
        let queued_before = matches!(step.state, StepState::Queued { .. });
        // How long it can do without a live agent; no recheck comes later than that after the agents have vanished.
        let grace = if optional { fleet.ttl_ms() } else { patience };
        if fleet.live(&capability) {
            // A step that is in the queue already is among those that `queue_before` counts.
            let must_wait = queued_before || fleet.queue_before(&capability, priority);
            match (!must_wait).then(|| self.choose(index)).flatten() {
                Some(choice) => self.place(index, choice),
                None => self.queue(index, since, false, now.plus(grace.max(MIN_RECHECK_MS))),
            }
            return;
        }
        let last_live = fleet.last_live(&capability, now);
        // A mandatory step is given its patience from when it began to wait, even where no agent was ever seen.
        let from = if optional { last_live } else { last_live.max(Some(since)) };
        match from.map(|from| from.plus(grace)).filter(|until| *until > now) {
            Some(until) => self.queue(index, since, true, until),
            None if optional => {
                let live: Vec<_> = fleet.capabilities().iter().map(|name| name.as_str().to_owned()).collect();
                let reason = format!("no live agent can {capability} (live: {})", live.join(", "));
                self.emit(EventKind::StepSkipped { step: index, reason: reason.into() });
            }
            None => {
                let message = format!(
                    "no agent that can {capability} appeared within {patience} ms: start one, then submit the task again"
                );
                self.fail_step(index, Failure::new(ErrorCode::RoutingError, message));
            }
        }
    }

    fn queue(&mut self, step: StepIndex, since: At, agent_absent: bool, recheck_at: At) {
        self.emit(EventKind::StepQueued { step, since, agent_absent, recheck_at });
    }

    fn choose(&self, index: StepIndex) -> Option<Choice> {
        let (spec, step) = self.task.step(index);
        let had_it: Vec<_> = step
            .attempts
            .iter()
            .filter(|attempt| attempt.ended.is_some())
            .map(|attempt| attempt.agent.clone())
            .collect();
        self.world.fleet.choose(&Wanted {
            capability: &spec.capability,
            had_it: &had_it,
            promised: &self.taken,
            now: self.world.now,
            seed: self.seed(),
        })
    }

    fn place(&mut self, index: StepIndex, choice: Choice) {
        let (spec, step) = self.task.step(index);
        let placed = EventKind::StepPlaced {
            step: index,
            attempt: AttemptNo(step.last_no().0 + 1),
            agent: choice.agent.clone(),
            incarnation: choice.incarnation,
            reason: choice.reason,
            timeout_at: self.world.now.plus(spec.limits.timeout_ms),
        };
        self.taken.push(choice.agent);
        self.emit(placed);
    }

    /// An attempt ended without success: what it cost, and what comes of the step.
    fn attempt_ended(&mut self, index: StepIndex, attempt: AttemptNo, end: AttemptEnd) {
        self.emit(EventKind::AttemptEnded { step: index, attempt, end: end.clone() });
        let (spec, step) = self.task.step(index);
        let limits = spec.limits;
        let verdict = match &end {
            AttemptEnd::Fatal(failure) => Err(failure.clone()),
            AttemptEnd::Failed(failure) if step.failures >= limits.max_attempts => Err(failure.clone()),
            AttemptEnd::TimedOut if step.failures >= limits.max_attempts => {
                Err(Failure::new(ErrorCode::Timeout, format!("it ran longer than {} ms", limits.timeout_ms)))
            }
            AttemptEnd::Failed(_) | AttemptEnd::TimedOut => Ok(limits.backoff(step.failures, self.seed())),
            AttemptEnd::Crashed(failure) if step.crashes >= limits.max_crashes => Err(Failure::new(
                ErrorCode::Crashed,
                format!("it panicked {} times and is given up as poison: {}", step.crashes, failure.message),
            )),
            AttemptEnd::Crashed(_) => Ok(limits.backoff(step.crashes, self.seed())),
            AttemptEnd::Lost(loss) if step.losses >= limits.max_losses => Err(Failure::new(
                ErrorCode::WorkerUnavailable,
                format!("its agent was lost {} times, the last time because of {}", step.losses, loss.name()),
            )),
            // A full agent is not asked again at once, and another agent has the same gateway. The step of a dead one goes to
            // another at once, but only the first time: word of a death may come late, and asking the dead again and again
            // would use the losses up.
            AttemptEnd::Lost(Loss::Refused | Loss::GatewayUnreachable) => Ok(limits.backoff(step.losses, self.seed())),
            AttemptEnd::Lost(_) if step.losses > 1 => Ok(limits.backoff(step.losses - 1, self.seed())),
            AttemptEnd::Lost(_) | AttemptEnd::Superseded => Ok(0),
        };
        match verdict {
            Ok(0) => self.ready(index, self.world.now),
            Ok(pause) => self.emit(EventKind::StepBackedOff { step: index, until: self.world.now.plus(pause) }),
            Err(failure) => self.fail_step(index, failure),
        }
    }

    fn fail_step(&mut self, index: StepIndex, failure: Failure) {
        let spec = self.task.plan.step(index);
        if spec.optional {
            self.emit(EventKind::StepSkipped { step: index, reason: failure.message });
        } else {
            let message = format!("step {} ({}) failed: {}", spec.id, spec.capability, failure.message);
            self.emit(EventKind::StepFailed { step: index, failure: failure.clone() });
            self.fail(Failure::new(failure.code, message));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.emit(EventKind::TaskFailed { failure });
    }
}

#[cfg(test)]
mod tests;
