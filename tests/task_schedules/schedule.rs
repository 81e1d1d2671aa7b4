//! A random schedule played against one task: raw numbers become a plan, a town and moves, so that a failing case
//! shrinks by shrinking numbers. After every move the state, the store and the ledger are held against each other.

use super::ledger::Ledger;
use super::rules::Walk;
use super::store::Store;
use super::town::{CAPABILITIES, Town};
use callboard::task::{
    At, AttemptEnd, AttemptNo, Decision, ErrorCode, Event, Failure, Input, Json, Limits, Loss, Options, Outcome,
    Payload, Plan, Priority, Report, Request, StepId, StepIndex, StepSpec, StepState, Submission, Task, TaskId,
    TaskKey, TaskOutcome, Tenant, Timer, TimerId, World, accept, decide, effects, replay,
};

/// A move, as raw numbers.
pub type Raw = (u8, u8, u8);

/// What a schedule starts from, as raw numbers.
#[derive(Debug, Clone)]
pub struct Start {
    /// One a step: capability and flags, needs, limits.
    pub steps: Vec<Raw>,
    /// Each step needs just the one before.
    pub pipeline: bool,
    /// One an agent: skills, slots.
    pub agents: Vec<(u8, u8)>,
    /// Deadline and priority.
    pub options: u8,
    pub seed: u64,
}

/// A schedule under way.
pub struct Schedule {
    task: Task,
    events: Vec<Event>,
    store: Store,
    ledger: Ledger,
    town: Town,
    now: At,
    seed: u64,
    /// Timers that were once armed.
    old_timers: Vec<TimerId>,
}

fn pick<T: Copy>(from: &[T], raw: u8) -> T {
    from[usize::from(raw) % from.len()]
}

fn plan(start: &Start, town: &Town) -> Plan {
    let step = |(position, (kind, needs, limits)): (usize, &Raw)| StepSpec {
        id: StepId::trusted(format!("t1-P{}", position + 1)),
        capability: town.capabilities[usize::from(*kind) % CAPABILITIES].clone(),
        needs: (0..position as u16)
            .filter(|before| if start.pipeline { *before + 1 == position as u16 } else { needs & (1 << before) != 0 })
            .map(StepIndex)
            .collect(),
        optional: kind & 0x80 != 0,
        limits: Limits {
            max_attempts: u32::from(limits % 3) + 1,
            max_crashes: u32::from(limits / 3 % 3) + 1,
            max_losses: u32::from(limits / 9 % 4) + 1,
            timeout_ms: pick(&[20_000, 1_000], limits / 36),
            backoff_ms: pick(&[500, 0, 1], kind / 3),
            backoff_cap_ms: pick(&[30_000, 700], kind / 9),
            no_agent_timeout_ms: pick(&[60_000, 2_000, 0], limits / 72),
        },
    };
    Plan::new(start.steps.iter().enumerate().map(step).collect()).unwrap()
}

impl Schedule {
    pub fn begin(start: &Start) -> Self {
        let (mut town, now) = (Town::new(), At(1_000_000));
        for (agent, (skills, slots)) in start.agents.iter().enumerate() {
            town.join(agent, *skills, u32::from(slots % 3) + 1, now);
        }
        let submission = Submission {
            key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t1") },
            id_given: true,
            idempotency_key: None,
            request: Request { objective: "why?".into(), context: Json::null() },
            options: Options {
                deadline_ms: pick(&[3_600_000, 60_000, 5_000], start.options),
                priority: pick(&Priority::ALL, start.options / 3),
                ..Options::default()
            },
        };
        let world = World { now, seed: start.seed, fleet: &town.fleet };
        let Decision { events, task } = accept(&submission, Payload::Inline(Json::null()), plan(start, &town), world);
        let beginning = replay(&submission.key, &events[..2]).unwrap();
        let mut ledger = Ledger::new(start.steps.len());
        let walked = Walk::new(beginning, None, &town, now).along(&events[2..], &mut ledger);
        assert_eq!(walked, task, "folded, the events are the state");
        let (store, old_timers) = (Store::default(), Vec::new());
        let mut schedule = Self { task, events, store, ledger, town, now, seed: start.seed, old_timers };
        schedule.committed(None);
        schedule
    }

    fn committed(&mut self, before: Option<&Task>) {
        let effects = effects(before, &self.task);
        self.store.commit(&effects);
        effects.lease.iter().for_each(|lease| self.town.leased(lease));
        effects.release.iter().for_each(|lease| self.town.released(lease));
        effects.dequeue.iter().for_each(|entry| self.town.dequeued(entry));
        effects.enqueue.iter().for_each(|entry| self.town.enqueued(entry));
        self.old_timers.extend(effects.clear.iter().map(|timer| timer.id));
        self.store.agrees(&self.task);
        self.ledger.agrees(&self.task);
    }

    /// Feeds one input and judges the answer.
    pub fn feed(&mut self, input: Input) {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let world = World { now: self.now, seed: self.seed, fleet: &self.town.fleet };
        let answer = decide(&self.task, input.clone(), world);
        assert_eq!(answer, decide(&self.task, input.clone(), world), "the same question has one answer");
        match (answer, self.ledger.refusal(&self.task, &input, &self.store, &self.town, self.now)) {
            (Err(refusal), Some(expected)) => assert_eq!(refusal, expected),
            (Ok(decision), None) => {
                let before = std::mem::replace(&mut self.task, decision.task);
                let walk = Walk::new(before.clone(), Some(&input), &self.town, self.now);
                let walked = walk.along(&decision.events, &mut self.ledger);
                assert_eq!(walked, self.task, "folded, the events are the state");
                self.committed(Some(&before));
                self.town.judged(&self.task, &decision.events);
                self.events.extend(decision.events);
            }
            (answer, expected) => panic!("{input:?} gave {answer:?} instead of {expected:?}"),
        }
    }

    /// Forgets what is in memory and reads it back.
    pub fn crash(&mut self) {
        let state = serde_json::to_string(&self.task).unwrap();
        let log = serde_json::to_string(&self.events).unwrap();
        self.task = serde_json::from_str(&state).unwrap();
        self.events = serde_json::from_str(&log).unwrap();
        assert_eq!(replay(&self.task.key, &self.events).as_ref(), Ok(&self.task), "replayed, the log is the state");
    }

    // === Moves ===

    pub fn play(&mut self, (kind, a, b): Raw) {
        match kind % 32 {
            0..=6 => self.report_current(a, Self::success(b)),
            7..=12 => self.report_current(a, Outcome::Ended(ending(b))),
            13 | 14 => self.report_any(a, b, true),
            15 => self.report_any(a, b, false),
            16 => self.report_nonsense(a, b),
            17..=19 => self.fire_earliest(a),
            20 => self.fire_any(a),
            21 => self.fire_old(a, b),
            22..=24 => self.claim(a),
            25 => self.crash(),
            26 => self.sleep(u64::from(a) * u64::from(b)),
            27 => self.town.join(a.into(), b, u32::from(b / 8 % 4), self.now),
            28 => self.town.leave(a.into()),
            29 => self.town.others_run(a.into(), b < 160),
            30 => self.town.others_wait(a.into(), [(b & 1).into(), (b >> 1 & 1).into(), (b >> 2 & 1).into()]),
            _ if a < 32 => self.feed(Input::Cancel("enough".into())),
            _ => self.crash(),
        }
    }

    fn success(tag: u8) -> Outcome {
        Outcome::Succeeded(Payload::Inline(Json::of(&tag).unwrap()))
    }

    fn sleep(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        // Now and then the heartbeats are late.
        if !ms.is_multiple_of(3) {
            self.town.beat(self.now);
        }
    }

    /// The attempt that runs ends; with an odd number the worker does not say which it was.
    fn report_current(&mut self, a: u8, outcome: Outcome) {
        if self.store.leases.is_empty() {
            return self.claim(a);
        }
        let lease = self.store.leases[usize::from(a) / 2 % self.store.leases.len()].clone();
        let attempt = a.is_multiple_of(2).then_some(lease.attempt);
        self.feed(Input::Report(Report { step: lease.step, agent: lease.agent, attempt, outcome }));
    }

    /// Any attempt ever assigned is reported, maybe again, with or without its number.
    fn report_any(&mut self, a: u8, b: u8, numbered: bool) {
        let all: Vec<_> = (self.task.plan.steps().iter().zip(&self.task.steps))
            .flat_map(|(spec, step)| {
                (1..).zip(&step.attempts).map(|(no, one)| (spec.id.clone(), no, one.agent.clone()))
            })
            .collect();
        if all.is_empty() {
            return;
        }
        let (step, no, agent) = all[usize::from(a) % all.len()].clone();
        let attempt = numbered.then_some(AttemptNo(no));
        let outcome = if b < 100 { Self::success(b) } else { Outcome::Ended(ending(b)) };
        self.feed(Input::Report(Report { step, agent, attempt, outcome }));
    }

    /// A report about a step, an agent and an attempt that may have nothing to do with each other.
    fn report_nonsense(&mut self, a: u8, b: u8) {
        let step = StepId::trusted(format!("t1-P{}", a % 8));
        let agent = self.town.agents[usize::from(b) % self.town.agents.len()].clone();
        let attempt = (b & 0x40 == 0).then_some(AttemptNo(if b & 0x20 == 0 { u32::from(a / 8 % 4) } else { u32::MAX }));
        let outcome = if b & 0x80 == 0 { Self::success(b) } else { Outcome::Ended(ending(a)) };
        self.feed(Input::Report(Report { step, agent, attempt, outcome }));
    }

    fn earliest(&self) -> Option<Timer> {
        self.store.timers.iter().copied().min_by_key(|timer| (timer.due, timer.id))
    }

    /// Time goes on until a timer is due.
    fn fire_earliest(&mut self, a: u8) {
        if let Some(timer) = self.earliest() {
            self.sleep(timer.due.since(self.now) + u64::from(a % 3));
            self.feed(Input::TimerFired(timer.id));
        }
    }

    /// The store's clock is the judge of what is due, so a timer that still stands counts whenever it fires. The
    /// deadline is left out mostly, or few schedules would live long.
    fn fire_any(&mut self, a: u8) {
        let timers = &self.store.timers;
        if let Some(timer) = timers.get(usize::from(a) % timers.len().max(1))
            && (timer.id != TimerId::Deadline || a < 40)
        {
            self.feed(Input::TimerFired(timer.id));
        }
    }

    fn fire_old(&mut self, a: u8, b: u8) {
        let timer = match self.old_timers.get(usize::from(a) % self.old_timers.len().max(1)) {
            Some(old) if b < 200 => *old,
            _ => TimerId::Step(StepIndex(u16::from(a % 9)), u32::from(b)),
        };
        self.feed(Input::TimerFired(timer));
    }

    /// The head of the queue is claimed; or any step, in the queue or not.
    fn claim(&mut self, a: u8) {
        let step = match self.store.queue.iter().min_by_key(|entry| entry.rank) {
            Some(entry) if a < 200 => entry.step.clone(),
            _ => StepId::trusted(format!("t1-P{}", a % 8)),
        };
        self.feed(Input::Claim(step));
    }

    // === Ends ===

    /// From here on all goes well: agents are there, claims and timers are fed, every report is a success. The task
    /// ends soon, and well unless its deadline comes first.
    pub fn all_goes_well(&mut self) {
        let ended = self.task.end.is_some();
        for agent in 0..3 {
            self.town.join(agent, 0xff, 8, self.now);
        }
        for _ in 0..4 * self.task.steps.len() + 1 {
            if let Some(entry) = self.store.queue.first() {
                self.feed(Input::Claim(entry.step.clone()));
            } else if !self.store.leases.is_empty() {
                self.report_current(0, Self::success(1));
            } else {
                self.fire_earliest(0);
            }
        }
        let outcome = &self.task.end.as_ref().expect("it should have ended").outcome;
        let late = matches!(outcome, TaskOutcome::Failed(failure) if failure.code == ErrorCode::DeadlineExceeded);
        assert!(ended || late || matches!(outcome, TaskOutcome::Succeeded(_)), "all went well, but {outcome:?}");
    }

    /// From here on nobody answers: the timers alone end the task, at its deadline at the latest.
    pub fn nobody_answers(&mut self) {
        let latest = self.now.max(self.task.deadline_at);
        while self.task.end.is_none() {
            let timer = self.earliest().expect("the deadline at least");
            self.now = self.now.max(timer.due);
            self.feed(Input::TimerFired(timer.id));
        }
        assert!(self.now <= latest, "it outlived its deadline");
    }

    /// The log holds at the very end too, and whatever comes then is refused.
    pub fn finish(mut self) {
        self.crash();
        assert!(self.task.end.is_some());
        assert!(self.task.steps.iter().all(|step| step.state != StepState::Pending));
        for input in [
            Input::Cancel("again".into()),
            Input::TimerFired(TimerId::Deadline),
            Input::Claim(self.task.plan.steps()[0].id.clone()),
        ] {
            self.feed(input);
        }
        self.report_any(0, 0, true);
    }
}

fn ending(raw: u8) -> AttemptEnd {
    let failure = || Failure::new(pick(&[ErrorCode::InternalError, ErrorCode::BudgetExceeded], raw), "it broke");
    match raw % 17 {
        0..=4 => AttemptEnd::Failed(failure()),
        5 => AttemptEnd::Fatal(failure()),
        6..=8 => AttemptEnd::Crashed(failure()),
        9 => AttemptEnd::TimedOut,
        10 => AttemptEnd::Lost(Loss::Refused),
        11 => AttemptEnd::Lost(Loss::Drained),
        12 => AttemptEnd::Lost(Loss::AgentRestarted),
        13 => AttemptEnd::Lost(Loss::LeaseExpired),
        14 => AttemptEnd::Lost(Loss::Unreachable),
        15 => AttemptEnd::Lost(Loss::GatewayUnreachable),
        _ => AttemptEnd::Superseded,
    }
}
