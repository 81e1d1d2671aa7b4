//! Ways to choose a worker. All of them know who has a free slot; what else each knows is what they differ in.

use super::simulation::Chance;
use super::worker::{SLOTS, Worker};
use callboard::task::{
    AgentId, At, AttemptNo, Capability, Fleet, Incarnation, Lease, Member, StepId, Trial, Verdict, Wanted,
};

/// An attempt that ended.
pub struct Ended {
    pub step: usize,
    pub worker: usize,
    pub placed_at: u64,
    pub now: u64,
    pub is_done: bool,
}

/// A way to choose.
pub trait Policy {
    fn name(&self) -> &'static str;

    /// Who there is; what they truly are is for the oracle.
    fn meet(&mut self, _workers: &[Worker]) {}

    /// Who gets a step, by free slots; nobody, and it waits.
    fn choose(&mut self, now: u64, step: usize, had_it: &[usize], free: &[u32]) -> Option<usize>;

    fn ended(&mut self, _ended: &Ended) {}
}

fn with_a_slot(free: &[u32]) -> impl Iterator<Item = usize> + '_ {
    (0..free.len()).filter(|worker| free[*worker] > 0)
}

/// The next in the row.
#[derive(Default)]
pub struct RoundRobin {
    next: usize,
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round robin"
    }

    fn choose(&mut self, _: u64, _: usize, _: &[usize], free: &[u32]) -> Option<usize> {
        let turns = (0..free.len()).map(|turn| (self.next + turn) % free.len());
        let chosen = { turns }.find(|worker| free[*worker] > 0)?;
        self.next = chosen + 1;
        Some(chosen)
    }
}

/// Anyone.
pub struct Random(Chance);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Chance::new(seed.rotate_left(32)))
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn choose(&mut self, _: u64, _: usize, _: &[usize], free: &[u32]) -> Option<usize> {
        let count = with_a_slot(free).count();
        (count > 0).then(|| with_a_slot(free).nth((self.0.share() * count as f64) as usize))?
    }
}

/// The one with the most free slots.
pub struct LeastLoaded(Chance);

impl LeastLoaded {
    pub fn new(seed: u64) -> Self {
        Self(Chance::new(seed.rotate_left(32)))
    }
}

impl Policy for LeastLoaded {
    fn name(&self) -> &'static str {
        "least loaded"
    }

    fn choose(&mut self, _: u64, _: usize, _: &[usize], free: &[u32]) -> Option<usize> {
        with_a_slot(free).max_by_key(|worker| (free[*worker], self.0.draw()))
    }
}

/// The one that is truly the quickest to get a step done.
#[derive(Default)]
pub struct Oracle(Vec<Worker>);

impl Policy for Oracle {
    fn name(&self) -> &'static str {
        "knowing everything"
    }

    fn meet(&mut self, workers: &[Worker]) {
        self.0 = workers.to_vec();
    }

    fn choose(&mut self, _: u64, _: usize, _: &[usize], free: &[u32]) -> Option<usize> {
        let until_done = |worker: &usize| self.0[*worker].until_done_ms();
        let able = with_a_slot(free).filter(|worker| until_done(worker).is_finite());
        able.min_by(|one, other| until_done(one).total_cmp(&until_done(other)))
    }
}

/// The program's own.
pub struct Ours {
    fleet: Fleet,
    names: Vec<AgentId>,
    capability: Capability,
    seeds: Chance,
}

/// When the simulation begins, by the store's clock.
const BEGAN: At = At(1_000_000);

impl Ours {
    pub fn new(seed: u64) -> Self {
        Self {
            fleet: Fleet::new(30_000),
            names: Vec::new(),
            capability: Capability::trusted("analyze"),
            seeds: Chance::new(seed.rotate_left(32)),
        }
    }

    fn lease(&self, step: usize, worker: usize) -> Lease {
        Lease {
            step: StepId::trusted(format!("t{step}-P1")),
            attempt: AttemptNo(1),
            agent: self.names[worker].clone(),
            incarnation: life(),
        }
    }
}

fn life() -> Incarnation {
    Incarnation::trusted("life-1")
}

impl Policy for Ours {
    fn name(&self) -> &'static str {
        "callboard"
    }

    fn meet(&mut self, workers: &[Worker]) {
        self.names = (0..workers.len()).map(|number| AgentId::trusted(format!("worker-{number}"))).collect();
        for name in &self.names {
            self.fleet.join(name.clone(), Member::new(life(), vec![self.capability.clone()], SLOTS), BEGAN);
        }
    }

    fn choose(&mut self, now: u64, step: usize, had_it: &[usize], free: &[u32]) -> Option<usize> {
        let had_it: Vec<_> = had_it.iter().map(|worker| self.names[*worker].clone()).collect();
        let choice = self.fleet.choose(&Wanted {
            capability: &self.capability,
            had_it: &had_it,
            promised: &[],
            now: BEGAN.plus(now),
            seed: self.seeds.draw(),
        });
        let some_rest = self.fleet.members().any(|(_, member)| member.record.rest.is_some());
        assert!(choice.is_some() || some_rest || free.iter().all(|free| *free == 0), "a step waits beside a free slot");
        let agent = choice?.agent;
        let worker = self.names.iter().position(|name| *name == agent);
        self.fleet.take_slot(&self.lease(step, worker?));
        worker
    }

    fn ended(&mut self, ended: &Ended) {
        self.fleet.give_slot(&self.lease(ended.step, ended.worker));
        let verdict = if ended.is_done { Verdict::Good } else { Verdict::Bad };
        self.fleet.judge(&Trial {
            agent: &self.names[ended.worker],
            incarnation: &life(),
            capability: &self.capability,
            placed_at: BEGAN.plus(ended.placed_at),
            ended_at: BEGAN.plus(ended.now),
            verdict,
        });
    }
}
