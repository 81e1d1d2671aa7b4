//! A process killed in the middle of heavy committing: what it had said to be written is there afterwards, and all of it
//! fits together.

use crate::durable::House;
use crate::schedules::{folded, follows, random_input};
use crate::subject::{first, fleet, key, next, options, run, submission};
use callboard::store::{Clock, Committed, SqliteStore, Store};
use callboard::testkit::TestClock;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const ROOM: &str = "CALLBOARD_TEST_CRASH_ROOM";

/// The part of the process that is to be killed; does nothing in an ordinary run.
#[test]
fn commits_until_it_is_killed() {
    let Ok(room) = std::env::var(ROOM) else { return };
    let clock = std::sync::Arc::new(TestClock::default());
    let mut options = options(room.into(), &clock);
    options.checkpoint_pages = 64;
    let store = SqliteStore::open(options).unwrap();
    run(join_all((0..16).map(|lane| commit_for_ever(&store, &clock, lane))));
}

async fn commit_for_ever(store: &SqliteStore, clock: &TestClock, lane: u64) {
    let mut random = fastrand::Rng::with_seed(lane ^ u64::from(std::process::id()));
    for n in 0.. {
        let id = format!("{}-{lane}-{n}", std::process::id());
        let mut commit = first(&submission(&key(&id), "why?"), &fleet(1), clock.now());
        for _ in 0..12 {
            let task = commit.task.clone();
            assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
            // One write, so that a line is never cut by what comes between.
            std::io::stdout().write_all(format!("said {id} {}\n", task.version).as_bytes()).unwrap();
            clock.advance(random.u64(0..50));
            let input = random_input(&mut random, &task);
            let Some(after) = next(&task, input, &fleet(1), store.now()) else { break };
            commit = after;
        }
    }
}

#[test]
fn what_was_said_to_be_written_survives_a_kill() {
    let house = House::new();
    let mut said: HashMap<String, u64> = HashMap::new();
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::commits_until_it_is_killed", "--nocapture"])
            .env(ROOM, house.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after so many answers, which is in the middle of whatever comes next.
        let after = random.usize(1..600);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut answered = 0;
        let mut note = |line: String| {
            let mut words = line.split("said ").nth(1).into_iter().flat_map(|rest| rest.split(' '));
            if let (Some(id), Some(Ok(version))) = (words.next(), words.next().map(str::parse)) {
                said.insert(id.to_owned(), version);
                return 1;
            }
            0
        };
        while answered < after {
            answered += note(lines.next().expect("the child goes on until it is killed"));
        }
        child.kill().unwrap();
        lines.for_each(|line| _ = note(line));
        child.wait().unwrap();
        house.clock.advance(365 * 24 * 3_600_000);
        let store = house.open();
        run(async {
            for (id, version) in &said {
                let kept = store.load(&key(id)).await.unwrap().map_or(0, |task| task.version);
                assert!(kept >= *version, "round {round}: {id} was said to be at {version} and is at {kept}");
            }
            let query = callboard::store::ListQuery { tenant: None, status: None, before: None, limit: 1_000_000 };
            let keys: Vec<_> = store.list(query).await.unwrap().tasks.into_iter().map(|task| task.key).collect();
            let tasks = folded(&store, &keys).await;
            let open = tasks.iter().filter(|task| task.end.is_none()).count();
            assert_eq!(store.stats().open_tasks, open as u64);
            follows(&store, &tasks).await;
        });
    }
    assert!(said.len() > 20);
}
