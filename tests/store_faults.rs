//! A company over a store that fails for a while: what was accepted comes to its end, nothing counts twice, and whoever
//! lives is not ended for it. Time passes by itself, so an outage of minutes takes none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::messages::MasterError;
use callboard::node::AskError;
use callboard::task::{Submission, TaskId};
use callboard::testkit::{Call, Outage, Scripted, StoreFaults, TestCompany, Trouble, always};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// In memory, and on a disk.
fn both(company: impl Fn() -> TestCompany) -> [TestCompany; 2] {
    [company(), company().sqlite()]
}

#[test]
fn an_outage_under_load_ends_nobody_who_lives_and_loses_nothing() {
    let slow = || Scripted::default().line(always().says("well").after(Duration::from_secs(40)));
    for company in both(|| TestCompany::default().model(slow()).setting("slots", "16")) {
        company.run(async |company| {
            let tasks = company.submit_many(40).await;
            company.pass(Duration::from_secs(10)).await;
            company.faults().outage(Outage::Writes);
            // Many times what a heartbeat counts.
            company.pass(5 * MINUTE).await;
            let refused = company.callboard().hand_in(Submission::new(TaskId::trusted("refused"), "why?")).await;
            assert!(matches!(refused, Err(AskError::Refused(MasterError::StoreUnavailable(_)))), "{refused:?}");
            company.faults().mend();
            assert!(company.faults().struck() > 0);
            for log in company.all_ended(&tasks).await {
                log.succeeded().took(5 * MINUTE, 15 * MINUTE).sound();
                // What ran when the outage came kept its result until it could be taken.
                for step in ["analyze", "retrieve", "evaluate", "finalize"] {
                    log.step(step).attempts(1);
                }
            }
            let audit = company.audit().await;
            audit.holds(&tasks).clean();
            assert_eq!(audit.logs().len(), tasks.len(), "what was refused is not there");
        });
    }
}

#[test]
fn a_store_that_answers_nothing_at_all_costs_attempts_of_nobody() {
    let slow = || Scripted::default().line(always().says("well").after(Duration::from_secs(20)));
    for company in both(|| TestCompany::default().model(slow())) {
        company.run(async |company| {
            let tasks = company.submit_many(12).await;
            company.pass(Duration::from_secs(30)).await;
            company.faults().outage(Outage::Everything);
            company.pass(2 * MINUTE).await;
            company.faults().mend();
            for log in company.all_ended(&tasks).await {
                // A lease that could not be renewed may have run out, which is a loss and no failure.
                for step in ["analyze", "retrieve", "evaluate", "finalize"] {
                    log.succeeded().step(step).failures(0).crashes(0);
                }
            }
            company.audit().await.holds(&tasks).clean();
        });
    }
}

#[test]
fn commits_whose_answers_are_lost_and_calls_that_fail_count_once() {
    for company in both(TestCompany::default) {
        let faults = StoreFaults::default();
        faults.every(Call::Commit, 5, Trouble::AnswerIsLost);
        faults.every(Call::Commit, 7, Trouble::Fails);
        faults.every(Call::Load, 3, Trouble::Fails);
        faults.every(Call::Renew, 2, Trouble::Fails);
        company.faults(&faults).run(async |company| {
            let mut tasks = Vec::new();
            for nth in 0..50 {
                // As a client does who is told to come again: the same submission is the same task.
                let submission = || Submission::new(TaskId::trusted(format!("t-{nth}")), "why?");
                tasks.push(loop {
                    if let Ok(task) = company.callboard().hand_in(submission()).await {
                        break task.key.clone();
                    }
                });
            }
            for task in &tasks {
                company.ended(task).await;
            }
            faults.mend();
            assert!(faults.struck() > 50, "{} calls were struck", faults.struck());
            for log in company.all_ended(&tasks).await {
                log.succeeded().no_result_counted_twice().gapless();
            }
            company.audit().await.holds(&tasks).clean();
        });
    }
}

#[test]
fn a_store_that_hangs_is_given_up_and_found_again() {
    let faults = StoreFaults::default();
    TestCompany::default().faults(&faults).run(async |company| {
        faults.at(Call::Commit, 2, Trouble::Hangs);
        faults.at(Call::Read, 1, Trouble::Hangs);
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        // One commit had ten seconds, and was written at its next try.
        let log = company.log(&task).await;
        log.succeeded().took(Duration::from_secs(10), Duration::from_secs(11)).step("analyze").attempts(1);
        assert_eq!(faults.struck(), 2);
        company.audit().await.clean();
    });
}

#[test]
fn a_commit_that_was_written_after_all_is_made_up_for_before_its_lease_runs_out() {
    let faults = StoreFaults::default();
    TestCompany::default().faults(&faults).run(async |company| {
        faults.at(Call::Commit, 1, Trouble::AnswerIsLost);
        faults.at(Call::Commit, 2, Trouble::Fails);
        faults.at(Call::Commit, 3, Trouble::Fails);
        let submission = Submission::new(TaskId::trusted("t-1"), "why?");
        let key = submission.key.clone();
        let told = company.callboard().hand_in(submission).await;
        assert!(matches!(told, Err(AskError::Refused(MasterError::StoreUnavailable(_)))), "{told:?}");
        // Nobody hands it in again, and its first step is placed.
        company.ended(&key).await;
        let log = company.log(&key).await;
        log.succeeded().took(Duration::from_secs(1), Duration::from_secs(2)).step("analyze").attempts(1).losses(0);
        assert_eq!(faults.struck(), 3);
        company.audit().await.holds(&[key]).clean();
    });
}

#[test]
fn a_slow_store_makes_a_task_slow_and_nothing_else() {
    let faults = StoreFaults::default();
    TestCompany::default().faults(&faults).run(async |company| {
        faults.every(Call::Commit, 1, Trouble::Slow(Duration::from_secs(3)));
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        // Four commits after its acceptance.
        log.succeeded().took(Duration::from_secs(9), Duration::from_secs(13));
        company.audit().await.clean();
    });
}

#[test]
fn a_disk_that_fails_between_any_two_statements_loses_nothing() {
    let slow = Scripted::default().line(always().says("well").after(Duration::from_millis(100)));
    TestCompany::default().sqlite().model(slow).run(async |company| {
        let tasks = company.submit_many(90).await;
        let mut struck = 0;
        // Wherever in its transactions the writer is by then.
        for statement in [1, 2, 3, 5, 8, 13] {
            company.faults().statements().fail_at(statement);
            company.pass(Duration::from_millis(500)).await;
            struck += u32::from(company.faults().statements().struck());
        }
        assert_eq!(struck, 6, "each of them failed");
        for log in company.all_ended(&tasks).await {
            for step in ["analyze", "retrieve", "evaluate", "finalize"] {
                log.succeeded().step(step).attempts(1);
            }
        }
        company.audit().await.holds(&tasks).clean();
    });
}
