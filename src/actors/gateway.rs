//! The gateway: the only way to the models. Runs each call as a child of its own, drops it as soon as nobody wants its
//! answer, and says which calls are under way; it never waits for one in a turn.

use super::patience::within;
use super::{Behaviour, Handle, Reply, TaskEnd, TaskSet, Turn, spawn_task};
use crate::llm::Models;
use crate::messages::{
    CallAge, CallContext, CallStatus, Chat, ChatStream, DropCall, Embed, Generate, Generated, Message, ModelError,
    ProviderStates, Trouble, TroubleKind,
};
use crate::task::CallId;
use foldhash::{HashMap, HashMapExt as _};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a gateway is made of; each of its lives gets a copy.
#[derive(Clone)]
pub struct GatewayParts {
    /// The models, and all that a call to one passes. They outlive a life: how their places do is not forgotten with it.
    pub models: Arc<Models>,
}

/// How long a call may run whose caller set no deadline.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// Calls the models.
pub struct Gateway {
    parts: GatewayParts,
    /// Ends with this life: the callers have been told by then.
    calls: TaskSet<CallId>,
    began: HashMap<CallId, Instant>,
}

// === impl Gateway ===

impl Gateway {
    /// A new life, without calls.
    pub fn create(parts: GatewayParts) -> Self {
        Self { parts, calls: TaskSet::new(|_| {}), began: HashMap::new() }
    }
}

impl Behaviour for Gateway {
    const KIND: &'static str = "gateway";
}

impl Gateway {
    /// Makes a call as a child of its own, which ends as soon as nobody wants its answer, and lets `answer` say what came of it.
    fn call<M: Message, T: 'static>(
        &mut self,
        id: CallId,
        call: impl Future<Output = T> + 'static,
        answer: impl FnOnce(TaskEnd<T>) -> M::Reply + 'static,
        mut reply: Reply<M>,
        turn: &mut Turn<'_, Self>,
    ) {
        let child = spawn_task(turn.node(), id.clone(), call);
        self.calls.insert(id.clone(), child.abort_handle());
        self.began.insert(id.clone(), Instant::now());
        let answered = async move {
            // Whoever gives up lets the model go at once.
            let ended = match select(child, pin!(reply.closed())).await {
                Either::Left((outcome, _)) => Some(outcome),
                Either::Right(((), child)) => {
                    child.abort();
                    None
                }
            };
            if let Some(outcome) = ended {
                reply.send(answer(outcome));
            }
        };
        turn.spawn(answered, move |gateway, (), _| {
            gateway.calls.remove(&id);
            gateway.began.remove(&id);
        });
    }
}

impl Handle<Generate> for Gateway {
    fn handle(&mut self, call: Generate, context: CallContext, reply: Reply<Generate>, turn: &mut Turn<'_, Self>) {
        let Generate { call: id, completion, provider } = call;
        let (models, until) = (self.parts.models.clone(), until(&context));
        let complete =
            async move { within_time(until, models.complete(&completion, provider.as_deref(), until)).await };
        let answer = |outcome: TaskEnd<Result<_, _>>| match outcome {
            TaskEnd::Finished(answer) => answer.map(Generated::from).map_err(ModelError::from),
            TaskEnd::Panicked(words) => Err(ModelError::Crashed(panicked(&words))),
            TaskEnd::Aborted => Err(ModelError::Retryable(DROPPED.into())),
        };
        self.call(id, complete, answer, reply, turn);
    }
}

impl Handle<Chat> for Gateway {
    fn handle(&mut self, chat: Chat, context: CallContext, reply: Reply<Chat>, turn: &mut Turn<'_, Self>) {
        let Chat { call, completion, provider } = chat;
        let (models, until) = (self.parts.models.clone(), until(&context));
        let complete =
            async move { within_time(until, models.complete(&completion, provider.as_deref(), until)).await };
        self.call(call, complete, ended, reply, turn);
    }
}

impl Handle<ChatStream> for Gateway {
    fn handle(&mut self, chat: ChatStream, context: CallContext, reply: Reply<ChatStream>, turn: &mut Turn<'_, Self>) {
        let Chat { call, completion, provider } = chat.0;
        let (models, until) = (self.parts.models.clone(), until(&context));
        let stream = async move { within_time(until, models.stream(&completion, provider.as_deref(), until)).await };
        self.call(call, stream, ended, reply, turn);
    }
}

impl Handle<Embed> for Gateway {
    fn handle(&mut self, embed: Embed, context: CallContext, reply: Reply<Embed>, turn: &mut Turn<'_, Self>) {
        let Embed { call, embedding, provider } = embed;
        let (models, until) = (self.parts.models.clone(), until(&context));
        let embed = async move { within_time(until, models.embed(&embedding, provider.as_deref(), until)).await };
        self.call(call, embed, ended, reply, turn);
    }
}

impl Handle<ProviderStates> for Gateway {
    fn handle(&mut self, _: ProviderStates, _: CallContext, reply: Reply<ProviderStates>, _: &mut Turn<'_, Self>) {
        reply.send(self.parts.models.states());
    }
}

impl Handle<CallStatus> for Gateway {
    fn handle(&mut self, message: CallStatus, _: CallContext, reply: Reply<CallStatus>, _: &mut Turn<'_, Self>) {
        // The offline providers answer in one piece, so a call is silent for as long as it is old.
        let age = |began: &Instant| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        reply.send(self.began.get(&message.0).map(age).map(|age_ms| CallAge { age_ms, silent_ms: age_ms }));
    }
}

impl Handle<DropCall> for Gateway {
    fn handle(&mut self, message: DropCall, _: CallContext, reply: Reply<DropCall>, _: &mut Turn<'_, Self>) {
        self.calls.abort(&message.0);
        reply.send(());
    }
}

fn until(context: &CallContext) -> Instant {
    context.deadline.map_or_else(|| Instant::now() + LONGEST_CALL, Instant::from)
}

async fn within_time<T>(until: Instant, call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = || Trouble::new(TroubleKind::TimedOut, "the model did not answer within the time left");
    within(until, call).await.unwrap_or_else(|| Err(late()))
}

/// What the callers hear whose call somebody dropped.
const DROPPED: &str = "the model call was dropped";

fn panicked(words: &str) -> Arc<str> {
    format!("the provider panicked: {words}").into()
}

fn ended<T>(outcome: TaskEnd<Result<T, Trouble>>) -> Result<T, Trouble> {
    match outcome {
        TaskEnd::Finished(answer) => answer,
        TaskEnd::Panicked(words) => Err(Trouble::new(TroubleKind::Unavailable, panicked(&words))),
        TaskEnd::Aborted => Err(Trouble::new(TroubleKind::Unavailable, DROPPED)),
    }
}
