//! Every actor of a company crashes in place, under running steps: nobody else notices, nothing that was accepted is
//! lost, and no result is counted twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::task::{AttemptEnd, Loss, StepState, Task};
use callboard::testkit::{Scripted, TestCompany, always, when};
use std::time::Duration;

const AGENT: &str = "root/agents/agent-analyze";

/// A company whose first step is in the test's hands.
fn held() -> (TestCompany, Scripted) {
    let agent = Scripted::default().line(always().waits());
    (TestCompany::default().agent("analyze", agent.clone()), agent)
}

fn second_attempt(task: &Task) -> bool {
    task.steps[0].attempts.len() == 2
}

#[test]
fn an_agent_that_starts_over_hands_its_steps_back_at_once() {
    let (company, agent) = held();
    company.run(async |company| {
        let tasks = [company.submit("t-1").await, company.submit("t-2").await];
        company.until_steps_run(2).await;
        company.kill(AGENT).await;
        for task in &tasks {
            // The loss was told, and not waited for: a lease would have run for half a minute.
            let task = company.until(task, second_attempt).await;
            let (at, end) = task.steps[0].attempts[0].ended.clone().unwrap();
            assert_eq!(end, AttemptEnd::Lost(Loss::AgentRestarted));
            assert!(at.since(task.accepted_at) < 1000, "{}", company.log(&task.key).await);
            assert_eq!((task.steps[0].failures, task.steps[0].crashes, task.steps[0].losses), (0, 0, 1));
        }
        agent.release(2);
        for log in company.all_ended(&tasks).await {
            let step = log.succeeded().step("analyze");
            let attempts = &step.failures(0).crashes(0).state().attempts;
            assert_ne!(attempts[0].incarnation, attempts[attempts.len() - 1].incarnation, "another life did it");
        }
        assert_eq!(company.restarts(AGENT), 1);
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn a_master_that_starts_over_goes_on_with_every_task() {
    let (company, agent) = held();
    company.run(async |company| {
        let first = company.submit("t-1").await;
        company.until_steps_run(1).await;
        company.kill("root/master").await;
        agent.release(2);
        company.ended(&first).await;
        // The living step was left alone.
        company.log(&first).await.succeeded().step("analyze").attempts(1);
        // And it takes new ones.
        let second = company.submit("t-2").await;
        company.ended(&second).await;
        assert_eq!(company.restarts("root/master"), 1);
        company.audit().await.holds(&[first, second]).clean();
    });
}

#[test]
fn a_master_that_starts_over_knows_which_slots_are_taken() {
    let (company, agent) = held();
    company.run(async |company| {
        let mut tasks = company.submit_many(4).await;
        company.until_steps_run(4).await;
        company.kill("root/master").await;
        // No slot is free, so it waits in the queue and is not sent to be refused.
        let last = company.submit("last").await;
        agent.release(5);
        company.ended(&last).await;
        company.log(&last).await.succeeded().step("analyze").losses(0).attempts(1);
        tasks.push(last);
        company.all_ended(&tasks).await;
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn a_registry_that_starts_over_learns_of_everybody_again() {
    let (company, agent) = held();
    company.run(async |company| {
        let first = company.submit("t-1").await;
        company.until_steps_run(1).await;
        company.kill("root/registry").await;
        // The roster holds meanwhile, so tasks go on; with its next heartbeat each agent is told to join again.
        agent.release(2);
        let second = company.submit("t-2").await;
        for log in company.all_ended(&[first, second]).await {
            log.succeeded().step("analyze").attempts(1);
        }
        // Longer than a heartbeat counts.
        company.pass(Duration::from_secs(45)).await;
        assert_eq!(company.store().agents().await.unwrap().len(), 4);
        assert_eq!(company.restarts("root/registry"), 1);
        company.audit().await.clean();
    });
}

#[test]
fn a_gateway_that_starts_over_is_asked_again_and_one_that_does_so_twice_costs_a_loss() {
    let model = Scripted::default().line(when("analyze").waits());
    TestCompany::default().model(model.clone()).run(async |company| {
        let tasks = [company.submit("t-1").await, company.submit("t-2").await];
        company.until_steps_run(2).await;
        company.kill("root/gateway").await;
        company.pass(Duration::from_secs(1)).await;
        assert_eq!(model.asked().len(), 4, "the same attempts ask the new life");
        for task in &tasks {
            assert_eq!(company.log(task).await.task().steps[0].attempts.len(), 1);
        }
        company.kill("root/gateway").await;
        for task in &tasks {
            let task = company.until(task, second_attempt).await;
            let (_, end) = task.steps[0].attempts[0].ended.clone().unwrap();
            assert_eq!(end, AttemptEnd::Lost(Loss::GatewayUnreachable), "it may have ended because of this call");
        }
        model.release(2);
        for log in company.all_ended(&tasks).await {
            log.succeeded().step("analyze").failures(0).crashes(0).losses(1);
        }
        assert_eq!((company.restarts("root/gateway"), company.restarts(AGENT)), (2, 0));
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn a_dispatcher_that_starts_over_finds_what_is_queued_and_what_falls_due() {
    let agent = Scripted::default().line(always().waits());
    let model = Scripted::default().line(when("evaluate").nth(1).fails());
    TestCompany::default().agent("analyze", agent.clone()).model(model).run(async |company| {
        // Four run, six are queued.
        let tasks = company.submit_many(10).await;
        company.until_steps_run(4).await;
        company.kill("root/dispatcher").await;
        agent.release(1);
        // The one that goes on fails its evaluation and pauses: that timer is for the dispatcher's third life to find.
        let pausing = |task: &Task| matches!(task.steps[2].state, StepState::BackingOff { .. });
        company.until(&tasks[0], pausing).await;
        company.kill("root/dispatcher").await;
        agent.release(9);
        let mut failures = 0;
        for log in company.all_ended(&tasks).await {
            log.succeeded().step("analyze").attempts(1);
            failures += log.step("evaluate").state().failures;
        }
        assert_eq!((failures, company.restarts("root/dispatcher")), (1, 2));
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn whoever_crashes_under_load_every_task_comes_to_its_end() {
    let model = Scripted::default().line(always().says("well").after(Duration::from_millis(700)));
    let actors =
        ["root/master", "root/dispatcher", "root/registry", "root/gateway", AGENT, "root/agents/agent-evaluate"];
    for sqlite in [false, true] {
        let company = TestCompany::default().model(model.clone()).setting("max_losses", "500");
        let company = if sqlite { company.sqlite() } else { company };
        company.run(async |company| {
            let tasks = company.submit_many(60).await;
            for round in 0..4 {
                for actor in actors {
                    company.pass(Duration::from_millis(300 + 37 * round)).await;
                    company.kill(actor).await;
                }
            }
            for log in company.all_ended(&tasks).await {
                log.succeeded();
                for step in ["analyze", "retrieve", "evaluate", "finalize"] {
                    log.step(step).failures(0).crashes(0);
                }
            }
            for actor in actors {
                assert_eq!(company.restarts(actor), 4, "{actor}");
            }
            company.audit().await.holds(&tasks).clean();
        });
    }
}
