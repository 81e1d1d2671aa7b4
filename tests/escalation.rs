//! A failure that no supervisor can take ends the process, with a reason and in order. The doomed process is this test
//! program itself, started a second time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::actors::{ActorRef, Behaviour, Handle, Reply, Spec, Turn, run, supervise};
use callboard::messages::{CallContext, Message};
use callboard::node::{Callboard, Serve, default_team};
use callboard::settings::load;
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

/// Says that this program is to be the doomed process.
const DOOMED: &str = "CALLBOARD_TEST_DOOMED";

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
async fn doomed() {
    let overrides = vec![("store", "memory:".to_owned()), ("provider", "mock".to_owned())];
    let settings = load(None, &HashMap::new(), &overrides).unwrap();
    let team = default_team(&settings).unwrap();
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
    if std::env::var_os(DOOMED).is_some() {
        run(doomed()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test has no main to return a code from")]
        std::process::exit(70);
    }
    let name = "an_actor_that_always_panics_ends_the_process_with_a_reason";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(DOOMED, "1")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(words.contains("root/stumbler") && words.contains("over the same stone"), "{words}");
}
