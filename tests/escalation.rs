//! A failure that no supervisor can take ends the process, with a reason: in order where that is possible, at once where
//! a thread is stuck. The doomed process is this test program itself, started a second time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::actors::{ActorRef, Behaviour, Handle, Reply, Spec, Turn, run, supervise};
use callboard::agents::{Agent, AgentError, BoxFuture, Think};
use callboard::messages::{CallContext, Message, Work};
use callboard::node::{Callboard, Serve};
use callboard::settings::Settings;
use callboard::task::Json;
use callboard::team::{Team, TeamMember};
use std::process::{Command, Output};
use std::time::Duration;

/// Says that this program is to be the doomed process.
const DOOMED: &str = "CALLBOARD_TEST_DOOMED";

/// Starts this program again, to run one of its tests as the doomed process.
fn doom(test: &str) -> (Output, String, String) {
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DOOMED, "1").output();
    let output = output.unwrap();
    let [words, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output, words, errors)
}

fn is_doomed() -> bool {
    std::env::var_os(DOOMED).is_some()
}

struct Stumble;

impl Message for Stumble {
    const NAME: &'static str = "stumble";
    type Reply = u32;
}

/// Panics with every message.
struct Stumbler;

impl Behaviour for Stumbler {
    const KIND: &'static str = "stumbler";
}

impl Handle<Stumble> for Stumbler {
    fn handle(&mut self, _: Stumble, _: CallContext, _: Reply<Stumble>, _: &mut Turn<'_, Self>) {
        panic!("over the same stone");
    }
}

/// What `callboard serve` does with a failure, around an actor that always fails.
async fn stumble() {
    let settings = Settings::with(&[("store", "memory:"), ("provider", "mock")]).unwrap();
    let team = Team::of(&settings).unwrap();
    let mut company = Callboard::start(&settings, team, Serve::Nothing).await.unwrap();
    let soon = Duration::from_millis(1);
    let spec = Spec::new("stumbler", || Stumbler).restarts(2, Duration::from_secs(600)).back_off(soon, soon);
    let stumbler: ActorRef<Stumble> = supervise(&company.tree().root(), spec).actor_ref();
    let stumbling = async {
        loop {
            let _ = stumbler.ask(Stumble, CallContext::default(), Duration::from_secs(60)).await;
            tokio::task::yield_now().await;
        }
    };
    let down = tokio::select! {
        down = company.failed() => down,
        () = stumbling => unreachable!(),
    };
    println!("\n{down}");
    company.stop(Duration::from_secs(1)).await.unwrap();
}

#[test]
fn an_actor_that_always_panics_ends_the_process_with_a_reason() {
    if is_doomed() {
        run(stumble()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test has no main to return a code from")]
        std::process::exit(70);
    }
    let (output, words, _) = doom("an_actor_that_always_panics_ends_the_process_with_a_reason");
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(words.contains("root/stumbler") && words.contains("over the same stone"), "{words}");
}

/// Blocks its thread for ever, which no agent may.
struct Blocker;

impl Agent for Blocker {
    fn perform<'a>(&'a self, _: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async {
            let (_kept, never) = std::sync::mpsc::channel::<()>();
            println!("\nthe agent blocks");
            never.recv().unwrap();
            unreachable!();
        })
    }
}

/// A company whose analyst never comes back from its first turn.
async fn freeze() {
    let settings = Settings::with(&[("store", "memory:"), ("provider", "mock"), ("frozen_exit", "300ms")]).unwrap();
    let mut team = Team::of(&settings).unwrap();
    team.members[0] = TeamMember::new("blocker", "analyze", Blocker).unwrap();
    let company = Callboard::start(&settings, team, Serve::Nothing).await.unwrap();
    let answer = company.ask("why?").await;
    println!("\nanswered in spite of all: {answer:?}");
}

#[test]
fn a_turn_that_never_ends_ends_the_process_with_a_reason() {
    if is_doomed() {
        return run(freeze()).unwrap();
    }
    let (output, words, errors) = doom("a_turn_that_never_ends_ends_the_process_with_a_reason");
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(words.contains("the agent blocks") && !words.contains("in spite of all"), "{words}");
    // The log's thread may be the stuck one, so standard error has it too: who, and what another process will do.
    assert!(errors.contains("callboard: root/agents/blocker/"), "{errors}");
    assert!(errors.contains("stuck in one turn") && errors.contains("another can take over"), "{errors}");
}
