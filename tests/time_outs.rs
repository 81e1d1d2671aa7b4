//! What happens when time passes: time-outs, pauses, deadlines, stalls and leases, each at its moment. Nobody sleeps: a
//! company's time passes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::llm::Fault;
use callboard::task::{AttemptEnd, Loss, Options, Submission, TaskId};
use callboard::testkit::{Scripted, TestCompany, always, when};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_step_that_takes_too_long_fails_its_attempt_and_no_other() {
    let idle = Scripted::default().line(always().nth(1).meets(Fault::Hang));
    let company = TestCompany::default().agent("evaluate", idle).setting("stall_timeout", "1h");
    company.setting("step_timeout", "15m").run(async |company| {
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        log.succeeded().took(15 * MINUTE, 15 * MINUTE + 2 * SECOND).sound();
        log.step("evaluate").attempts(2).failures(1).losses(0).attempt_ended(1, "timed_out");
        company.audit().await.clean();
    });
    // A model call is given up just before, by whoever waits for it.
    let model = Scripted::default().line(when("evaluate").nth(1).meets(Fault::Hang));
    TestCompany::default().model(model).setting("step_timeout", "15m").run(async |company| {
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        log.succeeded().took(15 * MINUTE - SECOND, 15 * MINUTE + 2 * SECOND).step("evaluate").attempts(2).failures(1);
        company.audit().await.clean();
    });
}

#[test]
fn a_model_call_that_is_slow_but_known_outlives_stall_and_lease() {
    let model = Scripted::default().line(when("evaluate").says("at last").after(14 * MINUTE));
    for sqlite in [false, true] {
        let company = TestCompany::default().model(model.clone()).setting("stall_timeout", "2m");
        let company = if sqlite { company.sqlite() } else { company };
        company.run(async |company| {
            let task = company.submit("t-1").await;
            company.ended(&task).await;
            let log = company.log(&task).await;
            log.succeeded().took(14 * MINUTE, 14 * MINUTE + SECOND).step("evaluate").attempts(1);
            company.audit().await.clean();
        });
    }
}

#[test]
fn an_agent_that_shows_no_progress_outside_a_model_call_loses_its_attempt() {
    let idle = Scripted::default().line(always().nth(1).meets(Fault::Hang));
    TestCompany::default().agent("evaluate", idle).setting("stall_timeout", "2m").run(async |company| {
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        // It is a heartbeat, one every ten seconds, that says so.
        log.succeeded().took(2 * MINUTE, 2 * MINUTE + 12 * SECOND);
        let evaluate = log.step("evaluate");
        evaluate.attempts(2).failures(0).losses(1);
        let (_, end) = evaluate.state().attempts[0].ended.clone().unwrap();
        assert_eq!(end, AttemptEnd::Lost(Loss::Stalled));
    });
}

#[test]
fn pauses_double_and_an_exhausted_step_fails_its_task_with_its_last_words() {
    let model = Scripted::default().line(when("retrieve").fails());
    let company = TestCompany::default().model(model).setting("max_attempts", "5").setting("retry_pause", "10s");
    company.setting("retry_pause_cap", "30s").run(async |company| {
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        // 10, 20, 30 and 30 seconds, each from its half to its whole.
        log.failed("call 5 of retrieve").took(45 * SECOND, 92 * SECOND).sound();
        log.step("retrieve").attempts(5).failures(5);
        assert_eq!(log.count("step_backed_off"), 4);
        company.audit().await.clean();
    });
}

#[test]
fn a_deadline_ends_a_task_whatever_runs() {
    let model = Scripted::default().line(when("analyze").meets(Fault::Hang));
    TestCompany::default().model(model).run(async |company| {
        let options = Options { deadline_ms: 90_000, ..Options::default() };
        let task = Submission { options, ..Submission::new(TaskId::trusted("t-1"), "why?") };
        let task = company.hand_in(task).await.key.clone();
        company.ended(&task).await;
        company.log(&task).await.failed("not done within").took(90 * SECOND, 91 * SECOND).sound();
        company.until_steps_run(0).await;
        company.audit().await.clean();
    });
}

#[test]
fn a_mandatory_step_without_an_agent_waits_and_fails_and_an_optional_one_is_skipped() {
    TestCompany::default().without("evaluate").run(async |company| {
        let task = company.submit("t-1").await;
        company.pass(MINUTE).await;
        company.log(&task).await.has(callboard::task::Status::WaitingForAgent);
        company.ended(&task).await;
        company.log(&task).await.failed("evaluate").took(5 * MINUTE, 5 * MINUTE + SECOND).sound();
        company.audit().await.clean();
    });
    TestCompany::default().without("finalize").run(async |company| {
        let task = company.submit("t-1").await;
        assert_eq!(company.answer(&task).await.value()["metadata"]["command"], "evaluate");
        company.log(&task).await.succeeded().took(Duration::ZERO, SECOND).step("finalize").attempts(0).skipped();
        company.audit().await.clean();
    });
}

#[test]
fn a_clock_that_jumps_ahead_makes_everything_due_at_once() {
    let model = Scripted::default().line(when("analyze").meets(Fault::Hang));
    TestCompany::default().model(model).run(async |company| {
        let task = company.submit("t-1").await;
        company.until_steps_run(1).await;
        // As after a machine's sleep: the wall clock is an hour ahead, and nobody's heartbeat came.
        company.clock().advance(3_600_000);
        company.pass(SECOND).await;
        company.log(&task).await.failed("not done within").sound();
        company.audit().await.clean();
    });
}
