//! One lease takes one slot, whoever tells of it and in whatever order, and none once it has ended.

use super::*;
use crate::task::{At, AttemptNo, Capability, Member, StepId, TaskId, Tenant};

fn key(task: u32) -> TaskKey {
    TaskKey { tenant: Tenant::default(), id: TaskId::trusted(format!("t{task}")) }
}

fn life(number: u32) -> Incarnation {
    Incarnation::trusted(format!("i{number}"))
}

fn ann() -> AgentId {
    AgentId::trusted("ann")
}

/// The first step of a task, with ann.
fn lease(task: u32) -> Lease {
    Lease { step: StepId::trusted(format!("t{task}-P1")), attempt: AttemptNo(1), agent: ann(), incarnation: life(1) }
}

fn held(task: u32) -> Held {
    (key(task), lease(task))
}

fn begins(task: u32) -> Effects {
    Effects { lease: vec![lease(task)], ..Effects::default() }
}

fn ends(task: u32) -> Effects {
    Effects { release: vec![lease(task)], ..Effects::default() }
}

/// A master's count, and the fleet that follows it.
struct Count {
    slots: Slots,
    fleet: Fleet,
}

impl Count {
    fn new() -> Self {
        let mut count = Self { slots: Slots::new(), fleet: Fleet::new(30_000) };
        count.joins(1);
        count
    }

    fn joins(&mut self, number: u32) {
        self.fleet.join(ann(), Member::new(life(number), vec![Capability::trusted("analyze")], 100), At(1));
        self.slots.left(&HashSet::from_iter([ann()]));
        self.slots.joined(&mut self.fleet, &HashSet::from_iter([(ann(), life(number))]));
    }

    fn leaves(&mut self) {
        self.fleet.leave(&ann());
        self.slots.left(&HashSet::from_iter([ann()]));
    }

    fn book(&mut self, task: u32, effects: &Effects) {
        self.slots.book(&mut self.fleet, &key(task), effects);
    }

    fn unbook(&mut self, task: u32, effects: &Effects) {
        self.slots.unbook(&mut self.fleet, &key(task), effects);
    }

    fn settle(&mut self, task: u32, effects: &Effects) {
        self.slots.settle(&mut self.fleet, &key(task), effects);
    }

    fn begin(&mut self, task: u32) {
        self.book(task, &begins(task));
        self.settle(task, &begins(task));
    }

    fn learn(&mut self, tasks: &[u32]) {
        self.slots.learn(&mut self.fleet, tasks.iter().map(|task| held(*task)));
    }

    fn end_recount(&mut self, tasks: &[u32]) {
        self.slots.end_recount(&mut self.fleet, Some(tasks.iter().map(|task| held(*task)).collect()));
    }

    fn busy(&self) -> u32 {
        self.fleet.members().map(|(_, member)| member.busy).sum()
    }
}

#[test]
fn a_lease_takes_its_slot_from_its_decision_to_that_of_its_end() {
    let mut count = Count::new();
    count.book(1, &begins(1));
    assert_eq!(count.busy(), 1);
    count.settle(1, &begins(1));
    assert_eq!(count.busy(), 1);
    count.book(1, &ends(1));
    assert_eq!(count.busy(), 0);
    count.settle(1, &ends(1));
    assert_eq!((count.busy(), count.slots.held.len()), (0, 0));
}

#[test]
fn what_was_not_written_is_as_it_was() {
    let mut count = Count::new();
    count.book(1, &begins(1));
    count.unbook(1, &begins(1));
    assert_eq!((count.busy(), count.slots.held.len()), (0, 0));
    count.begin(1);
    count.book(1, &ends(1));
    count.unbook(1, &ends(1));
    assert_eq!(count.busy(), 1);
}

#[test]
fn a_lease_heard_of_while_its_end_is_on_its_way_is_counted_once() {
    let mut count = Count::new();
    count.begin(1);
    count.book(1, &ends(1));
    count.learn(&[1]);
    assert_eq!(count.busy(), 0, "its end is decided");
    count.unbook(1, &ends(1));
    assert_eq!(count.busy(), 1);
    count.book(1, &ends(1));
    count.settle(1, &ends(1));
    assert_eq!(count.busy(), 0);
}

#[test]
fn a_lease_of_a_doubtful_commit_is_counted_once_though_the_store_told_of_it() {
    let mut count = Count::new();
    count.book(1, &begins(1));
    count.unbook(1, &begins(1));
    // It was written after all, and another commit finds no slot for it.
    count.learn(&[1]);
    count.begin(1);
    assert_eq!(count.busy(), 1);
    assert!(!count.slots.has_untold(), "its end will be heard here");
    // The other way round: the first to be heard of it is no commit of this master, and its commit fails.
    count.learn(&[2]);
    count.book(2, &begins(2));
    count.unbook(2, &begins(2));
    assert_eq!(count.busy(), 2, "it stands, as the store said");
}

#[test]
fn an_agent_that_comes_back_in_the_same_life_has_what_it_had() {
    let mut count = Count::new();
    count.begin(1);
    count.book(2, &begins(2));
    count.begin(3);
    count.leaves();
    assert_eq!(count.busy(), 0);
    // While it was away one ended and one began, as another master's.
    count.book(3, &ends(3));
    count.settle(3, &ends(3));
    count.learn(&[4]);
    count.joins(1);
    assert_eq!(count.busy(), 3);
    count.settle(2, &begins(2));
    assert_eq!(count.busy(), 3);
    for task in [1, 2, 4] {
        count.book(task, &ends(task));
        count.settle(task, &ends(task));
    }
    assert_eq!((count.busy(), count.slots.held.len(), count.slots.untold), (0, 0, 0));
}

#[test]
fn a_new_life_has_nothing_of_the_old_one_and_that_is_forgotten() {
    let mut count = Count::new();
    count.begin(1);
    count.joins(2);
    assert_eq!(count.busy(), 0);
    assert!(count.slots.has_untold(), "whoever ends it, this master may not hear of it");
    assert!(count.slots.begin_recount());
    count.end_recount(&[]);
    assert_eq!((count.busy(), count.slots.held.len(), count.slots.untold), (0, 0, 0));
}

#[test]
fn a_recount_corrects_all_but_what_changed_meanwhile() {
    let mut count = Count::new();
    [1, 2, 3].into_iter().for_each(|task| count.begin(task));
    assert!(count.slots.begin_recount());
    assert!(!count.slots.begin_recount(), "one at a time");
    // The store looks here: 1, 2, 3 and another's 5.
    count.begin(4);
    count.book(3, &ends(3));
    count.settle(3, &ends(3));
    count.book(2, &ends(2));
    count.end_recount(&[1, 2, 3, 5]);
    assert_eq!(count.busy(), 3, "1, 4 and 5");
    assert!(count.slots.has_untold());
    count.unbook(2, &ends(2));
    assert_eq!(count.busy(), 4);
    assert!(count.slots.begin_recount());
    count.end_recount(&[4]);
    assert_eq!((count.busy(), count.slots.untold), (1, 0), "1, 2 and 5 were ended by others");
    assert!(count.slots.begin_recount());
    count.slots.end_recount(&mut count.fleet, None);
    assert_eq!(count.busy(), 1, "no answer changes nothing");
}

#[test]
fn whatever_happens_the_count_is_that_of_the_leases() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut count = Count::new();
        let mut is_here = true;
        for _ in 0..60 {
            let task = random.u32(0..5);
            match random.u32(0..10) {
                0 => count.book(task, &begins(task)),
                1 => count.unbook(task, &begins(task)),
                2 => count.settle(task, &begins(task)),
                3 => count.book(task, &ends(task)),
                4 => count.unbook(task, &ends(task)),
                5 => count.settle(task, &ends(task)),
                6 => count.learn(&[task, (task + 1) % 5]),
                7 => {
                    count.slots.begin_recount();
                }
                8 => count.end_recount(&[task]),
                _ if is_here => {
                    count.leaves();
                    is_here = false;
                }
                _ => {
                    count.joins(1);
                    is_here = true;
                }
            }
            let all = || count.slots.held.values();
            let taken = all().filter(|hold| hold.takes_slot()).count() as u32;
            assert_eq!(count.busy(), if is_here { taken } else { 0 }, "seed {seed}");
            assert_eq!(count.slots.untold, all().filter(|hold| hold.is_untold()).count(), "seed {seed}");
        }
    }
}
