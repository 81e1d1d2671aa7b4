//! A whole company in one process, without HTTP: what is handed in comes to its end, in five commits, whatever the agents
//! do on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::actors::run;
use callboard::agents::{Agent, AgentError, Think};
use callboard::messages::{CallContext, Cancel, Submit, Submitted, Work};
use callboard::node::{Callboard, Serve, TeamMember, default_team};
use callboard::settings::{Settings, load};
use callboard::store::Store;
use callboard::task::{Json, Options, Payload, Request, Status, StepState, Submission, Task, TaskId, TaskKey, Tenant};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes on the slowest machine: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(choices: &[(&'static str, &str)]) -> Settings {
    let mut overrides = vec![("store", "memory:".to_owned()), ("provider", "mock".to_owned())];
    overrides.extend(choices.iter().map(|(name, value)| (*name, (*value).to_owned())));
    load(None, &HashMap::new(), &overrides).unwrap()
}

/// Runs a company of the default team, hands it to the test, and stops it.
fn company<F: Future<Output = ()>>(choices: &[(&'static str, &str)], test: impl FnOnce(Arc<Callboard>) -> F) {
    company_with(choices, |settings| default_team(settings).unwrap(), test);
}

fn company_with<F: Future<Output = ()>>(
    choices: &[(&'static str, &str)],
    team: impl FnOnce(&Settings) -> Vec<TeamMember>,
    test: impl FnOnce(Arc<Callboard>) -> F,
) {
    let settings = settings(choices);
    run(async {
        let team = team(&settings);
        let company = Arc::new(Callboard::start(&settings, team, Serve::Nothing).await.unwrap());
        tokio::time::timeout(PATIENCE, test(company.clone())).await.expect("the test hangs");
        let company = Arc::into_inner(company).expect("the test keeps the company");
        company.stop(Duration::from_secs(5)).await.unwrap();
    })
    .unwrap();
}

fn submission(id: &str) -> Submission {
    Submission {
        key: TaskKey { tenant: Tenant::default(), id: TaskId::parse(id).unwrap() },
        id_given: true,
        idempotency_key: None,
        request: Request { objective: "why?".into(), context: Json::from_text("{}".into()).unwrap() },
        options: Options::default(),
    }
}

async fn submit(company: &Callboard, id: &str) -> Submitted {
    let asked = company.submit().ask(Submit(submission(id)), CallContext::default(), PATIENCE);
    asked.await.unwrap().unwrap()
}

async fn until(store: &Arc<dyn Store>, key: &TaskKey, done: impl Fn(&Task) -> bool) -> Arc<Task> {
    let mut wake = store.wake(key);
    loop {
        let task = store.load(key).await.unwrap().unwrap();
        if done(&task) {
            return task;
        }
        wake.changed().await.unwrap();
    }
}

#[test]
fn a_pipeline_takes_five_commits() {
    company(&[], |company| async move {
        let task = submit(&company, "t-1").await.task;
        let task = until(company.store(), &task.key, |task| task.end.is_some()).await;
        assert_eq!(task.status(), Status::Succeeded);
        assert_eq!(company.store().stats().commits, 5);
        let events = company.store().events(&task.key, 0, 100).await.unwrap().unwrap();
        assert_eq!(callboard::task::replay(&task.key, &events).unwrap(), *task);
        let StepState::Succeeded { output: Payload::Inline(output), .. } = &task.steps[3].state else { panic!() };
        let output: serde_json::Value = output.parse().unwrap();
        assert_eq!(output["provider"], "mock");
    });
}

#[test]
fn a_thousand_at_once_all_come_to_their_end() {
    company(&[("slots", "8")], |company| async move {
        let ids: Vec<_> = (0..1000).map(|n| format!("t-{n}")).collect();
        let tasks = futures_util::future::join_all(ids.iter().map(|id| submit(&company, id))).await;
        for task in tasks {
            let task = until(company.store(), &task.task.key, |task| task.end.is_some()).await;
            assert_eq!(task.status(), Status::Succeeded, "{:?}", task.end);
        }
        assert_eq!(company.store().stats().open_tasks, 0);
    });
}

#[test]
fn panics_errors_and_broken_answers_cost_only_their_attempts() {
    let script = "analyze:panic@3,retrieve:error@4,evaluate:malformed@5,finalize:broken@6";
    let choices = [("mock_script", script), ("max_crashes", "20"), ("max_attempts", "20"), ("retry_pause", "1ms")];
    company(&choices, |company| async move {
        let ids: Vec<_> = (0..60).map(|n| format!("t-{n}")).collect();
        let tasks = futures_util::future::join_all(ids.iter().map(|id| submit(&company, id))).await;
        let mut crashes = 0;
        for task in tasks {
            let task = until(company.store(), &task.task.key, |task| task.end.is_some()).await;
            assert_eq!(task.status(), Status::Succeeded, "{:?}", task.end);
            crashes += task.steps[0].crashes;
            assert_eq!(task.steps[0].failures, 0);
        }
        // Every third call panicked, and nothing else of that step failed.
        assert_eq!(crashes, (60 + crashes) / 3);
    });
}

/// Panics in every third step that it is given.
struct Jumpy(std::sync::atomic::AtomicU32);

impl Agent for Jumpy {
    fn perform<'a>(&'a self, _: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async {
            let call = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            assert!(!call.is_multiple_of(3), "every third time");
            Ok(Json::from_text(r#"{"text":"fine"}"#.into()).unwrap())
        })
    }
}

#[test]
fn an_agent_whose_steps_panic_on_every_third_call_loses_nothing_but_those_attempts() {
    let choices = [("max_crashes", "20"), ("retry_pause", "1ms"), ("retry_pause_cap", "2ms")];
    let jumpy: Arc<dyn Agent> = Arc::new(Jumpy(0.into()));
    let company_of_one = |settings: &Settings| {
        let mut team = default_team(settings).unwrap();
        team[1].agent = jumpy.clone();
        team
    };
    company_with(&choices, company_of_one, |company| async move {
        let ids: Vec<_> = (0..40).map(|n| format!("t-{n}")).collect();
        let tasks = futures_util::future::join_all(ids.iter().map(|id| submit(&company, id))).await;
        let mut crashes = 0;
        for task in tasks {
            let task = until(company.store(), &task.task.key, |task| task.end.is_some()).await;
            assert_eq!(task.status(), Status::Succeeded, "{:?}", task.end);
            crashes += task.steps[1].crashes;
            assert!(task.steps.iter().all(|step| step.failures == 0 && step.losses == 0), "{:?}", task.steps);
            assert!([0, 2, 3].iter().all(|at| task.steps[*at].crashes == 0), "{:?}", task.steps);
        }
        assert_eq!(crashes, (40 + crashes) / 3);
        assert!(
            serde_json::to_value(company.tree().snapshot()).unwrap()["children"].to_string().contains("\"restarts\":0")
        );
    });
}

#[test]
fn a_cancelled_task_lets_its_model_call_go() {
    company(&[("mock_latency", "4m")], |company| async move {
        let task = submit(&company, "t-1").await.task;
        let running = |company: &Callboard| format!("{:?}", serde_json::to_value(company.tree().snapshot()).unwrap());
        while !running(&company).contains("t-1-P1") {
            tokio::task::yield_now().await;
        }
        let cancel = Cancel { key: task.key.clone(), reason: "enough".into() };
        let task = company.cancel().ask(cancel, CallContext::default(), PATIENCE).await.unwrap().unwrap();
        assert_eq!(task.status(), Status::Cancelled);
        // The step's child and the model call are gone from the tree, minutes before the model would have answered.
        while running(&company).contains("t-1-P1") || running(&company).contains("\"task\"") {
            tokio::task::yield_now().await;
        }
    });
}
