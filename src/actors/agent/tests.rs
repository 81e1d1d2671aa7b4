//! An agent whose name is another's: on paused time, under a registry that knows no other answer.

use super::*;
use crate::actors::{Restarts, Spec, Tree, supervise};
use crate::agents::Think;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

/// Refuses whoever comes, since a newer life has its name; counts how often.
struct Refusing(Arc<Mutex<u32>>);

impl Behaviour for Refusing {
    const KIND: &'static str = "refusing";
}

impl Handle<Register> for Refusing {
    fn handle(&mut self, _: Register, _: CallContext, reply: Reply<Register>, _: &mut Turn<'_, Self>) {
        *self.0.lock() += 1;
        reply.send(Err(RegistryError::Replaced("a newer life has its name".into())));
    }
}

impl Handle<Heartbeat> for Refusing {
    fn handle(&mut self, _: Heartbeat, _: CallContext, reply: Reply<Heartbeat>, _: &mut Turn<'_, Self>) {
        reply.send(Ok(HeartbeatAnswer { drop: Vec::new(), known: false }));
    }
}

impl Handle<StepResult> for Refusing {
    fn handle(&mut self, _: StepResult, _: CallContext, _: Reply<StepResult>, _: &mut Turn<'_, Self>) {}
}

impl Handle<Generate> for Refusing {
    fn handle(&mut self, _: Generate, _: CallContext, _: Reply<Generate>, _: &mut Turn<'_, Self>) {}
}

struct Idle;

impl Agent for Idle {
    fn perform<'a>(&'a self, _: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async { Err(AgentError::Lost(Loss::Drained)) })
    }
}

#[actix::test]
async fn a_life_that_a_newer_one_replaced_tries_seldom_and_not_with_each_heartbeat() {
    tokio::time::pause();
    let (tree, _root) = Tree::new(Restarts::NONE);
    let tries = Arc::new(Mutex::new(0));
    let counted = tries.clone();
    let registry = supervise(&tree.root(), Spec::new("registry", move || Refusing(counted.clone())));
    let duties = Duties {
        capabilities: vec![Capability::trusted("analyze")],
        slots: 1,
        profile: "idle".into(),
        description: "idle".into(),
        provider: None,
        agent: Arc::new(Idle),
    };
    let (_told, duties) = watch::channel(Some(Arc::new(duties)));
    let parts = AgentParts {
        id: AgentId::trusted("ann"),
        duties,
        master: registry.actor_ref(),
        gateway: registry.actor_ref(),
        register: registry.actor_ref(),
        heartbeat: registry.actor_ref(),
        heartbeat_ttl_ms: 30_000,
        url: None,
    };
    supervise(&tree.root(), Spec::new("ann", move || AgentActor::create(parts.clone())));
    // No sooner than a name can be free again, which is a heartbeat's time after the newer life's last word.
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(*tries.lock(), 1);
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!(*tries.lock(), 2, "one of its lives may be gone by now");
}
