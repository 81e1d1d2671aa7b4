//! Actix's dangerous behaviours, pinned: each is a reason for something in `src/actors`. One that fails after an upgrade
//! of actix is good news or bad, and in both cases that room must be read again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "these are observations of actix itself")]

use actix::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Where it panics.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[rtype(result = "()")]
enum Bad {
    InHandler,
    InResponseFuture,
    InActorFuture,
    InAtomicResponse,
    NotAtAllButStops,
}

/// Counts, and answers the count.
#[derive(Message)]
#[rtype(result = "u32")]
struct Count;

#[derive(Default)]
struct Victim {
    count: u32,
    panics_in_started: bool,
}

impl Actor for Victim {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Self::Context) {
        assert!(!self.panics_in_started, "in started");
    }
}

impl Supervised for Victim {}

impl Handler<Count> for Victim {
    type Result = u32;
    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
        self.count += 1;
        self.count
    }
}

/// One type of answer for all four ways in which actix runs a handler.
enum Answer {
    Own(ResponseFuture<()>),
    Beside(ResponseActFuture<Victim, ()>),
    Atomic(AtomicResponse<Victim, ()>),
    Done,
}

impl actix::dev::MessageResponse<Victim, Bad> for Answer {
    fn handle(self, context: &mut Context<Victim>, sender: Option<actix::dev::OneshotSender<()>>) {
        match self {
            Self::Own(answer) => actix::dev::MessageResponse::<Victim, Bad>::handle(answer, context, sender),
            Self::Beside(answer) => actix::dev::MessageResponse::<Victim, Bad>::handle(answer, context, sender),
            Self::Atomic(answer) => actix::dev::MessageResponse::<Victim, Bad>::handle(answer, context, sender),
            Self::Done => actix::dev::MessageResponse::<Victim, Bad>::handle((), context, sender),
        }
    }
}

impl Handler<Bad> for Victim {
    type Result = Answer;
    fn handle(&mut self, bad: Bad, context: &mut Self::Context) -> Answer {
        match bad {
            Bad::InHandler => panic!("in the handler"),
            Bad::InResponseFuture => Answer::Own(Box::pin(async { panic!("in a future of its own") })),
            Bad::InActorFuture => Answer::Beside(Box::pin(async { panic!("beside") }.into_actor(self))),
            Bad::InAtomicResponse => {
                Answer::Atomic(AtomicResponse::new(Box::pin(async { panic!("atomic") }.into_actor(self))))
            }
            Bad::NotAtAllButStops => {
                context.stop();
                Answer::Done
            }
        }
    }
}

/// What became of a bad message, of two queued behind it, and of the actor.
#[derive(Debug, PartialEq)]
struct Aftermath {
    bad_is_answered: bool,
    queued_answered: usize,
    is_connected: bool,
}

async fn send_bad(victim: Addr<Victim>, neighbour: &Addr<Victim>, bad: Bad) -> Aftermath {
    let sent = victim.send(bad);
    let queued = [victim.send(Count), victim.send(Count)];
    let bad_is_answered = match sent.await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error, MailboxError::Closed, "a crash looks like an absent actor");
            false
        }
    };
    let queued = futures_util::future::join_all(queued).await;
    assert!(neighbour.send(Count).await.is_ok(), "the neighbour on the same thread lives");
    // Whoever panics beside the mailbox dies after this poll at the latest.
    let _ = victim.send(Count).await;
    Aftermath {
        bad_is_answered,
        queued_answered: queued.iter().filter(|answer| answer.is_ok()).count(),
        is_connected: victim.connected(),
    }
}

// === Panics ===

#[actix::test]
async fn what_a_panic_does_depends_on_where_it_happens() {
    let neighbour = Victim::default().start();
    let table = [
        (Bad::InHandler, false, 0, false),
        (Bad::InResponseFuture, false, 2, true),
        (Bad::InActorFuture, false, 2, false),
        (Bad::InAtomicResponse, false, 0, false),
        (Bad::NotAtAllButStops, true, 0, false),
    ];
    for (bad, bad_is_answered, queued_answered, is_connected) in table {
        let after = send_bad(Victim::default().start(), &neighbour, bad).await;
        assert_eq!(after, Aftermath { bad_is_answered, queued_answered, is_connected }, "{bad:?}");
    }
}

#[actix::test]
async fn its_own_supervisor_takes_a_stop_for_a_failure_and_dies_of_a_panic() {
    let neighbour = Victim::default().start();
    for bad in [Bad::InHandler, Bad::InActorFuture, Bad::InAtomicResponse] {
        let after = send_bad(Supervisor::start(|_| Victim::default()), &neighbour, bad).await;
        assert!(!after.is_connected, "{bad:?}");
    }
    let after = send_bad(Supervisor::start(|_| Victim::default()), &neighbour, Bad::NotAtAllButStops).await;
    assert_eq!(after, Aftermath { bad_is_answered: true, queued_answered: 2, is_connected: true });
}

#[actix::test]
async fn its_own_supervisor_keeps_the_old_state() {
    let victim = Supervisor::start(|_| Victim::default());
    assert_eq!(victim.send(Count).await, Ok(1));
    victim.send(Bad::NotAtAllButStops).await.unwrap();
    assert_eq!(victim.send(Count).await, Ok(2));
}

#[actix::test]
async fn a_panic_in_started_closes_the_address() {
    let victim = Victim { panics_in_started: true, ..Victim::default() }.start();
    assert_eq!(victim.send(Count).await, Err(MailboxError::Closed));
    assert!(!victim.connected());
}

#[actix::test]
async fn a_thread_survives_the_panics_of_its_actors() {
    let arbiter = Arbiter::new();
    let victim = Victim::start_in_arbiter(&arbiter.handle(), |_| Victim::default());
    assert!(victim.send(Bad::InHandler).await.is_err());
    let failed = Victim::start_in_arbiter(&arbiter.handle(), |_| panic!("in the factory"));
    assert_eq!(failed.send(Count).await, Err(MailboxError::Closed));
    let next = Victim::start_in_arbiter(&arbiter.handle(), |_| Victim::default());
    assert_eq!(next.send(Count).await, Ok(1));
    arbiter.stop();
    arbiter.join().unwrap();
}

#[derive(Default)]
struct Service;
impl Actor for Service {
    type Context = Context<Self>;
}
impl Supervised for Service {}
impl SystemService for Service {}
impl Handler<Bad> for Service {
    type Result = ();
    fn handle(&mut self, _: Bad, _: &mut Self::Context) {
        panic!("the service");
    }
}

#[actix::test]
async fn the_registry_hands_out_a_dead_service_for_ever() {
    assert!(Service::from_registry().send(Bad::InHandler).await.is_err());
    assert!(!Service::from_registry().connected());
    assert!(!Service::from_registry().connected());
}

// === Panics while panicking ===

/// Panics when it is handled, and again when it is stopped because of that.
struct Grenade;
impl Actor for Grenade {
    type Context = Context<Self>;
    fn stopped(&mut self, _: &mut Self::Context) {
        panic!("in stopped, {} the unwinding", if std::thread::panicking() { "within" } else { "after" });
    }
}
impl Handler<Bad> for Grenade {
    type Result = ();
    fn handle(&mut self, _: Bad, _: &mut Self::Context) {
        panic!("in the handler");
    }
}

const CHILD: &str = "CALLBOARD_TEST_DOUBLE_PANIC";

/// Run by the next test in a process of its own; by itself it does nothing.
#[actix::test]
async fn child_process_of_the_double_panic() {
    if std::env::var_os(CHILD).is_some() {
        let _ = Grenade.start().send(Bad::InHandler).await;
    }
}

#[cfg(unix)]
#[test]
fn a_panic_in_stopped_after_a_panic_aborts_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_process_of_the_double_panic", "--nocapture"]).env(CHILD, "1");
    let ended = child.output().unwrap();
    const SIGABRT: i32 = 6;
    assert_eq!(ended.status.signal(), Some(SIGABRT));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("in stopped, within the unwinding"));
}

// === Mailboxes ===

#[actix::test]
async fn a_cloned_address_passes_by_the_mailboxs_capacity() {
    let victim = Victim::default().start();
    let same: usize = (0..1000).filter(|_| victim.try_send(Count).is_ok()).count();
    let cloned = (0..1000).filter(|_| victim.clone().try_send(Count).is_ok()).count();
    assert!(same < 20, "one handle respects the 16: {same}");
    assert_eq!(cloned, 1000);
    let sends: Vec<_> = (0..1000).map(|_| victim.send(Count)).collect();
    let answers = futures_util::future::join_all(sends).await;
    assert!(answers.iter().all(Result::is_ok), "nor does `send` hold anything back");
}

#[actix::test]
async fn a_dropped_request_takes_back_a_message_that_has_not_begun() {
    let victim = Victim::default().start();
    drop(victim.send(Count));
    assert_eq!(victim.send(Count).await, Ok(1));
}

#[derive(Message)]
#[rtype(result = "()")]
struct Again(u32);

/// Sends to itself, so many times.
struct Looper {
    turns_of_others: Rc<Cell<u32>>,
    seen: Arc<AtomicU32>,
}
impl Actor for Looper {
    type Context = Context<Self>;
}
impl Handler<Again> for Looper {
    type Result = ();
    fn handle(&mut self, Again(left): Again, context: &mut Self::Context) {
        if left > 0 {
            context.address().do_send(Again(left - 1));
        } else {
            self.seen.store(self.turns_of_others.get() + 1, Relaxed);
        }
    }
}

#[actix::test]
async fn an_actor_that_sends_to_itself_lets_nobody_else_run() {
    let (turns_of_others, seen) = (Rc::new(Cell::new(0)), Arc::new(AtomicU32::new(0)));
    let looper = Looper { turns_of_others: Rc::clone(&turns_of_others), seen: Arc::clone(&seen) }.start();
    looper.do_send(Again(10_000));
    while seen.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
        turns_of_others.set(turns_of_others.get() + 1);
    }
    assert!(seen.load(Relaxed) <= 2, "ten thousand messages in one turn");
}

// === Atomic responses ===

#[derive(Message)]
#[rtype(result = "u32")]
struct AskYourself;
impl Handler<AskYourself> for Victim {
    type Result = AtomicResponse<Self, u32>;
    fn handle(&mut self, _: AskYourself, context: &mut Self::Context) -> Self::Result {
        let itself = context.address();
        AtomicResponse::new(Box::pin(async move { itself.send(Count).await.unwrap_or(0) }.into_actor(self)))
    }
}

#[actix::test]
async fn an_atomic_answer_that_awaits_its_own_actor_hangs_it_for_ever() {
    tokio::time::pause();
    let victim = Victim::default().start();
    let day = Duration::from_secs(86_400);
    assert!(tokio::time::timeout(day, victim.send(AskYourself)).await.is_err());
    assert!(tokio::time::timeout(day, victim.send(Count)).await.is_err(), "and all that come later");
    assert!(victim.connected());
}

// === Time ===

#[actix::test]
async fn paused_time_reaches_actors_on_the_tests_own_thread() {
    tokio::time::pause();
    let before = std::time::Instant::now();
    let virtually = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(virtually.elapsed() >= Duration::from_secs(3600));
    assert!(before.elapsed() < Duration::from_secs(3600));
}
