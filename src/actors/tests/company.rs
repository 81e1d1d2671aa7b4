//! Master, registry and agent through crashes of their own: handlers that panic are rare by design, so each is given a
//! message here that makes it.

use super::super::*;
use crate::agents::{Agent, AgentError, Think};
use crate::llm::Provider;
use crate::messages::{CallContext, CallError, Declaration, Generate, Generated, Message, ModelError, Submit, Work};
use crate::store::{MemoryStore, Store, SystemClock};
use crate::task::{
    AgentId, AttemptEnd, Capability, Incarnation, Json, Limits, Loss, Options, Pipeline, Request, Stage, Status,
    Submission, Task, TaskId, TaskKey, Tenant,
};
use crate::telemetry::Counters;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Makes whoever handles it panic.
struct Poison;

impl Message for Poison {
    const NAME: &'static str = "poison";
    type Reply = ();
}

macro_rules! poisonable {
    ($($actor:ty),*) => {$(
        impl Handle<Poison> for $actor {
            fn handle(&mut self, _: Poison, _: CallContext, _: Reply<Poison>, _: &mut Turn<'_, Self>) {
                panic!("poisoned");
            }
        }
    )*};
}

poisonable!(Master, Registry, AgentActor);

/// Works only while it is let.
struct Patient(Arc<Semaphore>);

impl Agent for Patient {
    fn perform<'a>(&'a self, _: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async {
            let permit = self.0.acquire().await.expect("the test holds it");
            permit.forget();
            Ok(Json::from_text(r#"{"text":"done"}"#.into()).expect("it is JSON"))
        })
    }
}

struct Mute;

impl Provider for Mute {
    fn name(&self) -> &'static str {
        "mute"
    }

    fn generate<'a>(&'a self, _: &'a Generate) -> BoxFuture<'a, Result<Generated, ModelError>> {
        Box::pin(std::future::pending())
    }
}

struct Company {
    store: Arc<dyn Store>,
    master: Address<Master>,
    registry: Address<Registry>,
    agent: Address<AgentActor>,
    /// Each permit lets one step end.
    work: Arc<Semaphore>,
    roster: watch::Receiver<Arc<Roster>>,
    tree: Tree,
}

const TTL_MS: u64 = 3_000;

fn quick<B: Behaviour>(name: &str, create: impl Fn() -> B + Send + 'static) -> Spec<B> {
    Spec::new(name, create).back_off(Duration::from_millis(1), Duration::from_millis(2))
}

impl Company {
    async fn start() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock::default())));
        let (tree, _root) = Tree::new(Restarts { max: 3, within: Duration::from_secs(60) });
        let (told, mut roster) = watch::channel(Arc::new(Roster::new()));
        let directory = Directory::default();
        let (advance, dispatcher_cell) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let registry_parts = RegistryParts {
            store: store.clone(),
            roster: Arc::new(told),
            master: advance.clone(),
            gateway: Arc::new(OnceLock::new()),
            heartbeat_ttl_ms: TTL_MS,
            stall_timeout_ms: 120_000,
        };
        let registry = supervise(&tree.root(), quick("registry", move || Registry::create(registry_parts.clone())));
        let stage = Stage { capability: Capability::trusted("work"), optional: false, limits: Limits::default() };
        let master_parts = MasterParts {
            store: store.clone(),
            pipeline: Arc::new(Pipeline(vec![stage])),
            directory: directory.clone(),
            roster: roster.clone(),
            dispatcher: dispatcher_cell.clone(),
            draining: Arc::new(AtomicBool::new(false)),
            counters: Arc::new(Counters::default()),
            options: MasterOptions {
                heartbeat_ttl_ms: TTL_MS,
                max_open_tasks: 100,
                cached_tasks: NonZeroUsize::new(100).unwrap(),
            },
        };
        let master = supervise(&tree.root(), quick("master", move || Master::create(master_parts.clone())));
        let _ = advance.set(master.actor_ref());
        let parts = DispatcherParts { store: store.clone(), master: master.actor_ref(), estimate: master.actor_ref() };
        let dispatcher = supervise(&tree.root(), quick("dispatcher", move || Dispatcher::create(parts.clone())));
        let _ = dispatcher_cell.set(dispatcher.actor_ref());
        let provider: Arc<dyn Provider> = Arc::new(Mute);
        let gateway_parts = GatewayParts {
            providers: Arc::new(BTreeMap::from([(Arc::from("mute"), provider)])),
            default_provider: "mute".into(),
        };
        let gateway = supervise(&tree.root(), quick("gateway", move || Gateway::create(gateway_parts.clone())));
        let work = Arc::new(Semaphore::new(0));
        let agent_parts = AgentParts {
            declaration: Declaration {
                agent: AgentId::trusted("agent-1"),
                incarnation: Incarnation::trusted("unborn"),
                capabilities: vec![Capability::trusted("work")],
                slots: 4,
                profile: "worker".into(),
                description: None,
                url: None,
            },
            agent: Arc::new(Patient(work.clone())),
            provider: None,
            master: master.actor_ref(),
            gateway: gateway.actor_ref(),
            register: registry.actor_ref(),
            heartbeat: registry.actor_ref(),
            heartbeat_ttl_ms: TTL_MS,
        };
        let agent = supervise(&tree.root(), quick("agent-1", move || AgentActor::create(agent_parts.clone())));
        let lines = AgentLines { work: agent.actor_ref(), drop_attempt: agent.actor_ref(), drain: agent.actor_ref() };
        directory.enter(AgentId::trusted("agent-1"), lines);
        roster.wait_for(|roster| roster.len() == 1).await.unwrap();
        Self { store, master, registry, agent, work, roster, tree }
    }

    async fn submit(&self, id: &str) -> TaskKey {
        let key = TaskKey { tenant: Tenant::default(), id: TaskId::parse(id).unwrap() };
        let submission = Submission {
            key: key.clone(),
            id_given: true,
            idempotency_key: None,
            request: Request { objective: "why?".into(), context: Json::from_text("{}".into()).unwrap() },
            options: Options::default(),
        };
        let asked = self.master.actor_ref::<Submit>().ask(Submit(submission), CallContext::default(), PATIENCE);
        asked.await.unwrap().unwrap();
        key
    }

    async fn until(&self, key: &TaskKey, done: impl Fn(&Task) -> bool) -> Arc<Task> {
        let mut wake = self.store.wake(key);
        loop {
            let task = self.store.load(key).await.unwrap().unwrap();
            if done(&task) {
                return task;
            }
            tokio::time::timeout(PATIENCE, wake.changed()).await.expect("the task hangs").unwrap();
        }
    }

    /// Waits until the agent holds so many steps.
    async fn holds(&self, steps: usize) {
        let held = |tree: &Tree| {
            let text = serde_json::to_string(&tree.snapshot()).unwrap();
            text.matches("\"task\"").count()
        };
        while held(&self.tree) != steps {
            tokio::task::yield_now().await;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn poison<B: Behaviour + Handle<Poison>>(victim: &Address<B>) {
    let answer = victim.actor_ref::<Poison>().ask(Poison, CallContext::default(), PATIENCE).await;
    assert_eq!(answer, Err(CallError::Crashed));
}

#[test]
fn an_agent_that_starts_over_hands_its_steps_back_at_once() {
    run(async {
        let company = Company::start().await;
        let first_life = company.roster.borrow().values().next().unwrap().incarnation.clone();
        let keys = [company.submit("t-1").await, company.submit("t-2").await];
        company.holds(2).await;
        poison(&company.agent).await;
        for key in &keys {
            // Its second attempt is on: the loss was told, and not waited for.
            let task = company.until(key, |task| task.steps[0].attempts.len() == 2).await;
            let (_, end) = task.steps[0].attempts[0].ended.clone().unwrap();
            assert_eq!(end, AttemptEnd::Lost(Loss::AgentRestarted));
            assert_eq!((task.steps[0].failures, task.steps[0].crashes, task.steps[0].losses), (0, 0, 1));
        }
        company.work.add_permits(2);
        for key in &keys {
            let task = company.until(key, |task| task.end.is_some()).await;
            assert_eq!(task.status(), Status::Succeeded, "{task:?}");
        }
        let second_life = company.roster.borrow().values().next().unwrap().incarnation.clone();
        assert_ne!(first_life, second_life);
    })
    .unwrap();
}

#[test]
fn a_master_that_starts_over_goes_on_with_every_task() {
    run(async {
        let company = Company::start().await;
        let key = company.submit("t-1").await;
        company.holds(1).await;
        poison(&company.master).await;
        company.work.add_permits(1);
        let task = company.until(&key, |task| task.end.is_some()).await;
        assert_eq!(task.status(), Status::Succeeded);
        assert_eq!(task.steps[0].attempts.len(), 1, "the living step was left alone");
        // And it takes new ones.
        let key = company.submit("t-2").await;
        company.work.add_permits(1);
        company.until(&key, |task| task.end.is_some()).await;
    })
    .unwrap();
}

#[test]
fn a_master_that_starts_over_knows_which_slots_are_taken() {
    run(async {
        let company = Company::start().await;
        for id in ["t-1", "t-2", "t-3", "t-4"] {
            company.submit(id).await;
        }
        company.holds(4).await;
        poison(&company.master).await;
        // No slot is free, so it waits in the queue and is not sent to be refused.
        let key = company.submit("t-5").await;
        company.work.add_permits(5);
        let task = company.until(&key, |task| task.end.is_some()).await;
        assert_eq!((task.status(), task.steps[0].losses), (Status::Succeeded, 0));
    })
    .unwrap();
}

#[test]
fn a_registry_that_starts_over_learns_of_everybody_again() {
    run(async {
        let mut company = Company::start().await;
        poison(&company.registry).await;
        // The roster holds meanwhile, so tasks go on; with its next heartbeat the agent is told to join again.
        let key = company.submit("t-1").await;
        company.work.add_permits(1);
        assert_eq!(company.until(&key, |task| task.end.is_some()).await.status(), Status::Succeeded);
        let joined = company.store.agents().await.unwrap();
        assert_eq!(joined.len(), 1);
        assert_eq!(company.roster.borrow_and_update().len(), 1);
    })
    .unwrap();
}
