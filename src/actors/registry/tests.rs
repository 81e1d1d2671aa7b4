//! What a registry learns, and when: on paused time, over a store that another process's registry writes to.

mod lives;
mod stalls;

use super::*;
use crate::actors::{Address, AgentLines, FarLines, Node, Proxy, Restarts, Root, Spec, Tree, supervise};
use crate::messages::{CallError, Edge, Knock, Message, Presence, Probe, Register, Watch, Work};
use crate::store::MemoryStore;
use crate::testkit::TestClock;
use futures_util::future::BoxFuture;

/// Another process, as the way to it shows it: it can be watched until it ends, and its machine says what a knock finds.
#[derive(Clone)]
struct Elsewhere {
    is_there: watch::Receiver<bool>,
    presence: Presence,
}

impl<M: Message> Edge<M> for Elsewhere
where
    Self: Answers<M>,
{
    fn call(&self, _: M, _: CallContext) -> BoxFuture<'static, Result<M::Reply, CallError>> {
        self.clone().answer()
    }
}

trait Answers<M: Message> {
    fn answer(self) -> BoxFuture<'static, Result<M::Reply, CallError>>;
}

macro_rules! never_asked {
    ($($message:ty),+) => {
        $(impl Answers<$message> for Elsewhere {
            fn answer(self) -> BoxFuture<'static, Result<<$message as Message>::Reply, CallError>> {
                Box::pin(async { Err(CallError::Unavailable) })
            }
        })+
    };
}

never_asked!(Work, DropAttempt, Probe);

impl Answers<Watch> for Elsewhere {
    fn answer(mut self) -> BoxFuture<'static, Result<(), CallError>> {
        Box::pin(async move {
            let _ = self.is_there.wait_for(|is_there| !is_there).await;
            Err(CallError::Crashed)
        })
    }
}

impl Answers<Knock> for Elsewhere {
    fn answer(self) -> BoxFuture<'static, Result<Presence, CallError>> {
        Box::pin(async move { Ok(if *self.is_there.borrow() { Presence::Listens } else { self.presence }) })
    }
}

/// Makes ways to one process.
struct Ways(Tree, Elsewhere);

impl Connect for Ways {
    fn connect(&self, declaration: &Declaration, _: &str) -> Option<(Arc<AgentLines>, Node)> {
        let edge = Arc::new(self.1.clone());
        let spec = Spec::new(declaration.agent.as_str(), move || Proxy::create(edge.clone()));
        let proxy = supervise(&self.0.root(), spec);
        let far = FarLines { probe: proxy.actor_ref(), watch: proxy.actor_ref(), knock: proxy.actor_ref() };
        let lines = AgentLines { work: proxy.actor_ref(), drop_attempt: proxy.actor_ref(), far: Some(far) };
        Some((Arc::new(lines), proxy.node().clone()))
    }
}

/// A registry over a store, and what it tells of.
struct Office {
    store: Arc<dyn Store>,
    roster: watch::Receiver<Arc<Roster>>,
    /// Whether the process elsewhere is there.
    is_there: watch::Sender<bool>,
    registry: Address<Registry>,
    parts: RegistryParts,
    clock: Arc<TestClock>,
    tree: Tree,
    _root: Root,
}

impl Office {
    fn open(presence: Presence) -> Self {
        let clock = Arc::new(TestClock::default());
        Self::over(Arc::new(MemoryStore::new(clock.clone())), clock, presence)
    }

    /// Another one over the same store, as of another master or of the same one started anew.
    fn another(&self) -> Self {
        Self::over(self.store.clone(), self.clock.clone(), Presence::Listens)
    }

    fn over(store: Arc<dyn Store>, clock: Arc<TestClock>, presence: Presence) -> Self {
        let (tree, root) = Tree::new(Restarts::NONE);
        let (told, roster) = watch::channel(Arc::default());
        let (is_there, there) = watch::channel(true);
        let parts = RegistryParts {
            store: store.clone(),
            roster: Arc::new(told),
            directory: Directory::default(),
            connect: Arc::new(Ways(tree.clone(), Elsewhere { is_there: there, presence })),
            master: Arc::default(),
            dispatcher: Arc::default(),
            gateway: Arc::default(),
            heartbeat_ttl_ms: TTL_MS,
            stall_timeout_ms: 60_000,
        };
        let each = parts.clone();
        let registry = supervise(&tree.root(), Spec::new("registry", move || Registry::create(each.clone())));
        Self { store, roster, is_there, registry, parts, clock, tree, _root: root }
    }

    async fn joins(&self, declaration: Declaration) {
        self.is_asked(Register(declaration)).await.unwrap();
    }

    async fn is_asked<M: Message>(&self, message: M) -> M::Reply
    where
        Registry: Handle<M>,
    {
        self.registry.actor_ref().ask(message, CallContext::default(), LEARN_EVERY).await.unwrap()
    }

    /// So many seconds pass, for the store and for the process.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.clock.advance(1_000);
        }
    }

    fn knows(&self) -> usize {
        self.roster.borrow().len()
    }

    async fn until(&mut self, is_wanted: impl FnMut(&Arc<Roster>) -> bool) {
        self.roster.wait_for(is_wanted).await.unwrap();
    }
}

const TTL_MS: u64 = 60_000;

fn finalizer(store: &dyn Store) -> AgentRecord {
    let declaration = Declaration {
        agent: AgentId::trusted("finalizer"),
        incarnation: Incarnation::trusted("i1"),
        capabilities: vec![Capability::trusted("finalize")],
        slots: 1,
        profile: "finalizer".into(),
        description: None,
        url: Some("http://127.0.0.1:1".into()),
        foreign: false,
        reads_stages: true,
    };
    AgentRecord { declaration, last_heartbeat: store.now(), load: 0.0, active: 0, replaced: Vec::new() }
}

#[actix::test]
async fn who_joins_or_leaves_at_another_master_is_known_at_once() {
    tokio::time::pause();
    let mut office = Office::open(Presence::Listens);
    // It has read the store and rests.
    tokio::time::sleep(LEARN_EVERY / 10).await;
    let begun = Instant::now();
    let record = finalizer(&*office.store);
    office.store.put_agent(record.clone(), TTL_MS).await.unwrap();
    office.until(|roster| roster.contains_key(&record.declaration.agent)).await;
    office.store.remove_agent(&record.declaration.agent).await.unwrap();
    office.until(|roster| roster.is_empty()).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "not when the store is next asked anyway");
}

#[actix::test]
async fn a_process_that_ends_without_a_word_is_gone_when_its_machine_says_so() {
    tokio::time::pause();
    for (presence, is_gone) in [(Presence::Refuses, true), (Presence::Unknown, false)] {
        let mut office = Office::open(presence);
        let record = finalizer(&*office.store);
        office.store.put_agent(record.clone(), TTL_MS).await.unwrap();
        office.until(|roster| !roster.is_empty()).await;
        let begun = Instant::now();
        office.is_there.send_replace(false);
        let emptied = tokio::time::timeout(Duration::from_secs(10), office.until(|roster| roster.is_empty())).await;
        assert_eq!(emptied.is_ok(), is_gone, "{presence:?}");
        if is_gone {
            assert_eq!(begun.elapsed(), Duration::ZERO);
            // A sign of life, heard by whichever master, and it is there again.
            office.is_there.send_replace(true);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let beat = AgentRecord { last_heartbeat: office.store.now().plus(1), ..record };
            office.store.put_agent(beat, TTL_MS).await.unwrap();
            office.until(|roster| !roster.is_empty()).await;
        }
    }
}

#[actix::test]
async fn the_last_who_falls_silent_stays_gone() {
    tokio::time::pause();
    let office = Office::open(Presence::Listens);
    office.joins(finalizer(&*office.store).declaration).await;
    office.pass(listed_lease_ms(TTL_MS) / 1_000 - 3).await;
    assert_eq!(office.knows(), 1);
    office.pass(TTL_MS / 4_000 + 6).await;
    for _ in 0..10 {
        assert_eq!((office.knows(), office.store.agents().await.unwrap().len()), (0, 0));
        office.pass(6).await;
    }
}

#[actix::test]
async fn a_silent_agent_gets_nothing_more_and_loses_what_it_has_until_it_is_heard() {
    tokio::time::pause();
    let office = Office::open(Presence::Listens);
    let mut record = finalizer(&*office.store);
    office.joins(record.declaration.clone()).await;
    let lease_s = listed_lease_ms(TTL_MS) / 1_000;
    // Heard by another master, though not here.
    office.pass(lease_s - 10).await;
    record.last_heartbeat = office.store.now();
    office.store.put_agent(record.clone(), TTL_MS).await.unwrap();
    office.pass(lease_s - 2).await;
    assert_eq!(office.knows(), 1);
    office.pass(TTL_MS / u64::from(silence::LOOKS) / 1_000 + 4).await;
    assert_eq!(office.knows(), 0);
    assert_eq!(office.store.agents().await.unwrap().len(), 1, "it is not forgotten");
    let Declaration { agent, incarnation, .. } = record.declaration;
    let answer = office.is_asked(Heartbeat { agent, incarnation, load: 0.0, active: Vec::new() }).await;
    assert!(answer.unwrap().known);
    assert_eq!(office.knows(), 1);
}

#[actix::test]
async fn after_standing_still_the_silent_are_given_the_time_to_be_heard() {
    tokio::time::pause();
    let office = Office::open(Presence::Listens);
    office.joins(finalizer(&*office.store).declaration).await;
    office.pass(5).await;
    // The machine slept for an hour.
    office.clock.advance(3_600_000);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    office.pass(TTL_MS / 3_000).await;
    assert_eq!(office.knows(), 1, "a heartbeat's time has not passed yet");
    office.pass(10).await;
    assert_eq!(office.knows(), 0);
}
