//! What every single decision must obey, judged from the state before, the input and the town: an independent reading
//! of the promises, event by event.

use super::ledger::{Ledger, Verdict};
use super::town::{TTL_MS, Town};
use callboard::task::{
    AgentId, At, AttemptEnd, AttemptNo, ErrorCode, Event, EventKind, Input, Outcome, StepIndex, StepState, Task,
    TaskOutcome, TimerId, apply,
};

/// Where a step that may run must go.
#[derive(Debug, PartialEq)]
enum Way {
    Place,
    Wait { since: At, agent_absent: bool, latest: At },
    Skip,
    NoRoute,
}

/// What the next event has to be.
#[derive(Debug, Clone, PartialEq)]
enum Next {
    Any,
    GiveUp(StepIndex, Option<ErrorCode>),
    Retry { step: StepIndex, least: u64, most: u64 },
    TaskFails(ErrorCode),
    Nothing,
}

/// A walk along the events of one decision.
pub struct Walk<'a> {
    pub state: Task,
    town: &'a Town,
    now: At,
    input: Option<&'a Input>,
    promised: Vec<AgentId>,
    next: Next,
}

impl<'a> Walk<'a> {
    pub fn new(before: Task, input: Option<&'a Input>, town: &'a Town, now: At) -> Self {
        Self { state: before, town, now, input, promised: Vec::new(), next: Next::Any }
    }

    /// Judges each event by the state that it finds, then folds it in.
    pub fn along(mut self, events: &[Event], ledger: &mut Ledger) -> Task {
        assert!(!events.is_empty() || self.input.is_none(), "a decision without events");
        for event in events {
            assert_eq!(event.seq, self.state.version + 1, "event numbers have no gaps");
            assert_eq!(event.at, self.now);
            self.judge(&event.kind, ledger);
            let before = self.state.clone();
            apply(&mut self.state, event);
            nothing_ended_changes(&before, &self.state);
        }
        assert!(matches!(self.next, Next::Any | Next::Nothing), "{:?} is still to come", self.next);
        everything_moves(&self.state);
        self.state
    }

    fn judge(&mut self, kind: &EventKind, ledger: &mut Ledger) {
        let next = std::mem::replace(&mut self.next, Next::Any);
        match kind {
            EventKind::Accepted { .. } | EventKind::Planned { .. } => panic!("a task begins once"),
            EventKind::StepPlaced { step, attempt, agent, incarnation, timeout_at, .. } => {
                self.may_retry_at_once(&next, *step);
                self.placed(*step, *attempt, agent);
                assert_eq!(*incarnation, self.town.member(agent).unwrap().incarnation);
                assert_eq!(*timeout_at, self.now.plus(self.state.plan.step(*step).limits.timeout_ms));
                ledger.placed(*step, *attempt, agent);
                self.promised.push(agent.clone());
            }
            EventKind::StepQueued { step, since, agent_absent, recheck_at } => {
                self.may_retry_at_once(&next, *step);
                assert!(*recheck_at > self.now, "a timer that spins");
                match self.way(*step) {
                    Way::Wait { since: from, agent_absent: absent, latest } => {
                        assert_eq!((*since, *agent_absent), (from, absent));
                        assert!(*recheck_at <= latest, "looked at again too late: {recheck_at:?} > {latest:?}");
                    }
                    way => panic!("queued where it should {way:?}"),
                }
            }
            EventKind::StepBackedOff { step, until } => match next {
                Next::Retry { step: failed, least, most } => {
                    assert_eq!(*step, failed);
                    assert!((least..=most).contains(&until.since(self.now)), "pause out of bounds");
                }
                _ => panic!("a pause after nothing"),
            },
            EventKind::AttemptEnded { step, attempt, end } => self.attempt_ended(*step, *attempt, end, ledger),
            EventKind::StepSucceeded { step, attempt, agent, output } => {
                self.succeeded(*step, *attempt, agent, output, ledger);
            }
            EventKind::StepFailed { step, failure } => {
                assert!(!self.state.plan.step(*step).optional);
                match next {
                    Next::GiveUp(given_up, code) => {
                        assert_eq!(*step, given_up);
                        assert!(code.is_none_or(|code| code == failure.code), "{failure:?}, expected {code:?}");
                    }
                    next => {
                        self.may_retry_at_once(&next, *step);
                        assert_eq!((self.way(*step), failure.code), (Way::NoRoute, ErrorCode::RoutingError));
                    }
                }
                self.next = Next::TaskFails(failure.code);
            }
            EventKind::StepSkipped { step, reason } => {
                assert!(self.state.plan.step(*step).optional && !reason.is_empty());
                match next {
                    Next::GiveUp(given_up, _) => assert_eq!(*step, given_up),
                    next => {
                        self.may_retry_at_once(&next, *step);
                        assert_eq!(self.way(*step), Way::Skip);
                    }
                }
            }
            ending => self.task_ends(ending, &next),
        }
    }

    /// An attempt that just ended is followed by its own step's next state, and a pause is not left out.
    fn may_retry_at_once(&self, next: &Next, step: StepIndex) {
        match next {
            Next::Any => {}
            Next::Retry { step: failed, least: 0, .. } => assert_eq!(step, *failed),
            _ => panic!("{next:?} is passed over"),
        }
        let (spec, state) = self.state.step(step);
        let fired = matches!(self.input, Some(Input::TimerFired(TimerId::Step(fired, _))) if *fired == step);
        let claimed = matches!(self.input, Some(Input::Claim(id)) if *id == spec.id);
        assert!(matches!(state.state, StepState::Pending) || fired || claimed, "a step that nobody spoke of moves");
        for need in &spec.needs {
            assert!(self.state.steps[need.position()].state.lets_others_go(), "it runs before its needs are met");
        }
    }

    fn placed(&self, step: StepIndex, attempt: AttemptNo, agent: &AgentId) {
        let (spec, state) = self.state.step(step);
        assert_eq!(attempt.0 as usize, state.attempts.len() + 1, "attempt numbers only grow");
        let member = self.town.member(agent).expect("placed with a dead agent");
        assert!(member.capabilities.contains(&spec.capability), "placed with an agent that cannot");
        let free = self.town.free_of(agent, &spec.capability, &self.promised, self.now);
        assert!(free > 0, "placed with an agent that is full or rests");
        if !matches!(self.input, Some(Input::Claim(id)) if *id == spec.id) {
            assert_eq!(self.way(step), Way::Place);
        }
    }

    /// Where the design sends a step that may run.
    fn way(&self, index: StepIndex) -> Way {
        let (spec, step) = self.state.step(index);
        let (queued, since) = match step.state {
            StepState::Queued { since, .. } => (true, since),
            _ => (false, self.now),
        };
        let grace = if spec.optional { TTL_MS } else { spec.limits.no_agent_timeout_ms };
        if self.town.live(&spec.capability) {
            let waits = queued || self.town.others_go_first(&spec.capability, self.state.options.priority);
            if !waits && self.town.free(&spec.capability, &self.promised, self.now) > 0 {
                return Way::Place;
            }
            return Way::Wait { since, agent_absent: false, latest: self.now.plus(grace.max(1000)) };
        }
        let seen = self.town.last_live(&spec.capability, self.now);
        let from = if spec.optional { seen } else { seen.max(Some(since)) };
        match from.map(|from| from.plus(grace)) {
            Some(latest) if latest > self.now => Way::Wait { since, agent_absent: true, latest },
            _ if spec.optional => Way::Skip,
            _ => Way::NoRoute,
        }
    }

    fn attempt_ended(&mut self, index: StepIndex, attempt: AttemptNo, end: &AttemptEnd, ledger: &mut Ledger) {
        let (spec, step) = self.state.step(index);
        assert_eq!(step.current().map(|(no, _)| no), Some(attempt), "only the running attempt ends");
        match self.input {
            Some(Input::TimerFired(_)) => assert_eq!(*end, AttemptEnd::TimedOut),
            Some(Input::Report(report)) => match &report.outcome {
                Outcome::Ended(reported) => assert_eq!(end, reported),
                Outcome::Succeeded(_) => assert_eq!(*end, AttemptEnd::Superseded),
            },
            _ => panic!("an attempt ends for no reason"),
        }
        self.next = match ledger.costs(index, end, &spec.limits) {
            Verdict::GiveUp(code) => Next::GiveUp(index, code),
            Verdict::Retry { least, most } => Next::Retry { step: index, least, most },
            Verdict::Superseded => Next::Any,
        };
    }

    fn succeeded(
        &self,
        index: StepIndex,
        attempt: AttemptNo,
        agent: &AgentId,
        output: &callboard::task::Payload,
        ledger: &mut Ledger,
    ) {
        let Some(Input::Report(report)) = self.input else { panic!("a success that nobody reported") };
        assert_eq!(report.outcome, Outcome::Succeeded(output.clone()));
        assert!(report.attempt.is_none_or(|no| no == attempt) && report.agent == *agent);
        assert_eq!(self.state.plan.step(index).id, report.step);
        assert!(ledger.assigned(index, agent, Some(attempt)).is_some(), "it was never assigned");
        assert!(!self.state.steps[index.position()].state.ended(), "it counts a second time");
        assert!(self.state.steps[index.position()].current().is_none_or(|(no, _)| no == attempt), "two at once");
        ledger.succeeded(index);
    }

    fn task_ends(&mut self, ending: &EventKind, next: &Next) {
        self.next = Next::Nothing;
        match ending {
            EventKind::TaskSucceeded { final_step } => {
                assert_eq!(*next, Next::Any);
                assert!(self.state.steps.iter().all(|step| step.state.lets_others_go()));
                let succeeded = |step: &callboard::task::Step| matches!(step.state, StepState::Succeeded { .. });
                let last = self.state.steps.iter().rposition(succeeded).map(|position| StepIndex(position as u16));
                assert_eq!(*final_step, last, "the answer is the last succeeded step's");
            }
            EventKind::TaskFailed { failure } => match next {
                Next::TaskFails(code) => assert_eq!(failure.code, *code),
                _ => {
                    assert_eq!(self.input, Some(&Input::TimerFired(TimerId::Deadline)));
                    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
                }
            },
            EventKind::TaskCancelled { .. } => assert!(matches!(self.input, Some(Input::Cancel(_)))),
            _ => panic!("{ending:?} ends no task"),
        }
    }
}

fn nothing_ended_changes(before: &Task, after: &Task) {
    assert!(before.end.is_none(), "an ended task has another event");
    for (was, is) in before.steps.iter().zip(&after.steps) {
        if was.state.ended() {
            assert_eq!(was, is, "an ended step changes");
        }
        assert!(is.attempts.len() >= was.attempts.len() && is.epoch >= was.epoch);
    }
}

/// An open task has something that moves it, and an ended one has nothing open.
fn everything_moves(task: &Task) {
    if let Some(end) = &task.end {
        assert!(task.steps.iter().all(|step| step.state.ended()));
        let cancelled = task.steps.iter().any(|step| matches!(step.state, StepState::Cancelled { .. }));
        assert!(!cancelled || !matches!(end.outcome, TaskOutcome::Succeeded(_)));
        return;
    }
    let mut moving = 0;
    for (spec, step) in task.plan.steps().iter().zip(&task.steps) {
        match step.state {
            StepState::Pending => {
                let open = |need: &StepIndex| !task.steps[need.position()].state.lets_others_go();
                assert!(spec.needs.iter().any(open), "a step waits for nothing");
            }
            StepState::Queued { .. } | StepState::BackingOff { .. } | StepState::Running { .. } => moving += 1,
            StepState::Succeeded { .. } | StepState::Skipped { .. } => {}
            StepState::Failed { .. } | StepState::Cancelled { .. } => panic!("its task should have ended"),
        }
    }
    assert!(moving > 0, "nothing moves the task");
}
