//! A server with everything behind it, and what tests say to it.

use crate::master::Master;
use callboard::actors::{Address, Restarts, Spec, Tree, run, spawn_task, supervise};
use callboard::http::{
    Api, ApiOptions, Readiness, Server, ServerOptions, Services, Site, SiteOptions, StopHandle, TeamView,
};
use callboard::messages::{CallContext, Receipt, StepOutcome, StepResult};
use callboard::store::{MemoryStore, Store};
use callboard::task::{
    AgentId, At, Capability, Failure, Fleet, Incarnation, Json, Member, StepId, TaskId, TaskKey, Tenant,
};
use callboard::testkit::TestClock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The moment at which everything here happens.
pub const NOW: At = At(1_767_225_600_000);

/// What differs between tests.
pub struct Setup {
    pub site: SiteOptions,
    pub options: ApiOptions,
    pub team: TeamView,
    /// Who can do what; a stage without anybody waits, or is skipped when it is optional.
    pub agents: &'static [(&'static str, &'static str)],
    pub max_open: u64,
    pub master_bound: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            site: SiteOptions::default(),
            options: ApiOptions { answer_within: Duration::from_secs(60), ..ApiOptions::default() },
            team: TeamView::default(),
            agents: &[("analyst", "analyze"), ("librarian", "retrieve"), ("judge", "evaluate")],
            max_open: 1000,
            master_bound: 64,
        }
    }
}

/// A running server, and how to reach what is behind it.
pub struct World {
    pub base: String,
    pub client: reqwest::Client,
    pub store: Arc<MemoryStore>,
    pub clock: Arc<TestClock>,
    pub master: Address<Master>,
    pub services: Services,
    pub readiness: Readiness,
    pub stop: StopHandle,
}

/// Runs a test against a server of its own.
pub fn with_world(setup: Setup, test: impl AsyncFnOnce(&World)) {
    run(async {
        let clock = Arc::new(TestClock::at(NOW));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let (tree, _root) = Tree::new(Restarts { max: 100, within: Duration::from_secs(60) });
        let fleet = Arc::new(fleet(setup.agents));
        let (kept, max_open) = (store.clone(), setup.max_open);
        let create = move || Master { store: kept.clone(), fleet: fleet.clone(), max_open, unanswered: Vec::new() };
        let spec = Spec::new("master", create).bounds(setup.master_bound, 64);
        let master = supervise(&tree.root(), spec.back_off(Duration::from_millis(1), Duration::from_millis(1)));
        let (submit, cancel) = (master.actor_ref(), master.actor_ref());
        let (_, team) = watch::channel(Arc::new(setup.team));
        let site = Arc::new(Site::new(tree.clone(), setup.site));
        let readiness = site.readiness().clone();
        let api = Api::new(site.clone(), store.clone(), submit, cancel, setup.options).with_team(team);
        let services = Services { api: Some(Arc::new(api)), ..Services::new(site) };
        let options = ServerOptions { addr: ([127, 0, 0, 1], 0).into(), ..ServerOptions::default() };
        let server = Server::bind(services.clone(), &options).unwrap();
        let base = format!("http://{}", server.addr());
        let stop = server.stop_handle();
        let serving = spawn_task(&tree.root(), "http", server.serve());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let world = World { base, client, store, clock, master, services, readiness, stop };
        test(&world).await;
        world.stop.stop(Duration::ZERO);
        serving.await;
        tree.root().stopped().await;
    })
    .unwrap();
}

fn fleet(agents: &[(&'static str, &'static str)]) -> Fleet {
    let mut fleet = Fleet::new(30_000);
    for (name, capability) in agents {
        let capabilities = vec![Capability::trusted(*capability)];
        let member = Member::new(Incarnation::trusted("i1"), capabilities, 4);
        fleet.join(AgentId::trusted(*name), member, NOW);
    }
    fleet
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that it is the envelope, with this status and code.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((self.status, &body["code"]), (status, &json!(code)), "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        assert!(body["details"].is_null() || body["details"].is_object(), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        let must_hint = [429, 503].contains(&status);
        assert_eq!(self.header("retry-after").is_some(), must_hint, "{body}");
    }
}

impl World {
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.client.delete(format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    pub fn post_of(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).body(body)
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.post_of(path, body).send().await.unwrap()).await
    }

    /// Submits a task of this id.
    pub async fn submit(&self, id: &str) -> Answer {
        self.post("/task", json!({"task_id": id, "objective": "why?"}).to_string()).await
    }

    /// Plays the agent that has the task's running step.
    pub async fn report(&self, id: &str, outcome: StepOutcome) -> Receipt {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::trusted(id) };
        let task = self.store.load(&key).await.unwrap().expect("the task exists");
        let running = task.plan.steps().iter().zip(&task.steps).find_map(|(spec, step)| {
            let (attempt, of) = step.current()?;
            Some((spec.id.clone(), of.agent.clone(), Some(attempt)))
        });
        let (step, agent, attempt): (StepId, AgentId, _) = running.expect("a step runs");
        let result = StepResult { key, step, agent, attempt, outcome, trace: Vec::new() };
        let master = self.master.actor_ref::<StepResult>();
        master.ask(result, CallContext::default(), Duration::from_secs(60)).await.unwrap().unwrap()
    }

    /// The running step succeeds with this text.
    pub async fn succeed(&self, id: &str, text: &str) {
        let usage = json!({"input_tokens": 10, "output_tokens": 2});
        let output = json!({"profile": "p", "provider": "mock", "text": text, "raw_response": null,
            "metadata": {"usage": usage}, "input": {"refs": []}, "context": {"refs": []}});
        self.report(id, StepOutcome::Succeeded(Json::of(&output).unwrap())).await;
    }

    /// The task runs to its good end.
    pub async fn finish(&self, id: &str) {
        for text in ["analyzed", "retrieved", "evaluated"] {
            self.succeed(id, text).await;
        }
    }

    /// A number of the metrics.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Comes back once so many clients wait; a number that is never reached fails the test instead of hanging it.
    pub async fn until_watchers_are(&self, count: f64) {
        let reached = async {
            while self.metric("callboard_watchers").await != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the number of watchers is reached");
    }
}

pub fn failure() -> Failure {
    Failure::new(callboard::task::ErrorCode::DispatchFailed, "the tool said no")
}

/// Pretty JSON for snapshots.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}
