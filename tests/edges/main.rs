//! Near or far, a message means the same: each edge is tried against an actor of this process and against the same actor
//! behind HTTP, and the answers must be equal: success, domain errors, unknown, dead, slow, crashed, overloaded, cancelled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod gateways;
mod joining;

use callboard::actors::{
    ActorRef, Address, Behaviour, Handle, Node, Proxy, Reply, Restarts, Spec, Tree, Turn, run, spawn_task, supervise,
};
use callboard::http::{
    ColleagueUrl, GatewayPort, GenerateEdge, HostedAgent, HttpClient, Keys, Networks, RegisterEdge, RegisterPort,
    ResultEdge, ResultPort, Server, ServerOptions, Services, Site, SiteOptions, WorkEdge, WorkPort,
};
use callboard::messages::{
    CallAge, CallContext, CallError, CallStatus, Completion, Declaration, Deregister, DropAttempt, DropCall, Generate,
    Generated, MasterError, Message, ModelError, Passage, Perform, Receipt, Register, RegistryError, StepOutcome,
    StepResult, Usage, Work, WorkReply,
};
use callboard::store::{MemoryStore, SystemClock};
use callboard::task::{
    AgentId, AttemptNo, CallId, Capability, ErrorCode, Failure, Incarnation, Json, Loss, StepId, TaskId, TaskKey,
    Tenant,
};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What the addressee does with the next message.
enum Does<M: Message> {
    Answers(M::Reply),
    Hangs,
    Panics,
}

/// What it does, message by message.
type Script<M> = Arc<Mutex<VecDeque<Does<M>>>>;
/// What it met.
type Meetings<M> = mpsc::UnboundedReceiver<Met<M>>;

/// An actor that does what its script says, and tells what it met.
struct Scripted<M: Message> {
    script: Script<M>,
    met: mpsc::UnboundedSender<Met<M>>,
}

#[derive(Debug, PartialEq)]
enum Met<M> {
    Took(M),
    WasGivenUp,
}

impl<M: Message> Behaviour for Scripted<M> {
    const KIND: &'static str = "scripted";
}

impl<M: Message> Handle<M> for Scripted<M> {
    fn handle(&mut self, message: M, _: CallContext, mut reply: Reply<M>, turn: &mut Turn<'_, Self>) {
        let _ = self.met.send(Met::Took(message));
        match self.script.lock().pop_front() {
            Some(Does::Answers(answer)) => reply.send(answer),
            Some(Does::Panics) => panic!("as the script says"),
            Some(Does::Hangs) | None => {
                let met = self.met.clone();
                let given_up = async move {
                    reply.closed().await;
                    let _ = met.send(Met::WasGivenUp);
                };
                turn.spawn(given_up, |_, (), _| {});
            }
        }
    }
}

/// An addressee with its script, near and far.
struct Both<M: Message> {
    node: Node,
    near: ActorRef<M>,
    far: ActorRef<M>,
    script: Script<M>,
    met: Meetings<M>,
}

const AGENT: &str = "ann-the-analyst";
const PATIENCE: Duration = Duration::from_secs(60);

fn tree() -> Tree {
    Tree::new(Restarts { max: 100, within: PATIENCE }).0
}

fn scripted<M: Message>(tree: &Tree, bound: u32) -> (Address<Scripted<M>>, Script<M>, Meetings<M>) {
    let (script, (met, receiver)) = (Arc::default(), mpsc::unbounded_channel());
    let parts: (Script<M>, _) = (Arc::clone(&script), met);
    let create = move || Scripted { script: parts.0.clone(), met: parts.1.clone() };
    let spec = Spec::new("scripted", create).bounds(bound, bound);
    (supervise(&tree.root(), spec.back_off(Duration::from_millis(1), Duration::from_millis(1))), script, receiver)
}

fn serve(tree: &Tree, services: impl FnOnce(Services) -> Services) -> String {
    let site = Arc::new(Site::new(tree.clone(), SiteOptions::default()));
    let options = ServerOptions { addr: ([127, 0, 0, 1], 0).into(), ..ServerOptions::default() };
    let server = Server::bind(services(Services::new(site)), &options).unwrap();
    let url = format!("http://{}", server.addr());
    drop(spawn_task(&tree.root(), "http", server.serve()));
    url
}

fn proxy<M: Message, E: callboard::messages::Edge<M>>(tree: &Tree, edge: E) -> ActorRef<M> {
    let edge = Arc::new(edge);
    supervise(&tree.root(), Spec::new("proxy", move || Proxy::create(edge.clone()))).actor_ref()
}

fn client() -> HttpClient {
    HttpClient::new(None, None).unwrap()
}

fn keys() -> Keys {
    Keys::new(Arc::new(MemoryStore::new(Arc::new(SystemClock::default()))))
}

fn unused<M: Message>(tree: &Tree) -> ActorRef<M> {
    scripted::<M>(tree, 1).0.actor_ref()
}

// === Each edge, both ways ===

fn work_both(tree: &Tree, bound: u32) -> Both<Work> {
    let (address, script, met) = scripted::<Work>(tree, bound);
    let hosted = HostedAgent {
        agent: AgentId::trusted(AGENT),
        capabilities: vec![Capability::trusted("analyze")],
        work: address.actor_ref(),
        perform: unused::<Perform>(tree),
        drop_attempt: unused::<DropAttempt>(tree),
    };
    let (_, agents) = watch::channel(Arc::from([hosted]));
    let port = Arc::new(WorkPort { agents, step_timeout: PATIENCE });
    let url = serve(tree, |services| Services { worker: Some(port), ..services });
    let edge = WorkEdge::new(client(), &url, (AgentId::trusted(AGENT), true), &Networks::default(), keys()).unwrap();
    Both { node: address.node().clone(), near: address.actor_ref(), far: proxy(tree, edge), script, met }
}

fn generate_both(tree: &Tree, bound: u32) -> Both<Generate> {
    let (address, script, met) = scripted::<Generate>(tree, bound);
    let port = GatewayPort {
        generate: address.actor_ref(),
        status: unused::<CallStatus>(tree),
        drop_call: unused::<DropCall>(tree),
    };
    let url = serve(tree, |services| Services { gateway: Some(Arc::new(port)), ..services });
    let edge = GenerateEdge::new(client(), &url, PATIENCE).unwrap();
    Both { node: address.node().clone(), near: address.actor_ref(), far: proxy(tree, edge), script, met }
}

fn work() -> Work {
    Work {
        key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
        step: StepId::trusted("t-1-P1"),
        attempt: AttemptNo(3),
        agent: AgentId::trusted(AGENT),
        incarnation: Some(Incarnation::trusted("i-1")),
        deadline_ms: 7000,
        capability: Capability::trusted("analyze"),
        objective: "why? 為什麼?".into(),
        context: Json::from_text(r#"{"k":[1.0,"v"]}"#.into()).unwrap(),
        earlier: Vec::new(),
    }
}

fn question() -> Generate {
    Generate {
        call: CallId::trusted("life:7"),
        completion: Completion {
            passages: vec![Passage { heading: Some("One > Two".into()), ..Passage::new("a.md", 7, "words") }],
            ..Completion::prompted(Capability::trusted("evaluate"), "be brief", "why?")
        },
        provider: Some("mock".into()),
    }
}

impl<M: Message> Both<M> {
    /// Asks both ways; each answer as text, since not all can be compared.
    async fn asked(&self, message: impl Fn() -> M, does: impl Fn() -> Does<M>, within: Duration) -> [String; 2]
    where
        M::Reply: std::fmt::Debug,
    {
        let mut answers = [String::new(), String::new()];
        for (way, answer) in [&self.near, &self.far].into_iter().zip(&mut answers) {
            self.script.lock().push_back(does());
            *answer = format!("{:?}", way.ask(message(), CallContext::default(), within).await);
            self.script.lock().clear();
        }
        answers
    }
}

#[track_caller]
fn same(answers: [String; 2], expected: impl std::fmt::Debug) {
    assert_eq!(answers, [format!("{expected:?}"), format!("{expected:?}")]);
}

#[test]
fn work_means_the_same_near_and_far() {
    run(async {
        let tree = tree();
        let mut both = work_both(&tree, 64);
        for reply in [WorkReply::Accepted, WorkReply::Overloaded, WorkReply::Draining, WorkReply::Restarted] {
            let answers = both.asked(work, || Does::Answers(reply), PATIENCE).await;
            same(answers, Ok::<_, CallError>(reply));
        }
        same(both.asked(work, || Does::Panics, PATIENCE).await, Err::<WorkReply, _>(CallError::Crashed));
        let slow = both.asked(work, || Does::Hangs, Duration::from_millis(200)).await;
        same(slow, Err::<WorkReply, _>(CallError::Timeout));
        // What arrives is what was sent.
        while let Ok(met) = both.met.try_recv() {
            if let Met::Took(took) = met {
                assert_eq!(format!("{took:?}"), format!("{:?}", work()));
            }
        }
        let unknown = WorkEdge::new(
            client(),
            &serve(&tree, |s| Services { worker: Some(nobody()), ..s }),
            (AgentId::trusted(AGENT), true),
            &Networks::default(),
            keys(),
        );
        let unknown = proxy::<Work, _>(&tree, unknown.unwrap()).ask(work(), CallContext::default(), PATIENCE).await;
        assert_eq!(unknown, Err(CallError::Unavailable));
        both.node.stopped().await;
        same(both.asked(work, || Does::Hangs, PATIENCE).await, Err::<WorkReply, _>(CallError::Unavailable));
        tree.root().stopped().await;
    })
    .unwrap();
}

fn nobody() -> Arc<WorkPort> {
    let (_, agents) = watch::channel(Arc::from([]));
    Arc::new(WorkPort { agents, step_timeout: PATIENCE })
}

#[test]
fn a_full_addressee_and_a_dead_one_are_told_apart_on_both_ways() {
    run(async {
        let tree = tree();
        let mut both = work_both(&tree, 1);
        both.near.tell(work(), CallContext::default()).unwrap();
        both.met.recv().await.unwrap();
        same(both.asked(work, || Does::Hangs, PATIENCE).await, Err::<WorkReply, _>(CallError::Overloaded));
        // Nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let dead =
            WorkEdge::new(client(), &url, (AgentId::trusted(AGENT), true), &Networks::default(), keys()).unwrap();
        let dead = proxy::<Work, _>(&tree, dead).ask(work(), CallContext::default(), PATIENCE).await;
        assert_eq!(dead, Err(CallError::Unavailable));
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn a_place_that_no_worker_can_have_is_never_gone_to() {
    run(async {
        let tree = tree();
        let both = work_both(&tree, 8);
        let outside: Networks = "10.0.0.0/8".parse().unwrap();
        let url = serve(&tree, |services| services);
        let edge = WorkEdge::new(client(), &url, (AgentId::trusted(AGENT), true), &outside, keys()).unwrap();
        let refused = proxy::<Work, _>(&tree, edge).ask(work(), CallContext::default(), PATIENCE).await;
        assert_eq!(refused, Err(CallError::Unavailable));
        // A name that resolves there is not gone to either.
        let named = url.replace("127.0.0.1", "localhost");
        let filtered = HttpClient::new(None, Some(outside.clone())).unwrap();
        let edge = WorkEdge::new(filtered, &named, (AgentId::trusted(AGENT), true), &outside, keys()).unwrap();
        let refused = proxy::<Work, _>(&tree, edge).ask(work(), CallContext::default(), PATIENCE).await;
        assert_eq!(refused, Err(CallError::Unavailable));
        drop(both);
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn work_that_is_too_large_is_rejected_and_not_cut() {
    run(async {
        let tree = tree();
        let mut both = work_both(&tree, 8);
        let large = Json::of(&serde_json::json!({"x": "x".repeat(40 << 20)})).unwrap();
        let answer = both.far.ask(Work { context: large, ..work() }, CallContext::default(), PATIENCE).await;
        assert_eq!(answer, Err(CallError::Rejected));
        assert!(both.met.try_recv().is_err());
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn a_model_call_means_the_same_near_and_far() {
    run(async {
        let tree = tree();
        let mut both = generate_both(&tree, 64);
        let generated = Generated {
            provider: "mock".into(),
            model: "mock-200".into(),
            text: "because".into(),
            citations: vec![Passage::new("a.md", 7, "words")],
            usage: Some(Usage { input_tokens: 7, output_tokens: 9 }),
        };
        let answers = [
            Ok(generated),
            Err(ModelError::Retryable("busy".into())),
            Err(ModelError::Fatal("no such model".into())),
            Err(ModelError::Crashed("boom".into())),
            Err(ModelError::Lost(Loss::Refused)),
        ];
        for answer in answers {
            let asked = both.asked(question, || Does::Answers(answer.clone()), PATIENCE).await;
            same(asked, Ok::<_, CallError>(answer));
        }
        let slow = both.asked(question, || Does::Hangs, Duration::from_millis(200)).await;
        same(slow, Err::<Result<Generated, ModelError>, _>(CallError::Timeout));
        while let Ok(met) = both.met.try_recv() {
            if let Met::Took(took) = met {
                assert_eq!(format!("{took:?}"), format!("{:?}", question()));
            }
        }
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn a_caller_that_gives_up_is_noticed_near_and_far() {
    run(async {
        let tree = tree();
        let mut both = generate_both(&tree, 64);
        for way in [both.near.clone(), both.far.clone()] {
            let asking = way.ask(question(), CallContext::default(), PATIENCE);
            let asking = spawn_task(&tree.root(), "caller", asking);
            assert!(matches!(both.met.recv().await, Some(Met::Took(_))));
            asking.abort_handle().abort();
            assert!(matches!(both.met.recv().await, Some(Met::WasGivenUp)));
        }
        tree.root().stopped().await;
    })
    .unwrap();
}

#[test]
fn a_result_means_the_same_near_and_far() {
    run(async {
        let tree = tree();
        let (address, script, mut met) = scripted::<StepResult>(&tree, 64);
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock::default())));
        let task = callboard::testkit::work("analyze", "why?").key;
        let taken = take_task(&store, &task).await;
        let port = ResultPort { master: address.actor_ref(), keys: Keys::new(store.clone()), store };
        let url = serve(&tree, |services| Services { result: Some(Arc::new(port)), ..services });
        let _: ColleagueUrl = url.parse().unwrap();
        let far = proxy::<StepResult, _>(&tree, ResultEdge::of_master(client(), &url).unwrap());
        let outcome = StepOutcome::Succeeded(Json::from_text(r#"{"text":"x"}"#.into()).unwrap());
        let result = move || StepResult {
            key: task.clone(),
            step: taken.clone(),
            agent: AgentId::trusted(AGENT),
            attempt: Some(AttemptNo(1)),
            outcome: outcome.clone(),
            trace: vec![Json::from_text(r#"{"thought":1}"#.into()).unwrap()],
        };
        let sent = format!("{:?}", result());
        let both = Both {
            node: address.node().clone(),
            near: address.actor_ref(),
            far,
            script,
            met: mpsc::unbounded_channel().1,
        };
        type Answer = Result<Receipt, MasterError>;
        let answers: [fn() -> Answer; 6] = [
            || Ok(Receipt::Counted),
            || Err(MasterError::Conflict("never assigned".into())),
            || Err(MasterError::NotFound("no such step".into())),
            || Err(MasterError::Overloaded { message: "full".into(), retry_after_s: 7 }),
            || Err(MasterError::Draining),
            || Err(MasterError::Internal("line 7".into())),
        ];
        for answer in answers {
            let [near, far] = both.asked(&result, || Does::Answers(answer()), PATIENCE).await;
            // What only the log may say does not cross.
            let known = format!("{:?}", Ok::<_, CallError>(answer())).replace("line 7", "");
            assert_eq!(near.replace("line 7", ""), known);
            assert!(far == near || far.starts_with("Ok(Err(Internal("), "{far} is not {near}");
        }
        while let Ok(met) = met.try_recv() {
            if let Met::Took(took) = met {
                assert_eq!(format!("{took:?}"), sent);
            }
        }
        tree.root().stopped().await;
    })
    .unwrap();
}

/// A task in the store, so that its results are known; gives its first step.
async fn take_task(store: &MemoryStore, key: &TaskKey) -> StepId {
    use callboard::store::{Commit, Store};
    use callboard::task::{Fleet, Limits, Payload, Pipeline, Submission, World, accept, effects};
    let submission = Submission { key: key.clone(), ..Submission::new(key.id.clone(), "why?") };
    let plan = Pipeline::standard(Limits::default()).plan(&key.id).unwrap();
    let request = Payload::Inline(Json::of(&submission.request).unwrap());
    let fleet = Fleet::new(1000);
    let decision = accept(&submission, request, plan, World { now: store.now(), seed: 1, fleet: &fleet });
    let commit = Commit {
        id: callboard::task::CommitId::trusted("c-1"),
        key: key.clone(),
        expected: 0,
        expected_at: callboard::task::At(0),
        events: decision.events.into(),
        effects: effects(None, &decision.task).into(),
        task: Arc::new(decision.task),
        slots: Vec::new(),
        payloads: Vec::new(),
        submission: None,
    };
    store.commit(commit).await.unwrap();
    StepId::trusted(format!("{}-P1", key.id))
}

#[test]
fn an_output_that_is_too_large_fails_its_step_and_a_call_is_asked_after() {
    run(async {
        let tree = tree();
        let (address, script, mut met) = scripted::<StepResult>(&tree, 64);
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock::default())));
        let task = callboard::testkit::work("analyze", "why?").key;
        let step = take_task(&store, &task).await;
        let port = ResultPort { master: address.actor_ref(), keys: Keys::new(store.clone()), store };
        let url = serve(&tree, |services| Services { result: Some(Arc::new(port)), ..services });
        let far = proxy::<StepResult, _>(&tree, ResultEdge::of_master(client(), &url).unwrap());
        let outcome = StepOutcome::Succeeded(Json::of(&serde_json::json!({"text": "x".repeat(3 << 20)})).unwrap());
        let (agent, attempt) = (AgentId::trusted(AGENT), Some(AttemptNo(1)));
        let large = StepResult { key: task, step, agent, attempt, outcome, trace: Vec::new() };
        script.lock().push_back(Does::Answers(Ok(Receipt::Counted)));
        far.ask(large, CallContext::default(), PATIENCE).await.unwrap().unwrap();
        let Some(Met::Took(took)) = met.recv().await else { panic!() };
        let StepOutcome::FatalFailure(Failure { code, .. }) = took.outcome else { panic!("{:?}", took.outcome) };
        assert_eq!(code, ErrorCode::ValidationError);

        let (address, script, _met) = scripted::<CallStatus>(&tree, 64);
        let status = address.actor_ref();
        let port = GatewayPort { generate: unused(&tree), status, drop_call: unused(&tree) };
        let url = serve(&tree, |services| Services { gateway: Some(Arc::new(port)), ..services });
        let far = proxy::<CallStatus, _>(&tree, GenerateEdge::new(client(), &url, PATIENCE).unwrap());
        for age in [None, Some(CallAge { age_ms: 70, silent_ms: 7 })] {
            script.lock().push_back(Does::Answers(age));
            let answer = far.ask(CallStatus(CallId::trusted("a/b:7")), CallContext::default(), PATIENCE).await;
            assert_eq!(answer, Ok(age));
        }
        tree.root().stopped().await;
    })
    .unwrap();
}
