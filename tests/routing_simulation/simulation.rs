//! Steps that come at random, wait for a slot in their order, and are tried until they are done. Events in the order of
//! their time; all chance is drawn from one seed, so that every policy meets the same steps.

use super::policy::{Ended, Policy};
use super::worker::{SLOTS, UNANSWERED_MS, USUAL_MS, Worker};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;

/// How many steps come.
const STEPS: usize = 5_000;
/// The part of what the workers can do that is asked of them.
const LOAD: f64 = 0.7;
/// How long a step that failed pauses before it is tried again, in milliseconds.
const PAUSE_MS: u64 = 500;
/// How often waiting steps are offered again, whatever has ended or not, in milliseconds.
const SURVEY_MS: u64 = 1_000;

/// Numbers that look random (SplitMix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to but not including 1.
    pub fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed around 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.share()).ln()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives(usize),
    Resumes(usize),
    Ends { step: usize, worker: usize, placed_at: u64, is_done: bool },
    Survey,
}

/// A step on its way.
#[derive(Debug, Clone, Default)]
struct Step {
    came_at: u64,
    had_it: Vec<usize>,
}

/// A world of workers, and steps for them.
pub struct Simulation<'a> {
    workers: &'a [Worker],
    arrivals: Chance,
    work: Chance,
    events: BinaryHeap<Reverse<(u64, What)>>,
    busy: Vec<u32>,
    queue: VecDeque<usize>,
    steps: Vec<Step>,
    outcome: Outcome,
}

/// What came of all steps.
#[derive(Default)]
pub struct Outcome {
    name: &'static str,
    took_ms: Vec<u64>,
    worked_ms: u64,
    wasted_ms: u64,
}

impl<'a> Simulation<'a> {
    pub fn new(workers: &'a [Worker], seed: u64) -> Self {
        Self {
            workers,
            arrivals: Chance::new(seed),
            work: Chance::new(!seed),
            events: BinaryHeap::new(),
            busy: vec![0; workers.len()],
            queue: VecDeque::new(),
            steps: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn at(&mut self, now: u64, what: What) {
        self.events.push(Reverse((now, what)));
    }

    /// All steps, from the first that comes to the last that is done.
    pub fn play(mut self, mut policy: Box<dyn Policy>) -> Outcome {
        self.outcome.name = policy.name();
        policy.meet(self.workers);
        let apart_ms = 1.0 / (LOAD * self.workers.iter().map(Worker::capacity).sum::<f64>());
        let mut came_at = 0.0;
        for number in 0..STEPS {
            came_at += apart_ms * self.arrivals.exponential();
            self.steps.push(Step { came_at: came_at as u64, had_it: Vec::new() });
            self.at(came_at as u64, What::Arrives(number));
        }
        self.at(SURVEY_MS, What::Survey);
        while self.outcome.took_ms.len() < STEPS {
            let Reverse((now, what)) = self.events.pop().expect("steps are left, and nothing happens");
            self.happens(now, what, &mut *policy);
            self.serve(now, &mut *policy);
        }
        self.outcome
    }

    fn happens(&mut self, now: u64, what: What, policy: &mut dyn Policy) {
        match what {
            What::Arrives(step) | What::Resumes(step) => self.queue.push_back(step),
            What::Survey => self.at(now + SURVEY_MS, What::Survey),
            What::Ends { step, worker, placed_at, is_done } => {
                self.busy[worker] -= 1;
                policy.ended(&Ended { step, worker, placed_at, now, is_done });
                self.outcome.worked_ms += now - placed_at;
                if is_done {
                    self.outcome.took_ms.push(now - self.steps[step].came_at);
                } else {
                    self.outcome.wasted_ms += now - placed_at;
                    self.steps[step].had_it.push(worker);
                    self.at(now + PAUSE_MS, What::Resumes(step));
                }
            }
        }
    }

    /// Places what waits, first come first served, until there is no slot.
    fn serve(&mut self, now: u64, policy: &mut dyn Policy) {
        while let Some(&step) = self.queue.front() {
            let free: Vec<u32> = self.busy.iter().map(|busy| SLOTS - busy).collect();
            let Some(worker) = policy.choose(now, step, &self.steps[step].had_it, &free) else { return };
            assert!(free[worker] > 0, "it is full");
            self.queue.pop_front();
            self.busy[worker] += 1;
            let Worker { times_slower, failing, is_deaf } = self.workers[worker];
            let takes_ms = USUAL_MS * times_slower * (0.5 + 0.5 * self.work.exponential());
            let is_done = self.work.share() >= failing && !is_deaf;
            let until = now + if is_deaf { UNANSWERED_MS } else { takes_ms as u64 };
            self.at(until, What::Ends { step, worker, placed_at: now, is_done });
        }
    }
}

impl Outcome {
    pub fn of_all(outcomes: Vec<Self>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            all.name = outcome.name;
            all.took_ms.extend(outcome.took_ms);
            all.worked_ms += outcome.worked_ms;
            all.wasted_ms += outcome.wasted_ms;
        }
        all.took_ms.sort_unstable();
        all
    }

    /// How long the given percentage of steps took at the most, in seconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        self.took_ms[(self.took_ms.len() - 1) * percent / 100] as f64 / 1_000.0
    }

    /// The percentage of the workers' time that went into attempts which ended badly.
    pub fn wasted(&self) -> f64 {
        100.0 * self.wasted_ms as f64 / self.worked_ms as f64
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, .. } = self;
        let (p50, p99, wasted) = (self.percentile(50), self.percentile(99), self.wasted());
        write!(f, "| {name} | {p50:.1} | {p99:.1} | {wasted:.1} % |")
    }
}
