//! The promises of a task's life, one small case each; `tests/task_schedules` holds the same ones against random
//! schedules.

mod desk;

use super::super::{Capability, ErrorCode, Limits, Options, Priority, Status, effects, leases, queue_entries, timers};
use super::*;
use desk::*;

// === The happy way ===

#[test]
fn a_pipeline_of_four_costs_five_decisions_while_slots_are_free() {
    let steps = pipeline(&["analyze", "retrieve", "evaluate", "finalize?"], Limits::default());
    let mut desk = Desk::accept(steps, fleet(&[("ann", "analyze,retrieve", 2), ("bob", "evaluate,finalize", 2)]));
    assert_eq!(desk.states(), ["running", "pending", "pending", "pending"]);
    for (step, agent) in [(1, "ann"), (2, "ann"), (3, "bob")] {
        assert_eq!(desk.report(step, agent, 1, success()).unwrap(), ["step_succeeded", "step_placed"]);
    }
    assert_eq!(desk.report(4, "bob", 1, success()).unwrap(), ["step_succeeded", "task_succeeded"]);
    assert_eq!((desk.decisions, desk.final_step()), (5, Some(4)));
}

#[test]
fn branches_run_together_and_a_join_waits_for_all() {
    let needs: [&[u16]; 4] = [&[], &[0], &[0], &[1, 2]];
    let steps = needs.iter().enumerate().map(|(at, needs)| step(at, "analyze", false, needs, Limits::default()));
    let mut desk = Desk::accept(steps.collect(), fleet(&[("ann", "analyze", 4)]));
    assert_eq!(desk.report(1, "ann", 1, success()).unwrap(), ["step_succeeded", "step_placed", "step_placed"]);
    assert_eq!(desk.report(2, "ann", 1, success()).unwrap(), ["step_succeeded"]);
    assert_eq!(desk.report(3, "ann", 1, success()).unwrap(), ["step_succeeded", "step_placed"]);
}

#[test]
fn slots_promised_in_a_decision_are_not_promised_twice() {
    let steps = (0..3).map(|at| step(at, "analyze", false, &[], Limits::default()));
    let desk = Desk::accept(steps.collect(), fleet(&[("ann", "analyze", 1), ("bob", "analyze", 1)]));
    assert_eq!(desk.states(), ["running", "running", "queued"]);
    assert_ne!(desk.step(1).attempts[0].agent, desk.step(2).attempts[0].agent);
}

#[test]
fn a_long_objective_is_cut_for_lists() {
    assert_eq!(&*summary("  two\n words "), "two words");
    let longest = "a ".repeat(SUMMARY_CHARS / 2 - 1) + "ab";
    assert_eq!(*summary(&longest), *longest);
    for long in ["ü".repeat(500), "a ".repeat(500), longest + "c"] {
        let short = summary(&long);
        assert_eq!((short.chars().count(), short.chars().last()), (SUMMARY_CHARS + 1, Some('…')));
    }
}

#[test]
fn tasks_that_fail_together_do_not_try_again_together() {
    let pause = |seed: u64| {
        let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
        desk.seed = seed;
        desk.running(1, failed()).unwrap();
        desk.wait_ms(1)
    };
    let pauses: std::collections::BTreeSet<u64> = (0..20).map(pause).collect();
    assert!(pauses.len() > 10, "{pauses:?}");
}

#[test]
fn a_task_of_a_later_schema_is_not_for_this_program() {
    let mut task = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[])).task;
    assert!(task.readable());
    task.schema += 1;
    assert!(!task.readable());
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_for_it() {
    const STEP_MS: u64 = 900_000;
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
    let before = desk.task.updated_at;
    desk.now = At(desk.now.0 - STEP_MS);
    desk.running(1, failed()).unwrap();
    assert_eq!(desk.task.updated_at, before, "a log never goes back in time");
    assert!(desk.timer(1).1.since(desk.now) < 60_000, "the pause goes by the clock");
    // Neither does an optional step wait for an agent that was seen before, and is gone.
    let mut fleet = fleet(&[("ann", "analyze", 1)]);
    fleet.beat(START);
    fleet.leave(&AgentId::trusted("ann"));
    let then = At(START.0 - STEP_MS);
    fleet.beat(then);
    assert_eq!(fleet.last_live(&Capability::trusted("analyze"), then), Some(then));
}

// === Optional steps and missing agents ===

#[test]
fn an_optional_step_waits_one_ttl_after_its_agent_was_last_seen() {
    // Milliseconds since an agent for it was seen, and how long the step then waits before it is skipped.
    let cases = [(None, None), (Some(TTL_MS), None), (Some(TTL_MS - 1), Some(1)), (Some(0), Some(TTL_MS))];
    for (seen_ago, waits) in cases {
        let mut fleet = fleet(&[("ann", "analyze", 1)]);
        if let Some(ago) = seen_ago {
            fleet.saw(&Capability::trusted("finalize"), At(START.0 - ago));
        }
        let mut desk = Desk::accept(pipeline(&["analyze", "finalize?"], Limits::default()), fleet);
        let events = desk.report(1, "ann", 1, success()).unwrap();
        match waits {
            None => assert_eq!(events, ["step_succeeded", "step_skipped", "task_succeeded"]),
            Some(ms) => {
                assert_eq!((events, desk.wait_ms(2)), (vec!["step_succeeded", "step_queued"], ms));
                assert_eq!(desk.fire(2).unwrap(), ["step_skipped", "task_succeeded"]);
            }
        }
        assert_eq!(desk.final_step(), Some(1));
        let StepState::Skipped { reason, .. } = &desk.step(2).state else { panic!("{:?}", desk.step(2)) };
        assert!(reason.starts_with("no live agent can finalize (live: analyze"), "{reason}");
    }
}

#[test]
fn an_optional_step_in_the_queue_outlives_its_agents_by_one_ttl() {
    let mut desk = Desk::accept(pipeline(&["finalize?"; 2], Limits::default()), fleet(&[("ann", "finalize", 0)]));
    assert_eq!(desk.wait_ms(1), TTL_MS);
    desk.fleet.beat(START.plus(10));
    desk.fleet.leave(&AgentId::trusted("ann"));
    assert_eq!(desk.fire(1).unwrap(), ["step_queued"]);
    assert_eq!(desk.timer(1).1, START.plus(10 + TTL_MS));
    assert_eq!(desk.fire(1).unwrap(), ["step_skipped", "step_skipped", "task_succeeded"]);
    assert_eq!(desk.final_step(), None);
}

#[test]
fn a_mandatory_step_without_an_agent_waits_visibly_then_fails() {
    let mut desk = Desk::accept(pipeline(&["analyze", "finalize?"], Limits::default()), fleet(&[]));
    assert_eq!((desk.states(), desk.task.status()), (vec!["queued", "pending"], Status::WaitingForAgent));
    assert_eq!(desk.wait_ms(1), Limits::default().no_agent_timeout_ms);
    assert_eq!(desk.fire(1).unwrap(), ["step_failed", "task_failed"]);
    assert_eq!(desk.failure().code, ErrorCode::RoutingError);
    assert_eq!(desk.states(), ["failed", "cancelled"]);
}

#[test]
fn an_agent_that_comes_in_time_takes_the_step() {
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[]));
    assert_eq!(desk.claim(1), Err(Refusal::NoSlot));
    join(&mut desk.fleet, "ann", "analyze", 1, desk.now);
    assert_eq!(desk.claim(1).unwrap(), ["step_placed"]);
    assert_eq!(desk.claim(1), Err(Refusal::Stale));
    assert_eq!(desk.claim(7), Err(Refusal::UnknownStep(StepId::trusted("t1-P7"))));
}

#[test]
fn a_mandatory_step_in_the_queue_outlives_its_agents_by_its_patience() {
    let patience = Limits::default().no_agent_timeout_ms;
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 0)]));
    assert_eq!((desk.states(), desk.task.status()), (vec!["queued"], Status::Queued));
    desk.fleet.beat(START.plus(10));
    desk.fleet.leave(&AgentId::trusted("ann"));
    assert_eq!(desk.fire(1).unwrap(), ["step_queued"]);
    assert_eq!((desk.timer(1).1, desk.task.status()), (START.plus(10 + patience), Status::WaitingForAgent));
    assert_eq!(desk.fire(1).unwrap(), ["step_failed", "task_failed"]);
}

#[test]
fn a_step_without_patience_fails_without_an_agent_but_may_wait_for_a_slot() {
    let limits = Limits { no_agent_timeout_ms: 0, ..Limits::default() };
    let desk = Desk::accept(pipeline(&["analyze"], limits), fleet(&[]));
    assert_eq!(desk.failure().code, ErrorCode::RoutingError);
    let mut desk = Desk::accept(pipeline(&["analyze"], limits), fleet(&[("ann", "analyze", 0)]));
    for _ in 0..3 {
        assert_eq!(desk.wait_ms(1), MIN_RECHECK_MS);
        assert_eq!(desk.fire(1).unwrap(), ["step_queued"]);
    }
}

#[test]
fn a_thousand_skipped_steps_take_no_stack() {
    let skip_all = || Desk::accept(pipeline(&["paint?"; 1000], Limits::default()), fleet(&[])).final_step();
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(skip_all);
    assert_eq!(thread.unwrap().join().unwrap(), None);
}

// === What costs what ===

/// How an attempt ends; none for a step time-out.
fn end_or_time_out(desk: &mut Desk, end: Option<&AttemptEnd>) -> Names {
    match end {
        Some(end) => desk.running(1, Outcome::Ended(end.clone())),
        None => desk.fire(1),
    }
}

#[test]
fn each_way_to_end_has_its_own_limit() {
    let limits = Limits { max_attempts: 3, max_crashes: 2, max_losses: 5, ..Limits::default() };
    let lost = |loss| Some(AttemptEnd::Lost(loss));
    // How it ends, the how manieth time is the last, and the code that it then fails with.
    let cases = [
        (Some(AttemptEnd::Failed(broke())), 3, ErrorCode::InternalError),
        (None, 3, ErrorCode::Timeout),
        (Some(AttemptEnd::Fatal(broke())), 1, ErrorCode::InternalError),
        (Some(AttemptEnd::Crashed(broke())), 2, ErrorCode::Crashed),
        (lost(Loss::Refused), 5, ErrorCode::WorkerUnavailable),
        (lost(Loss::Drained), 5, ErrorCode::WorkerUnavailable),
        (lost(Loss::AgentRestarted), 5, ErrorCode::WorkerUnavailable),
        (lost(Loss::LeaseExpired), 5, ErrorCode::WorkerUnavailable),
        (lost(Loss::Unreachable), 5, ErrorCode::WorkerUnavailable),
    ];
    for (end, times, code) in cases {
        let mut desk = Desk::accept(pipeline(&["analyze", "retrieve"], limits), fleet(&[("ann", "analyze", 9)]));
        for time in 1..times {
            end_or_time_out(&mut desk, end.as_ref()).unwrap();
            assert!(desk.task.end.is_none(), "{end:?} ended it after {time}");
            if desk.states()[0] == "backing_off" {
                desk.fire(1).unwrap();
            }
        }
        let events = end_or_time_out(&mut desk, end.as_ref()).unwrap();
        assert_eq!(events, ["attempt_ended", "step_failed", "task_failed"], "{end:?}");
        assert_eq!((desk.failure().code, desk.states()), (code, vec!["failed", "cancelled"]), "{end:?}");
    }
}

#[test]
fn limits_do_not_add_up() {
    let limits = Limits { max_attempts: 2, max_crashes: 2, max_losses: 2, ..Limits::default() };
    let mut desk = Desk::accept(pipeline(&["analyze"], limits), fleet(&[("ann", "analyze", 9)]));
    for end in [AttemptEnd::Failed(broke()), AttemptEnd::Crashed(broke()), AttemptEnd::Lost(Loss::Refused)] {
        assert_eq!(desk.running(1, Outcome::Ended(end)).unwrap(), ["attempt_ended", "step_backed_off"]);
        assert_eq!(desk.fire(1).unwrap(), ["step_placed"]);
    }
    let step = desk.step(1);
    assert_eq!((step.failures, step.crashes, step.losses, step.last_no()), (1, 1, 1, AttemptNo(4)));
}

#[test]
fn pauses_double_up_to_a_cap() {
    let limits = Limits { max_attempts: 9, backoff_ms: 100, backoff_cap_ms: 1000, ..Limits::default() };
    let mut desk = Desk::accept(pipeline(&["analyze"], limits), fleet(&[("ann", "analyze", 9)]));
    for full in [100, 200, 400, 800, 1000, 1000] {
        desk.running(1, failed()).unwrap();
        assert!((full / 2..=full).contains(&desk.wait_ms(1)), "{} of {full}", desk.wait_ms(1));
        desk.fire(1).unwrap();
    }
}

#[test]
fn a_dead_agents_step_goes_on_at_once_and_a_full_ones_after_a_pause() {
    let cases = [
        (Loss::Refused, "step_backed_off"),
        (Loss::GatewayUnreachable, "step_backed_off"),
        (Loss::Unreachable, "step_placed"),
        (Loss::Drained, "step_placed"),
        (Loss::AgentRestarted, "step_placed"),
        (Loss::LeaseExpired, "step_placed"),
    ];
    for (loss, then) in cases {
        let mut desk = Desk::accept(
            pipeline(&["analyze"], Limits::default()),
            fleet(&[("ann", "analyze", 2), ("bob", "analyze", 2)]),
        );
        let first = desk.step(1).attempts[0].agent.clone();
        assert_eq!(desk.running(1, lost(loss)).unwrap(), ["attempt_ended", then]);
        if then == "step_placed" {
            assert_ne!(desk.step(1).attempts[1].agent, first, "it goes to another");
            let again = desk.running(1, lost(loss)).unwrap();
            assert_eq!(again, ["attempt_ended", "step_backed_off"], "a second death makes it pause");
        }
    }
}

#[test]
fn a_step_is_tried_again_by_another_agent_where_there_is_one() {
    let steps = (0..8).map(|at| step(at, "analyze", false, &[], Limits::default()));
    let mut desk = Desk::accept(steps.collect(), fleet(&[("ann", "analyze", 100), ("bob", "analyze", 100)]));
    for step in 1..=8 {
        desk.running(step, failed()).unwrap();
        desk.fire(step).unwrap();
        assert_ne!(desk.step(step).attempts[0].agent, desk.step(step).attempts[1].agent);
    }
}

#[test]
fn an_exhausted_optional_step_is_skipped_and_the_answer_is_the_one_before() {
    let limits = Limits { max_attempts: 1, ..Limits::default() };
    let mut desk = Desk::accept(pipeline(&["analyze", "finalize?"], limits), fleet(&[("ann", "analyze,finalize", 2)]));
    desk.running(1, success()).unwrap();
    assert_eq!(desk.running(2, failed()).unwrap(), ["attempt_ended", "step_skipped", "task_succeeded"]);
    assert_eq!(desk.final_step(), Some(1));
    let StepState::Skipped { reason, .. } = &desk.step(2).state else { panic!("not skipped") };
    assert_eq!(&**reason, "it broke");
}

#[test]
fn only_a_counted_success_supersedes() {
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
    assert_eq!(desk.running(1, Outcome::Ended(AttemptEnd::Superseded)), Err(Refusal::Stale));
}

// === First result wins ===

/// Attempt 1 was bob's and was lost, attempt 2 runs at ann's.
fn second_attempt() -> Desk {
    let mut desk = Desk::accept(pipeline(&["analyze", "retrieve"], Limits::default()), fleet(&[("bob", "analyze", 1)]));
    desk.fleet.leave(&AgentId::trusted("bob"));
    join(&mut desk.fleet, "ann", "analyze,retrieve", 2, desk.now);
    assert_eq!(desk.report(1, "bob", 1, lost(Loss::LeaseExpired)).unwrap(), ["attempt_ended", "step_placed"]);
    desk
}

#[test]
fn a_late_success_counts_and_supersedes_the_running_attempt() {
    let mut desk = second_attempt();
    let events = desk.report(1, "bob", 1, success()).unwrap();
    assert_eq!(events, ["attempt_ended", "step_succeeded", "step_placed"]);
    let StepState::Succeeded { attempt, .. } = desk.step(1).state else { panic!("no success") };
    assert_eq!(attempt, AttemptNo(1));
    assert_eq!(desk.step(1).attempts[0].ended, None);
    assert!(matches!(desk.step(1).attempts[1].ended, Some((_, AttemptEnd::Superseded))));
    assert!(leases(&desk.task).iter().all(|lease| lease.step.as_str() == "t1-P2"), "the other is dropped");
    assert_eq!(desk.report(1, "ann", 2, success()), Err(Refusal::Stale), "it counts once");
}

#[test]
fn a_late_success_counts_while_the_step_pauses_or_waits() {
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
    desk.running(1, failed()).unwrap();
    assert_eq!(desk.states(), ["backing_off"]);
    assert_eq!(desk.clone().report(1, "ann", 1, success()).unwrap(), ["step_succeeded", "task_succeeded"]);
    assert!(desk.fleet.take_slot(&somebody_elses("ann")));
    assert_eq!(desk.fire(1).unwrap(), ["step_queued"]);
    assert_eq!(desk.report(1, "ann", 1, success()).unwrap(), ["step_succeeded", "task_succeeded"]);
}

#[test]
fn a_failure_counts_only_from_the_current_attempt() {
    let mut desk = second_attempt();
    assert_eq!(desk.report(1, "bob", 1, failed()), Err(Refusal::Stale));
    assert_eq!(desk.report(1, "bob", None, failed()), Err(Refusal::Stale));
    assert_eq!(desk.report(1, "ann", 2, failed()).unwrap(), ["attempt_ended", "step_backed_off"]);
    assert_eq!(desk.report(1, "ann", 2, failed()), Err(Refusal::Stale), "it costs once");
    assert_eq!(desk.step(1).failures, 1);
}

#[test]
fn without_a_number_the_attempt_is_the_newest_of_that_agent() {
    let cases = [
        ("ann", None, true),
        ("bob", None, true),
        ("ann", Some(2), true),
        ("ann", Some(1), false),
        ("bob", Some(2), false),
        ("bob", Some(0), false),
        ("bob", Some(3), false),
        ("cleo", None, false),
    ];
    for (agent, attempt, counts) in cases {
        let answer = second_attempt().report(1, agent, attempt, success());
        let never = Refusal::NeverAssigned {
            step: StepId::trusted("t1-P1"),
            agent: AgentId::trusted(agent),
            attempt: attempt.map(AttemptNo),
        };
        assert_eq!(answer.err(), (!counts).then_some(never), "{agent} {attempt:?}");
    }
    let mut desk = second_attempt();
    desk.fleet.leave(&AgentId::trusted("ann"));
    join(&mut desk.fleet, "bob", "analyze", 1, desk.now);
    desk.running(1, lost(Loss::LeaseExpired)).unwrap();
    desk.fire(1).unwrap();
    desk.report(1, "bob", None, failed()).unwrap();
    assert!(matches!(desk.step(1).attempts[2].ended, Some((_, AttemptEnd::Failed(_)))), "bob's newest is the third");
    let unknown = second_attempt().report(9, "ann", None, success());
    assert_eq!(unknown, Err(Refusal::UnknownStep(StepId::trusted("t1-P9"))));
}

// === Ends ===

#[test]
fn cancelling_is_final_and_may_be_repeated() {
    let mut desk = second_attempt();
    let before = desk.task.clone();
    assert_eq!(desk.cancel().unwrap(), ["task_cancelled"]);
    let effects = effects(Some(&before), &desk.task);
    assert_eq!((effects.clear, effects.release), (timers(&before), leases(&before)), "holders are told at once");
    assert_eq!(desk.states(), ["cancelled", "cancelled"]);
    assert!(leases(&desk.task).is_empty() && timers(&desk.task).is_empty());
    assert_eq!(desk.cancel(), Err(Refusal::Stale));
    assert_eq!(desk.report(1, "ann", 2, success()), Err(Refusal::Stale));
    assert!(matches!(desk.report(1, "cleo", 2, success()), Err(Refusal::NeverAssigned { .. })));
    assert!(matches!(desk.report(9, "ann", 2, success()), Err(Refusal::UnknownStep(_))));
}

#[test]
fn what_has_ended_otherwise_cannot_be_cancelled() {
    for (outcome, word) in [(success(), "succeeded"), (Outcome::Ended(AttemptEnd::Fatal(broke())), "failed")] {
        let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
        desk.running(1, outcome).unwrap();
        assert_eq!(desk.cancel(), Err(Refusal::AlreadyEnded(word)));
    }
}

#[test]
fn a_task_fails_at_its_deadline_whatever_it_waits_for() {
    let options = Options { deadline_ms: 1234, ..Options::default() };
    for agents in [&[][..], &[("ann", "analyze", 1)]] {
        let mut desk = Desk::accept_with(pipeline(&["analyze"], Limits::default()), fleet(agents), options.clone());
        assert_eq!(desk.task.deadline_at, START.plus(1234));
        assert_eq!(desk.feed(Input::TimerFired(TimerId::Deadline)).unwrap(), ["task_failed"]);
        assert_eq!((desk.failure().code, desk.states()), (ErrorCode::DeadlineExceeded, vec!["cancelled"]));
        assert_eq!(desk.feed(Input::TimerFired(TimerId::Deadline)), Err(Refusal::Stale));
    }
}

#[test]
fn an_old_timer_finds_nothing() {
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 1)]));
    let (old, _) = desk.timer(1);
    desk.running(1, failed()).unwrap();
    assert_eq!(desk.feed(Input::TimerFired(old)), Err(Refusal::Stale));
    assert_eq!(desk.feed(Input::TimerFired(TimerId::Step(StepIndex(9), 0))), Err(Refusal::Stale));
}

// === Taking turns ===

#[test]
fn nothing_is_placed_past_a_waiting_step_of_equal_or_higher_priority() {
    // Whether a step of each priority, low to high, is placed although a slot is free.
    let cases = [
        ([0, 0, 0], [true, true, true]),
        ([1, 0, 0], [false, true, true]),
        ([0, 1, 0], [false, false, true]),
        ([0, 0, 1], [false, false, false]),
    ];
    for (waiting, placed) in cases {
        for (priority, placed) in Priority::ALL.into_iter().zip(placed) {
            let mut fleet = fleet(&[("ann", "analyze", 1)]);
            fleet.set_waiting(&[(Capability::trusted("analyze"), waiting)]);
            let options = Options { priority, ..Options::default() };
            let mut desk = Desk::accept_with(pipeline(&["analyze"], Limits::default()), fleet, options);
            assert_eq!(desk.states(), [if placed { "running" } else { "queued" }], "{priority:?} past {waiting:?}");
            // Whoever claims has asked the queue whose turn it is.
            assert_eq!(desk.claim(1).is_ok(), !placed);
        }
    }
}

#[test]
fn a_step_keeps_its_place_in_the_queue_when_it_is_looked_at_again() {
    let mut desk = Desk::accept(pipeline(&["analyze"], Limits::default()), fleet(&[("ann", "analyze", 0)]));
    let rank = |desk: &Desk| queue_entries(&desk.task)[0].rank;
    let first = rank(&desk);
    desk.fire(1).unwrap();
    assert_eq!(rank(&desk), first);
}
