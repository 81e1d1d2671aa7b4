//! What our way of sending costs above actix's own: `ActorRef::ask` with permit, deadline and context against
//! `Recipient::send`, to actors on the same thread that answer at once. Same group, so the ratio can be read off.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to report")]

use actix::{Actor, Context, Handler, MessageResult, Recipient};
use callboard::actors::{ActorRef, Behaviour, Handle, Reply, Restarts, Spec, Tree, Turn, run, supervise};
use callboard::messages::{CallContext, Message};
use callboard::task::{AttemptNo, StepId, TaskId, TaskKey, Tenant};
use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

/// How many messages are under way at once.
const AT_ONCE: [u64; 2] = [1, 32];
/// Never reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks an actor to add.
struct Add(u64);

/// Adds.
#[derive(Default)]
struct Sum(u64);

// === By actix alone ===

impl actix::Message for Add {
    type Result = u64;
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl Handler<Add> for Sum {
    type Result = MessageResult<Add>;

    fn handle(&mut self, Add(number): Add, _: &mut Self::Context) -> Self::Result {
        self.0 += number;
        MessageResult(self.0)
    }
}

// === By ours ===

impl Message for Add {
    const NAME: &'static str = "add";
    type Reply = u64;
}

impl Behaviour for Sum {
    const KIND: &'static str = "sum";
}

impl Handle<Add> for Sum {
    fn handle(&mut self, Add(number): Add, _: CallContext, reply: Reply<Add>, _: &mut Turn<'_, Self>) {
        self.0 += number;
        reply.send(self.0);
    }
}

// === The benches ===

/// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("actor_layer");
    for at_once in AT_ONCE {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::new("recipient_send", at_once), |bencher| {
            bencher.iter_custom(|rounds| run(sends(rounds, at_once)).unwrap());
        });
        group.bench_function(BenchmarkId::new("actor_ref_ask", at_once), |bencher| {
            bencher.iter_custom(|rounds| run(asks(rounds, at_once)).unwrap());
        });
    }
    group.finish();
    criterion.final_summary();
}

async fn sends(rounds: u64, at_once: u64) -> Duration {
    let recipient: Recipient<Add> = Sum::default().start().recipient();
    timed(rounds, at_once, async |number| send(&recipient, number).await).await
}

#[expect(clippy::disallowed_methods, reason = "it is what ours is compared with")]
async fn send(recipient: &Recipient<Add>, number: u64) -> u64 {
    recipient.send(Add(number)).await.unwrap()
}

async fn asks(rounds: u64, at_once: u64) -> Duration {
    let (tree, _root) = Tree::new(Restarts::NONE);
    let actor_ref: ActorRef<Add> = supervise(&tree.root(), Spec::new("sum", Sum::default)).actor_ref();
    let context = context();
    timed(rounds, at_once, async |number| actor_ref.ask(Add(number), context.clone(), PATIENCE).await.unwrap()).await
}

/// The context that a step's messages have.
fn context() -> CallContext {
    CallContext {
        task: Some(TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t1") }),
        step: Some(StepId::trusted("t1-P1")),
        attempt: Some(AttemptNo(1)),
        deadline: Some(Instant::now() + PATIENCE),
        ..CallContext::default()
    }
}

/// How long so many rounds take, each of so many messages that wait for one another's end.
async fn timed(rounds: u64, at_once: u64, message: impl AsyncFn(u64) -> u64) -> Duration {
    // The actor starts with its first message.
    message(0).await;
    let began = Instant::now();
    for round in 0..rounds {
        if at_once == 1 {
            message(round).await;
        } else {
            join_all((0..at_once).map(|number| message(number))).await;
        }
    }
    began.elapsed()
}
