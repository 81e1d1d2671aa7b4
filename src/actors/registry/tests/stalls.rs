//! Attempts that show no progress: which of them end, by what the gateway says of their model calls.

use super::*;
use crate::messages::CallAge;
use crate::task::{AttemptNo, CallId, StepId, TaskId, Tenant};
use parking_lot::Mutex;

/// A gateway that always says the same.
struct Says(Result<Option<CallAge>, CallError>);

impl Edge<CallStatus> for Says {
    fn call(&self, _: CallStatus, _: CallContext) -> BoxFuture<'static, Result<Option<CallAge>, CallError>> {
        let word = self.0;
        Box::pin(async move { word })
    }
}

/// Writes down what it is told of.
struct Master(Arc<Mutex<Vec<Due>>>);

impl Behaviour for Master {
    const KIND: &'static str = "master";
}

impl Handle<Advance> for Master {
    fn handle(&mut self, message: Advance, _: CallContext, _: Reply<Advance>, _: &mut Turn<'_, Self>) {
        self.0.lock().push(message.due);
    }
}

/// Whether an attempt that has not moved for long is ended.
async fn ends(phase: Phase, call: Option<&'static str>, gateway: Option<Result<Option<CallAge>, CallError>>) -> bool {
    let office = Office::open(Presence::Listens);
    let told = Arc::new(Mutex::new(Vec::new()));
    let parts = told.clone();
    let master = supervise(&office.tree.root(), Spec::new("master", move || Master(parts.clone())));
    office.parts.master.set(master.actor_ref()).unwrap();
    if let Some(word) = gateway {
        let spec = Spec::new("gateway", move || Proxy::create(Arc::new(Says(word))));
        let gateway = supervise(&office.tree.root(), spec);
        office.parts.gateway.set(gateway.actor_ref()).unwrap();
    }
    let agent = finalizer(&*office.store).declaration;
    office.joins(agent.clone()).await;
    let attempt = ActiveAttempt {
        key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
        step: StepId::trusted("t-1-P1"),
        attempt: AttemptNo(1),
        phase,
        progress_age_ms: office.parts.stall_timeout_ms + 1,
        call: call.map(CallId::trusted),
    };
    let (agent, incarnation) = (agent.agent, agent.incarnation);
    office.is_asked(Heartbeat { agent, incarnation, load: 1.0, active: vec![attempt] }).await.unwrap();
    office.pass(2 * CONFIRM_TIMEOUT.as_secs()).await;
    let told = told.lock();
    assert!(told.iter().all(|due| matches!(due, Due::Lost(_, AttemptNo(1), Loss::Stalled))));
    !told.is_empty()
}

#[actix::test]
async fn a_model_call_that_nobody_can_be_asked_after_is_no_stall_and_one_that_the_gateway_does_not_know_is() {
    tokio::time::pause();
    let known = CallAge { age_ms: 200_000, silent_ms: 9 };
    let words = [
        (Some(Ok(Some(known))), false),
        (Some(Ok(None)), true),
        (Some(Err(CallError::Timeout)), true),
        (Some(Err(CallError::Unavailable)), true),
        // Another's gateway, and none.
        (Some(Err(CallError::Rejected)), false),
        (None, false),
    ];
    for (gateway, is_stall) in words {
        assert_eq!(ends(Phase::Model, Some("life:7"), gateway).await, is_stall, "{gateway:?}");
        // What is in no model call that could be asked after needs no gateway to be stuck.
        assert!(ends(Phase::Model, None, gateway).await, "{gateway:?}");
        assert!(ends(Phase::Thinking, Some("life:7"), gateway).await, "{gateway:?}");
    }
}
