//! What the test itself remembers of a task, apart from its state: who was ever assigned what, and what each step has
//! cost. The state is held against it.

use super::store::Store;
use super::town::Town;
use callboard::task::{
    AgentId, At, AttemptEnd, AttemptNo, ErrorCode, Input, Limits, Loss, Outcome, Refusal, Report, StepId, StepIndex,
    StepState, Task, TaskOutcome,
};

/// What an ended attempt must lead to.
pub enum Verdict {
    GiveUp(Option<ErrorCode>),
    Retry { least: u64, most: u64 },
    Superseded,
}

#[derive(Default, Clone)]
struct Account {
    assigned: Vec<AgentId>,
    failures: u32,
    crashes: u32,
    losses: u32,
    successes: u32,
}

/// One account a step.
pub struct Ledger(Vec<Account>);

impl Ledger {
    pub fn new(steps: usize) -> Self {
        Self(vec![Account::default(); steps])
    }

    pub fn placed(&mut self, step: StepIndex, attempt: AttemptNo, agent: &AgentId) {
        let account = &mut self.0[step.position()];
        account.assigned.push(agent.clone());
        assert_eq!(account.assigned.len(), attempt.0 as usize);
    }

    pub fn succeeded(&mut self, step: StepIndex) {
        self.0[step.position()].successes += 1;
    }

    /// The attempt that an agent speaks of: the one it names if it had it, its newest if it names none.
    pub fn assigned(&self, step: StepIndex, agent: &AgentId, attempt: Option<AttemptNo>) -> Option<AttemptNo> {
        let numbered = (1..).map(AttemptNo).zip(&self.0[step.position()].assigned);
        let of_agent = numbered.filter(|(no, who)| *who == agent && attempt.is_none_or(|named| named == *no));
        of_agent.map(|(no, _)| no).last()
    }

    /// Writes down what the end of an attempt costs.
    pub fn costs(&mut self, step: StepIndex, end: &AttemptEnd, limits: &Limits) -> Verdict {
        let account = &mut self.0[step.position()];
        let mut spared = 0;
        let (count, most, code) = match end {
            AttemptEnd::Superseded => return Verdict::Superseded,
            AttemptEnd::Fatal(failure) => {
                account.failures += 1;
                return Verdict::GiveUp(Some(failure.code));
            }
            AttemptEnd::Failed(failure) => (&mut account.failures, limits.max_attempts, failure.code),
            AttemptEnd::TimedOut => (&mut account.failures, limits.max_attempts, ErrorCode::Timeout),
            AttemptEnd::Crashed(_) => (&mut account.crashes, limits.max_crashes, ErrorCode::Crashed),
            AttemptEnd::Lost(loss) => {
                // The first time that an agent dies, its step goes on at once.
                spared = u32::from(!matches!(loss, Loss::Refused | Loss::GatewayUnreachable));
                (&mut account.losses, limits.max_losses, ErrorCode::WorkerUnavailable)
            }
        };
        *count += 1;
        if *count == most {
            return Verdict::GiveUp(Some(code));
        }
        assert!(*count < most, "it should have failed before");
        let Some(doublings) = count.checked_sub(spared + 1) else { return Verdict::Retry { least: 0, most: 0 } };
        let full = (limits.backoff_ms << doublings).min(limits.backoff_cap_ms);
        Verdict::Retry { least: full / 2, most: full }
    }

    /// The state counts as the ledger does.
    pub fn agrees(&self, task: &Task) {
        for (account, step) in self.0.iter().zip(&task.steps) {
            let counted = (step.failures, step.crashes, step.losses);
            assert_eq!(counted, (account.failures, account.crashes, account.losses));
            assert!(account.assigned.iter().eq(step.attempts.iter().map(|attempt| &attempt.agent)));
            let succeeded = matches!(step.state, StepState::Succeeded { .. });
            assert_eq!(account.successes, u32::from(succeeded), "a step succeeds once");
            for (no, attempt) in (1..).map(AttemptNo).zip(&step.attempts) {
                let unended = match step.state {
                    StepState::Succeeded { attempt: counted, .. } => no == counted,
                    StepState::Running { .. } => no == step.last_no(),
                    // Its task ended first, maybe while it ran.
                    StepState::Cancelled { .. } => no == step.last_no() && attempt.ended.is_none(),
                    _ => false,
                };
                assert_eq!(attempt.ended.is_none(), unended, "attempt {no} of {step:?}");
            }
        }
    }

    /// Why an input must change nothing; none when it must count.
    pub fn refusal(&self, task: &Task, input: &Input, store: &Store, town: &Town, now: At) -> Option<Refusal> {
        let find = |id: &StepId| task.plan.steps().iter().position(|spec| spec.id == *id);
        match (input, task.end.as_ref().map(|end| &end.outcome)) {
            (Input::Report(report), _) => match find(&report.step) {
                Some(position) => self.report_refusal(task, report, StepIndex(position as u16)),
                None => Some(Refusal::UnknownStep(report.step.clone())),
            },
            (Input::Cancel(_), None) => None,
            (Input::Cancel(_), Some(TaskOutcome::Succeeded(_))) => Some(Refusal::AlreadyEnded("succeeded")),
            (Input::Cancel(_), Some(TaskOutcome::Failed(_))) => Some(Refusal::AlreadyEnded("failed")),
            (_, Some(_)) => Some(Refusal::Stale),
            (Input::Claim(id), None) => match store.queue.iter().find(|entry| entry.step == *id) {
                Some(entry) => (town.free(&entry.capability, &[], now) == 0).then_some(Refusal::NoSlot),
                None if find(id).is_none() => Some(Refusal::UnknownStep(id.clone())),
                None => Some(Refusal::Stale),
            },
            (Input::TimerFired(id), None) => {
                (!store.timers.iter().any(|timer| timer.id == *id)).then_some(Refusal::Stale)
            }
        }
    }

    fn report_refusal(&self, task: &Task, report: &Report, step: StepIndex) -> Option<Refusal> {
        let Some(attempt) = self.assigned(step, &report.agent, report.attempt) else {
            return Some(Refusal::NeverAssigned {
                step: report.step.clone(),
                agent: report.agent.clone(),
                attempt: report.attempt,
            });
        };
        let state = &task.steps[step.position()].state;
        let running = matches!(state, StepState::Running { .. });
        let current = running && attempt.0 as usize == self.0[step.position()].assigned.len();
        let counts = match &report.outcome {
            Outcome::Succeeded(_) => !state.ended(),
            Outcome::Ended(end) => current && *end != AttemptEnd::Superseded,
        };
        (!counts).then_some(Refusal::Stale)
    }
}
