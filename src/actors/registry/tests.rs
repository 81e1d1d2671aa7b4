//! What a registry learns, and when: on paused time, over a store that another process's registry writes to.

use super::*;
use crate::actors::{AgentLines, Node, Proxy, Restarts, Spec, Tree, supervise};
use crate::messages::{CallError, Edge, Message};
use crate::store::MemoryStore;
use crate::testkit::TestClock;
use futures_util::future::BoxFuture;

/// A way to an agent that nothing is sent to.
struct Unused;

impl<M: Message> Edge<M> for Unused {
    fn call(&self, _: M, _: CallContext) -> BoxFuture<'static, Result<M::Reply, CallError>> {
        Box::pin(async { Err(CallError::Unavailable) })
    }
}

struct Anywhere(Tree);

impl Connect for Anywhere {
    fn connect(&self, declaration: &Declaration, _: &str) -> Option<(Arc<AgentLines>, Node)> {
        let spec = Spec::new(declaration.agent.as_str(), || Proxy::create(Arc::new(Unused)));
        let proxy = supervise(&self.0.root(), spec);
        let lines = AgentLines { work: proxy.actor_ref(), drop_attempt: proxy.actor_ref(), probe: None };
        Some((Arc::new(lines), proxy.node().clone()))
    }
}

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
    record(&declaration, store.now(), 0.0, 0)
}

#[actix::test]
async fn who_joins_or_leaves_at_another_master_is_known_at_once() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(TestClock::default())));
    let (told, mut roster) = watch::channel(Arc::default());
    let parts = RegistryParts {
        store: store.clone(),
        roster: Arc::new(told),
        directory: Directory::default(),
        connect: Arc::new(Anywhere(tree.clone())),
        master: Arc::default(),
        gateway: Arc::default(),
        heartbeat_ttl_ms: 60_000,
        stall_timeout_ms: 60_000,
    };
    let _registry = supervise(&tree.root(), Spec::new("registry", move || Registry::create(parts.clone())));
    // It has read the store and rests.
    tokio::time::sleep(LEARN_EVERY / 10).await;
    let begun = Instant::now();
    let record = finalizer(&*store);
    store.put_agent(record.clone(), 60_000).await.unwrap();
    roster.wait_for(|roster| roster.contains_key(&record.declaration.agent)).await.unwrap();
    store.remove_agent(&record.declaration.agent).await.unwrap();
    roster.wait_for(|roster| roster.is_empty()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "not when the store is next asked anyway");
}
