//! A whole company in one process, without HTTP: what is handed in comes to its end, in five commits, whatever the agents
//! do on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::store::{Commit, Committed, RetentionQuery, Store};
use callboard::task::{
    At, CommitId, Decision, Fleet, Input, Json, Limits, Payload, Pipeline, Submission, Task, TaskId, TaskKey, World,
    accept, decide, effects,
};
use callboard::testkit::{Scripted, TestCompany, always, when};
use std::time::Duration;

#[test]
fn a_pipeline_takes_five_commits() {
    TestCompany::default().run(async |company| {
        let task = company.submit("t-1").await;
        assert_eq!(company.answer(&task).await.value()["provider"], "mock");
        assert_eq!(company.store().stats().commits, 5);
        company.log(&task).await.succeeded().sound();
        company.audit().await.clean();
    });
}

#[test]
fn a_thousand_at_once_all_come_to_their_end() {
    TestCompany::default().setting("slots", "8").run(async |company| {
        let tasks = company.submit_many(1000).await;
        for log in company.all_ended(&tasks).await {
            log.succeeded();
        }
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn panics_errors_and_broken_answers_cost_only_their_attempts() {
    let script = "analyze:panic@3,retrieve:error@4,evaluate:malformed@5,finalize:broken@6";
    let company = TestCompany::default().model(Scripted::script(script));
    company.setting("max_crashes", "20").setting("max_attempts", "20").run(async |company| {
        let tasks = company.submit_many(60).await;
        let mut crashes = 0;
        for log in company.all_ended(&tasks).await {
            crashes += log.succeeded().step("analyze").failures(0).state().crashes;
        }
        // Every third call panicked, and nothing else of that step failed.
        assert_eq!(crashes, (60 + crashes) / 3);
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn an_agent_whose_steps_panic_on_every_third_call_loses_nothing_but_those_attempts() {
    let jumpy = Scripted::default().line(always().every(3).panics());
    let company = TestCompany::default().agent("retrieve", jumpy);
    company.setting("max_crashes", "20").run(async |company| {
        let tasks = company.submit_many(40).await;
        let mut crashes = 0;
        for log in company.all_ended(&tasks).await {
            log.succeeded();
            for untouched in ["analyze", "evaluate", "finalize"] {
                log.step(untouched).attempts(1);
            }
            crashes += log.step("retrieve").failures(0).losses(0).state().crashes;
        }
        assert_eq!(crashes, (40 + crashes) / 3);
        assert_eq!(company.restarts("root/agents/agent-retrieve"), 0);
        company.audit().await.holds(&tasks).clean();
    });
}

#[test]
fn a_cancelled_task_lets_its_model_call_go() {
    let slow = Scripted::default().line(always().says("at last").after(Duration::from_secs(240)));
    TestCompany::default().model(slow).run(async |company| {
        let task = company.submit("t-1").await;
        company.until_steps_run(1).await;
        let calls = || company.paths().into_iter().filter(|path| path.starts_with("root/gateway/")).count();
        assert_eq!(calls(), 1);
        company.cancel(&task, "enough").await;
        // The step's child and the model call are gone from the tree, minutes before the model would have answered.
        company.until_steps_run(0).await;
        assert_eq!(calls(), 0);
        company.log(&task).await.cancelled().took(Duration::ZERO, Duration::from_secs(1));
        company.audit().await.clean();
    });
}

/// A decision of another master, written past this one.
async fn written_elsewhere(store: &dyn Store, before: Option<&Task>, decision: Decision) {
    let Decision { events, task } = decision;
    let commit = Commit {
        id: CommitId::trusted(format!("elsewhere-{}", task.version)),
        key: task.key.clone(),
        expected: before.map_or(0, |before| before.version),
        expected_at: before.map_or(At(0), |before| before.updated_at),
        events: events.into(),
        effects: effects(before, &task).into(),
        task: task.into(),
        slots: Vec::new(),
        payloads: Vec::new(),
        submission: None,
    };
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
}

/// What another master would do that hears of a task's end first, and then removes it.
async fn ended_and_removed_elsewhere(store: &dyn Store, key: &TaskKey) {
    let before = store.load(key).await.unwrap().unwrap();
    let world = World { now: store.now(), seed: 1, fleet: &Fleet::new(15_000) };
    let decision = decide(&before, Input::Cancel("enough".into()), world).unwrap();
    written_elsewhere(store, Some(&before), decision).await;
    let all = RetentionQuery { tenant: None, ended_before: None, keep: Some(0) };
    assert_eq!(store.remove_finished(all, 9).await.unwrap().tasks, 1);
}

#[test]
fn a_new_task_of_a_used_id_is_asked_its_own_question() {
    let held_up = Scripted::default().line(when("analyze").nth(1).waits());
    TestCompany::default().model(held_up).setting("slots", "2").run(async |company| {
        let old = company.ask("t-1", "what was asked first?").await;
        company.until_steps_run(1).await;
        ended_and_removed_elsewhere(&**company.store(), &old).await;
        company.pass(Duration::from_secs(1)).await;
        let new = company.ask("t-1", "what is asked now?").await;
        company.ended(&new).await;
        let questions: Vec<_> = company.model().asked().into_iter().map(|asked| asked.question).collect();
        assert!(questions.len() > 4, "{questions:?}");
        let stale = questions[1..].iter().filter(|question| !question.contains("asked now")).count();
        assert_eq!(stale, 0, "{questions:?}");
    });
}

/// A task that a newer version of this program has queued.
async fn queued_by_a_newer_version(store: &dyn Store, id: &str) {
    let submission = Submission::new(TaskId::trusted(id), "why?");
    let plan = Pipeline::standard(Limits::default()).plan(&submission.key.id).unwrap();
    let request = Payload::Inline(Json::of(&submission.request).unwrap());
    let world = World { now: store.now(), seed: 1, fleet: &Fleet::new(15_000) };
    let mut decision = accept(&submission, request, plan, world);
    decision.task.schema = 99;
    written_elsewhere(store, None, decision).await;
}

#[test]
fn tasks_of_a_newer_version_keep_nobody_back() {
    TestCompany::default().setting("slots", "1").run(async |company| {
        for number in 0..10 {
            queued_by_a_newer_version(&**company.store(), &format!("newer-{number}")).await;
        }
        // Long enough for this one to see that they wait.
        company.pass(Duration::from_secs(2)).await;
        let task = company.submit("t-1").await;
        company.ended(&task).await;
        let log = company.log(&task).await;
        assert!(log.count("step_queued") > 0, "it was behind them");
        log.succeeded().took(Duration::ZERO, Duration::from_secs(10));
    });
}
