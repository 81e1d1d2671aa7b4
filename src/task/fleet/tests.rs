//! What the estimate counts and whom it chooses, by agents with names and steps with numbers.

use super::*;
use crate::task::id::{AttemptNo, StepId};
use std::collections::{BTreeMap, HashSet};

const NOW: At = At(1_000_000);

fn agent(name: &'static str) -> AgentId {
    AgentId::trusted(name)
}

fn life() -> Incarnation {
    Incarnation::trusted("i1")
}

fn analyze() -> Capability {
    Capability::trusted("analyze")
}

fn member(slots: u32) -> Member {
    Member::new(life(), vec![analyze()], slots)
}

fn lease(name: &'static str, number: u32) -> Lease {
    let step = StepId::trusted(format!("t{number}-P1"));
    Lease { step, attempt: AttemptNo(1), agent: agent(name), incarnation: life() }
}

fn fleet_of(names: &[&'static str], slots: u32) -> Fleet {
    let mut fleet = Fleet::new(30_000);
    names.iter().for_each(|name| fleet.join(agent(name), member(slots), At(1)));
    fleet
}

fn fleet() -> Fleet {
    fleet_of(&["aaa", "bbb"], 4)
}

impl Fleet {
    fn takes(&mut self, name: &'static str, number: u32) {
        assert!(self.take_slot(&lease(name, number)));
    }

    fn gives(&mut self, name: &'static str, number: u32) {
        assert!(self.give_slot(&lease(name, number)));
    }

    fn free(&self) -> u32 {
        self.free_slots(&analyze(), NOW)
    }

    /// A step that took so long ends at that moment.
    fn ended(&mut self, name: &'static str, verdict: Verdict, took_ms: u64, ended_at: At) {
        let placed_at = At(ended_at.0 - took_ms);
        let (agent, incarnation, capability) = (&agent(name), &life(), &analyze());
        self.judge(&Trial { agent, incarnation, capability, placed_at, ended_at, verdict });
    }

    /// It fails that often, just now.
    fn fails(&mut self, name: &'static str, times: u32) {
        (0..times).for_each(|_| self.ended(name, Verdict::Bad, 0, NOW));
    }

    fn choice(&self, had_it: &[AgentId], promised: &[AgentId], now: At, seed: u64) -> Option<Choice> {
        self.choose(&Wanted { capability: &analyze(), had_it, promised, now, seed })
    }

    /// Who is chosen, with all seeds.
    fn chosen(&self, had_it: &[AgentId], now: At) -> BTreeMap<String, u32> {
        let mut chosen = BTreeMap::new();
        for seed in 0..100 {
            let choice = self.choice(had_it, &[], now, seed);
            *chosen.entry(choice.map_or("nobody".into(), |choice| choice.agent.to_string())).or_default() += 1;
        }
        chosen
    }

    fn reason(&self, now: At) -> String {
        self.choice(&[], &[], now, 1).unwrap().reason.to_string()
    }
}

fn always(name: &str) -> BTreeMap<String, u32> {
    BTreeMap::from([(name.to_owned(), 100)])
}

// === Who is there ===

#[test]
fn the_capabilities_of_living_agents_are_listed_in_order() {
    let mut fleet = fleet();
    let paint = Capability::trusted("paint");
    fleet.join(agent("ccc"), Member::new(life(), vec![paint.clone()], 1), At(1));
    assert_eq!(fleet.capabilities(), [analyze(), paint]);
    fleet.leave(&agent("ccc"));
    assert_eq!(fleet.capabilities(), [analyze()]);
}

#[test]
fn remembers_when_a_capability_last_lived() {
    let mut fleet = fleet();
    assert_eq!(fleet.last_live(&analyze(), At(9)), Some(At(9)));
    fleet.beat(At(10));
    fleet.leave(&agent("aaa"));
    fleet.leave(&agent("bbb"));
    assert!(!fleet.live(&analyze()));
    fleet.beat(At(15));
    assert_eq!(fleet.last_live(&analyze(), At(20)), Some(At(10)));
    fleet.join(agent("aaa"), member(1), At(30));
    fleet.leave(&agent("aaa"));
    assert_eq!(fleet.last_live(&analyze(), At(40)), Some(At(30)), "it lived when it joined, whatever was heard before");
    assert_eq!(fleet.last_live(&Capability::trusted("paint"), At(20)), None);
}

#[test]
fn a_new_life_of_an_agent_starts_with_free_slots_and_without_a_record() {
    let mut fleet = fleet();
    fleet.takes("aaa", 1);
    fleet.fails("aaa", 3);
    fleet.join(agent("aaa"), member(5), At(2));
    assert_eq!(fleet.free(), 4, "the same life still rests");
    fleet.join(agent("aaa"), Member::new(Incarnation::trusted("i2"), vec![analyze()], 4), At(3));
    assert_eq!(fleet.free(), 8);
    assert!(!fleet.give_slot(&lease("aaa", 1)), "that life is over");
    fleet.fails("aaa", 3);
    assert_eq!(fleet.free(), 8, "and so is its record");
}

// === Slots ===

#[test]
fn a_capability_named_twice_has_its_slots_once() {
    let mut fleet = fleet();
    fleet.join(agent("bbb"), Member::new(life(), vec![analyze(), Capability::trusted("paint"), analyze()], 4), At(2));
    assert_eq!(fleet.free(), 8);
}

#[test]
fn a_slot_is_counted_for_the_present_life_only_and_never_below_none() {
    let mut fleet = fleet();
    let earlier = Lease { incarnation: Incarnation::trusted("i0"), ..lease("aaa", 1) };
    assert!(!fleet.take_slot(&earlier) && !fleet.give_slot(&earlier));
    assert!(!fleet.give_slot(&lease("aaa", 1)), "nothing was taken");
    assert!(fleet.take_slot(&lease("aaa", 1)) && fleet.give_slot(&lease("aaa", 1)));
    assert_eq!(fleet.free(), 8);
}

#[test]
fn free_slots_are_those_of_all_agents_for_each_of_their_capabilities() {
    let mut fleet = fleet_of(&["aaa", "bbb", "ccc"], 2);
    let paint = Capability::trusted("paint");
    fleet.join(agent("ccc"), Member::new(life(), vec![paint.clone(), analyze()], 3), At(2));
    let free = |fleet: &Fleet| (fleet.free(), fleet.free_slots(&paint, NOW));
    assert_eq!(free(&fleet), (7, 3));
    // More than it says that it can: what counts is that it is full.
    (1..=4).for_each(|number| fleet.takes("ccc", number));
    assert_eq!(free(&fleet), (4, 0));
    (1..=2).for_each(|number| fleet.gives("ccc", number));
    assert_eq!(free(&fleet), (5, 1));
    fleet.leave(&agent("ccc"));
    assert_eq!(free(&fleet), (4, 0));
}

#[test]
fn higher_priorities_do_not_wait_behind_lower_ones() {
    let mut fleet = fleet();
    fleet.waits(&analyze(), Priority::Normal);
    assert!(fleet.queue_before(&analyze(), Priority::Low));
    assert!(fleet.queue_before(&analyze(), Priority::Normal));
    assert!(!fleet.queue_before(&analyze(), Priority::High));
}

// === The score ===

#[test]
fn the_freer_agent_is_chosen_and_a_full_one_never() {
    let mut fleet = fleet();
    fleet.takes("aaa", 1);
    assert_eq!(fleet.chosen(&[], NOW), always("bbb"));
    (2..=4).for_each(|number| fleet.takes("aaa", number));
    assert_eq!(fleet.choice(&[], &vec![agent("bbb"); 3], NOW, 1).unwrap().agent, agent("bbb"));
    assert_eq!(fleet.choice(&[], &vec![agent("bbb"); 4], NOW, 1), None);
}

#[test]
fn equal_agents_take_turns_and_one_that_had_the_step_is_avoided() {
    let fleet = fleet_of(&["aaa", "bbb", "ccc", "ddd"], 4);
    assert!(fleet.chosen(&[], NOW).values().all(|times| (10..=40).contains(times)), "{:?}", fleet.chosen(&[], NOW));
    let had_it = ["aaa", "bbb", "ccc"].map(agent);
    assert_eq!(fleet.chosen(&had_it, NOW), always("ddd"));
}

#[test]
fn an_agent_with_a_free_slot_is_found_however_many_are_promised() {
    let names = ["aaa", "bbb", "ccc", "ddd", "eee", "fff", "ggg", "hhh"];
    let fleet = fleet_of(&names, 1);
    for seed in 0..50 {
        let mut promised = Vec::new();
        for _ in names {
            promised.push(fleet.choice(&[], &promised, NOW, seed).unwrap().agent);
        }
        assert_eq!(promised.iter().collect::<HashSet<_>>().len(), names.len());
        assert_eq!(fleet.choice(&[], &promised, NOW, seed), None);
    }
}

#[test]
fn a_slow_agent_is_chosen_only_when_the_others_are_nearly_full() {
    let mut fleet = fleet();
    fleet.ended("aaa", Verdict::Good, 100, NOW);
    assert_eq!(fleet.reason(NOW).split(',').next(), Some("score 1.00: 4 of 4 slots free"), "it is as quick as usual");
    (0..9).for_each(|_| fleet.ended("aaa", Verdict::Good, 100, NOW));
    (0..2).for_each(|_| fleet.ended("bbb", Verdict::Good, 1_000, NOW));
    (1..=3).for_each(|number| fleet.takes("aaa", number));
    assert_eq!(fleet.chosen(&[], NOW), always("aaa"), "a last slot of it is better than all of one ten times slower");
    fleet.takes("aaa", 4);
    assert_eq!(fleet.chosen(&[], NOW), always("bbb"));
    assert!(fleet.reason(NOW).contains("1 s a step, no other is free"), "{}", fleet.reason(NOW));
}

#[test]
fn how_long_steps_take_is_known_for_each_capability_by_itself() {
    let mut fleet = fleet();
    let paint = Capability::trusted("paint");
    for name in ["aaa", "bbb"] {
        fleet.join(agent(name), Member::new(life(), vec![analyze(), paint.clone()], 4), At(1));
    }
    fleet.ended("aaa", Verdict::Good, 100, NOW);
    fleet.ended("bbb", Verdict::Good, 900, NOW);
    assert_eq!(fleet.chosen(&[], NOW), always("aaa"));
    assert!(fleet.scores(&paint, NOW).iter().all(|(_, score)| *score == 1.0));
}

#[test]
fn failing_at_once_does_not_make_an_agent_quick_and_running_out_of_time_makes_it_slow() {
    let mut fleet = fleet();
    let expected = |fleet: &Fleet| fleet.members[&agent("aaa")].record.expected_ms(&analyze());
    fleet.ended("aaa", Verdict::Bad, 5, NOW);
    assert_eq!(expected(&fleet), None);
    fleet.ended("aaa", Verdict::Good, 1_000, NOW);
    fleet.ended("aaa", Verdict::Bad, 5, NOW);
    assert_eq!(expected(&fleet), Some(1_000.0));
    fleet.ended("aaa", Verdict::Late, 11_000, NOW);
    assert_eq!(expected(&fleet), Some(3_000.0), "a fifth of the way to the newest");
}

#[test]
fn failures_weigh_less_with_each_success_and_with_time() {
    let mut fleet = fleet_of(&["aaa"], 4);
    let score = |fleet: &Fleet, now: At| (fleet.scores(&analyze(), now)[0].1 * 100.0).round();
    assert_eq!(score(&fleet, NOW), 100.0);
    fleet.fails("aaa", 1);
    assert_eq!(score(&fleet, NOW), 64.0, "the newest is a fifth: (1 - 0.2)²");
    fleet.fails("aaa", 1);
    assert_eq!(score(&fleet, NOW), 41.0);
    assert_eq!(score(&fleet, NOW.plus(60_000)), 67.0, "after a minute half of it is forgotten: (1 - 0.18)²");
    fleet.ended("aaa", Verdict::Good, 10, NOW);
    assert_eq!(score(&fleet, NOW), 51.0);
}

#[test]
fn the_reason_says_in_words_what_was_weighed() {
    let mut fleet = fleet();
    assert_eq!(fleet.reason(NOW), "score 1.00: 4 of 4 slots free, no step timed yet, best of 2 drawn from 2");
    fleet.leave(&agent("bbb"));
    assert_eq!(fleet.reason(NOW), "score 1.00: 4 of 4 slots free, no step timed yet, no other is free");
    fleet.ended("aaa", Verdict::Good, 1_234, NOW);
    fleet.fails("aaa", 1);
    fleet.takes("aaa", 1);
    let words = "score 0.55: 3 of 4 slots free, 1.2 s a step, 20 % failed lately, no other is free";
    assert_eq!(fleet.reason(NOW), words);
    let again = fleet.choice(&[agent("aaa")], &[], NOW, 1).unwrap().reason;
    assert!(again.starts_with("score 0.05: 3 of 4"), "{again}: a half less for having had this very step");
}

#[test]
fn what_is_no_fault_of_an_agent_says_nothing_of_it() {
    use crate::task::{AttemptEnd, ErrorCode, Failure, Loss};
    let failure = |code| Failure::new(code, "it broke");
    let broke = failure(ErrorCode::InternalError);
    for (end, verdict) in [
        (AttemptEnd::Failed(broke.clone()), Some(Verdict::Bad)),
        (AttemptEnd::Fatal(broke.clone()), Some(Verdict::Bad)),
        (AttemptEnd::Crashed(broke), Some(Verdict::Bad)),
        (AttemptEnd::TimedOut, Some(Verdict::Late)),
        (AttemptEnd::Lost(Loss::LeaseExpired), Some(Verdict::Bad)),
        (AttemptEnd::Lost(Loss::Unreachable), Some(Verdict::Bad)),
        (AttemptEnd::Lost(Loss::GatewayUnreachable), Some(Verdict::Bad)),
        (AttemptEnd::Lost(Loss::Stalled), Some(Verdict::Bad)),
        (AttemptEnd::Lost(Loss::Refused), None),
        (AttemptEnd::Lost(Loss::Drained), None),
        (AttemptEnd::Lost(Loss::AgentRestarted), None),
        (AttemptEnd::Superseded, None),
        (AttemptEnd::Failed(failure(ErrorCode::BudgetExceeded)), None),
        (AttemptEnd::Fatal(failure(ErrorCode::BudgetExceeded)), None),
    ] {
        assert_eq!(Verdict::of(&end), verdict, "{end:?}");
    }
}

// === Rest ===

#[test]
fn an_agent_rests_after_three_bad_ends_in_a_row() {
    let mut fleet = fleet();
    fleet.fails("aaa", 2);
    fleet.ended("aaa", Verdict::Good, 10, NOW);
    fleet.fails("aaa", 2);
    assert_eq!(fleet.free(), 8);
    fleet.ended("aaa", Verdict::Late, 10, NOW);
    assert_eq!(fleet.free(), 4);
    (1..=3).for_each(|number| fleet.takes("bbb", number));
    assert_eq!(fleet.chosen(&[], NOW), always("bbb"));
    fleet.takes("bbb", 4);
    assert_eq!(fleet.chosen(&[], NOW), always("nobody"), "somebody else is there, if full");
    assert!(fleet.live(&analyze()));
}

#[test]
fn after_its_rest_it_is_tried_with_one_step_at_a_time_until_one_succeeds() {
    let mut fleet = fleet();
    fleet.fails("aaa", 3);
    let (early, due) = (NOW.plus(999), NOW.plus(1_000));
    assert_eq!((fleet.chosen(&[], early), fleet.chosen(&[], due)), (always("bbb"), always("aaa")));
    assert_eq!((fleet.free_slots(&analyze(), early), fleet.free_slots(&analyze(), due)), (4, 5));
    assert!(fleet.reason(due).ends_with(", a probe after its rest"), "{}", fleet.reason(due));
    assert_eq!(fleet.choice(&[], &[agent("aaa")], due, 1).unwrap().agent, agent("bbb"), "that one step is promised");
    fleet.takes("aaa", 1);
    assert_eq!(fleet.chosen(&[], due), always("bbb"));
    // Another end than that of the probe is not its end.
    fleet.takes("aaa", 2);
    fleet.gives("aaa", 2);
    assert_eq!(fleet.chosen(&[], due), always("bbb"));
    fleet.gives("aaa", 1);
    fleet.ended("aaa", Verdict::Good, 0, due);
    assert_eq!(fleet.free_slots(&analyze(), due), 8);
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let mut fleet = fleet();
    fleet.takes("aaa", 1);
    fleet.fails("aaa", 3);
    let due = NOW.plus(1_000);
    fleet.takes("aaa", 2);
    assert_eq!(fleet.chosen(&[], due), always("bbb"));
    fleet.gives("aaa", 2);
    assert_eq!(fleet.chosen(&[], due), always("aaa"));
}

#[test]
fn rests_double_up_to_a_minute_and_begin_anew_after_a_success() {
    let mut fleet = fleet();
    let mut now = NOW;
    fleet.fails("aaa", 3);
    for rest_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        // What was placed before the rest began says nothing new.
        fleet.ended("aaa", Verdict::Bad, 1, now);
        assert_eq!(fleet.chosen(&[], now.plus(rest_ms - 1)), always("bbb"));
        now = now.plus(rest_ms);
        assert_eq!(fleet.chosen(&[], now), always("aaa"));
        fleet.ended("aaa", Verdict::Bad, 0, now);
    }
    fleet.ended("aaa", Verdict::Good, 0, now);
    (0..3).for_each(|_| fleet.ended("aaa", Verdict::Bad, 0, now));
    assert_eq!(fleet.chosen(&[], now.plus(1_000)), always("aaa"));
}

#[test]
fn a_step_is_not_the_probe_of_an_agent_that_had_it_unless_nobody_else_is_free() {
    let mut fleet = fleet();
    fleet.fails("aaa", 3);
    let due = NOW.plus(1_000);
    assert_eq!(fleet.chosen(&[agent("aaa")], due), always("bbb"));
    (1..=4).for_each(|number| fleet.takes("bbb", number));
    assert_eq!(fleet.chosen(&[agent("aaa")], due), always("aaa"));
}

#[test]
fn when_all_rest_each_is_tried_at_once_and_nobody_is_skipped() {
    let mut fleet = fleet();
    fleet.fails("bbb", 3);
    fleet.ended("bbb", Verdict::Bad, 0, NOW);
    fleet.fails("aaa", 3);
    assert!(fleet.live(&analyze()));
    assert_eq!((fleet.free(), fleet.chosen(&[], NOW)), (2, always("aaa")), "its rest ends first");
    assert_eq!(fleet.chosen(&[agent("aaa")], NOW), always("bbb"));
    assert!(fleet.reason(NOW).ends_with(", a probe because all rest"), "{}", fleet.reason(NOW));
    fleet.takes("aaa", 1);
    assert_eq!((fleet.free(), fleet.chosen(&[], NOW)), (1, always("bbb")));
    fleet.takes("bbb", 2);
    assert_eq!((fleet.free(), fleet.chosen(&[], NOW)), (0, always("nobody")));
    // A third that does not rest is somebody else.
    fleet.gives("bbb", 2);
    fleet.join(agent("ccc"), member(1), NOW);
    assert_eq!((fleet.free(), fleet.chosen(&[], NOW)), (1, always("ccc")));
}

#[test]
fn an_agent_that_comes_back_in_the_same_life_still_rests() {
    let mut fleet = fleet();
    fleet.fails("aaa", 2);
    fleet.leave(&agent("aaa"));
    // Why it left: the last word of what it had.
    fleet.fails("aaa", 1);
    fleet.join(agent("aaa"), member(4), NOW);
    assert_eq!(fleet.chosen(&[], NOW), always("bbb"));
    let due = NOW.plus(1_000);
    fleet.takes("aaa", 1);
    fleet.leave(&agent("aaa"));
    fleet.join(agent("aaa"), member(4), due);
    assert_eq!(fleet.chosen(&[], due), always("aaa"), "what it was tried with left along with it");
    fleet.leave(&agent("aaa"));
    fleet.join(agent("aaa"), Member::new(Incarnation::trusted("i2"), vec![analyze()], 4), NOW);
    assert_eq!(fleet.free(), 8, "a new life has done nothing wrong");
}

#[test]
fn a_resting_agent_that_leaves_takes_its_rest_along() {
    let mut fleet = fleet();
    fleet.fails("aaa", 3);
    fleet.leave(&agent("aaa"));
    let due = NOW.plus(1_000);
    assert_eq!((fleet.free_slots(&analyze(), due), fleet.chosen(&[], due)), (4, always("bbb")));
    fleet.leave(&agent("bbb"));
    assert_eq!((fleet.free_slots(&analyze(), due), fleet.chosen(&[], due)), (0, always("nobody")));
    assert!(!fleet.live(&analyze()));
}
