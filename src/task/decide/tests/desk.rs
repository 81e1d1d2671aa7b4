//! A desk to work a task at: small plans, agents by name, and inputs whose answer is the names of the events. It does
//! with slots and queues what a shell would, so that each test says only what it is about.

use super::super::super::{
    AgentId, At, AttemptEnd, AttemptNo, Capability, ErrorCode, Failure, Fleet, Incarnation, Input, Json, Lease, Limits,
    Loss, Member, Options, Outcome, Payload, Plan, Refusal, Report, Request, Step, StepId, StepIndex, StepSpec,
    Submission, Task, TaskId, TaskKey, TaskOutcome, Tenant, TimerId, World, accept, decide, effects, timers,
};

pub(super) const TTL_MS: u64 = 30_000;
pub(super) const START: At = At(1_000_000);

/// A task, the agents around it and the clock.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) fleet: Fleet,
    pub(super) task: Task,
    pub(super) now: At,
    pub(super) seed: u64,
    pub(super) decisions: u32,
}

pub(super) fn step(
    position: usize,
    capability: &'static str,
    optional: bool,
    needs: &[u16],
    limits: Limits,
) -> StepSpec {
    StepSpec {
        id: StepId::trusted(format!("t1-P{}", position + 1)),
        capability: Capability::trusted(capability),
        needs: needs.iter().copied().map(StepIndex).collect(),
        optional,
        limits,
    }
}

/// A pipeline; a capability with a question mark is optional.
pub(super) fn pipeline(stages: &[&'static str], limits: Limits) -> Vec<StepSpec> {
    let stage = |(position, name): (usize, &&'static str)| {
        let needs: Vec<u16> = position.checked_sub(1).map(|before| before as u16).into_iter().collect();
        step(position, name.trim_end_matches('?'), name.ends_with('?'), &needs, limits)
    };
    stages.iter().enumerate().map(stage).collect()
}

/// A fleet in which each agent has these capabilities, comma separated, and slots.
pub(super) fn fleet(agents: &[(&'static str, &'static str, u32)]) -> Fleet {
    let mut fleet = Fleet::new(TTL_MS);
    for (name, capabilities, slots) in agents {
        join(&mut fleet, name, capabilities, *slots, START);
    }
    fleet
}

pub(super) fn join(fleet: &mut Fleet, name: &'static str, capabilities: &str, slots: u32, now: At) {
    let capabilities = capabilities.split(',').map(|name| Capability::trusted(name.to_owned())).collect();
    let member = Member::new(Incarnation::trusted("life-1"), capabilities, slots);
    fleet.join(AgentId::trusted(name), member, now);
}

/// A lease of another task's step.
pub(super) fn somebody_elses(agent: &'static str) -> Lease {
    Lease {
        step: StepId::trusted("t2-P1"),
        attempt: AttemptNo(1),
        agent: AgentId::trusted(agent),
        incarnation: Incarnation::trusted("life-1"),
    }
}

pub(super) fn submission(options: Options) -> Submission {
    Submission {
        key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t1") },
        id_given: true,
        idempotency_key: None,
        request: Request { objective: "why?".into(), context: Json::null() },
        options,
    }
}

pub(super) fn output(tag: &str) -> Payload {
    Payload::Inline(Json::of(tag).unwrap())
}

pub(super) fn success() -> Outcome {
    Outcome::Succeeded(output("fine"))
}

pub(super) fn broke() -> Failure {
    Failure::new(ErrorCode::InternalError, "it broke")
}

pub(super) fn failed() -> Outcome {
    Outcome::Ended(AttemptEnd::Failed(broke()))
}

pub(super) fn lost(loss: Loss) -> Outcome {
    Outcome::Ended(AttemptEnd::Lost(loss))
}

pub(super) type Names = Result<Vec<&'static str>, Refusal>;

impl Desk {
    pub(super) fn accept(steps: Vec<StepSpec>, fleet: Fleet) -> Self {
        Self::accept_with(steps, fleet, Options::default())
    }

    pub(super) fn accept_with(steps: Vec<StepSpec>, fleet: Fleet, options: Options) -> Self {
        let world = World { now: START, seed: 7, fleet: &fleet };
        let task = accept(&submission(options), output("why?"), Plan::new(steps).unwrap(), world).task;
        let mut desk = Self { fleet, task, now: START, seed: 7, decisions: 1 };
        desk.keep_books(None);
        desk
    }

    /// The names of the events that follow from an input.
    pub(super) fn feed(&mut self, input: Input) -> Names {
        let world = World { now: self.now, seed: self.seed, fleet: &self.fleet };
        let decision = decide(&self.task, input, world)?;
        let before = std::mem::replace(&mut self.task, decision.task);
        self.decisions += 1;
        self.keep_books(Some(&before));
        Ok(decision.events.iter().map(|event| event.kind.name()).collect())
    }

    fn keep_books(&mut self, before: Option<&Task>) {
        let effects = effects(before, &self.task);
        effects.lease.iter().for_each(|lease| assert!(self.fleet.take_slot(lease)));
        for lease in &effects.release {
            self.fleet.give_slot(lease);
        }
        effects.dequeue.iter().for_each(|entry| self.fleet.waited(&entry.capability, entry.priority));
        effects.enqueue.iter().for_each(|entry| self.fleet.waits(&entry.capability, entry.priority));
    }

    pub(super) fn report(
        &mut self,
        step: usize,
        agent: &'static str,
        attempt: impl Into<Option<u32>>,
        outcome: Outcome,
    ) -> Names {
        self.feed(Input::Report(Report {
            step: StepId::trusted(format!("t1-P{step}")),
            agent: AgentId::trusted(agent),
            attempt: attempt.into().map(AttemptNo),
            outcome,
        }))
    }

    /// What runs of a step ends like this.
    pub(super) fn running(&mut self, step: usize, outcome: Outcome) -> Names {
        let (attempt, agent) = {
            let (no, attempt) = self.step(step).current().expect("it does not run");
            (no, attempt.agent.clone())
        };
        let step = StepId::trusted(format!("t1-P{step}"));
        self.feed(Input::Report(Report { step, agent, attempt: Some(attempt), outcome }))
    }

    pub(super) fn claim(&mut self, step: usize) -> Names {
        self.feed(Input::Claim(StepId::trusted(format!("t1-P{step}"))))
    }

    pub(super) fn cancel(&mut self) -> Names {
        self.feed(Input::Cancel("enough".into()))
    }

    /// Sleeps until a step's timer is due, and fires it.
    pub(super) fn fire(&mut self, step: usize) -> Names {
        let timer = self.timer(step);
        self.now = timer.1;
        self.feed(Input::TimerFired(timer.0))
    }

    pub(super) fn timer(&self, step: usize) -> (TimerId, At) {
        let own = |id: TimerId| matches!(id, TimerId::Step(index, _) if index.position() + 1 == step);
        let timer = timers(&self.task).into_iter().find(|timer| own(timer.id)).expect("it has no timer");
        (timer.id, timer.due)
    }

    /// Milliseconds until a step's timer is due.
    pub(super) fn wait_ms(&self, step: usize) -> u64 {
        self.timer(step).1.since(self.now)
    }

    pub(super) fn step(&self, step: usize) -> &Step {
        &self.task.steps[step - 1]
    }

    pub(super) fn states(&self) -> Vec<&'static str> {
        self.task.steps.iter().map(|step| step.state.name()).collect()
    }

    pub(super) fn failure(&self) -> &Failure {
        match &self.task.end.as_ref().expect("it has not ended").outcome {
            TaskOutcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn final_step(&self) -> Option<u16> {
        match &self.task.end.as_ref().expect("it has not ended").outcome {
            TaskOutcome::Succeeded(step) => step.map(|index| index.0 + 1),
            other => panic!("{other:?}"),
        }
    }
}
