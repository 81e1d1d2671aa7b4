//! What released schemas left behind must be read for ever. `tests/fixtures/schema-<n>/` holds logs with their folded
//! states and a small database, written by the version that brought schema n. Never write one again: a change that needs
//! that would strand every stored task. A new schema gets a folder of its own, by the ignored test below.

use crate::durable::House;
use crate::schedules::{folded, follows};
use crate::subject::{
    START, agent, capability, commit_id, fleet, incarnation, key, next, report, run, step, submission, succeeded,
};
use callboard::store::{Commit, Committed, Store, SubmissionRecord};
use callboard::task::{
    At, AttemptEnd, AttemptNo, ErrorCode, Event, Failure, Fleet, Input, Json, Limits, Loss, Member, Outcome, Payload,
    Pipeline, Priority, Report, SCHEMA, Task, TimerId, World, accept, effects, replay, timers,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Log {
    state: Task,
    events: Vec<Event>,
}

fn folder(schema: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}"))
}

fn logs(schema: u16) -> Vec<Log> {
    serde_json::from_str(&std::fs::read_to_string(folder(schema).join("logs.json")).unwrap()).unwrap()
}

#[test]
fn every_schema_has_its_fixture() {
    for schema in 1..=SCHEMA {
        assert!(folder(schema).is_dir(), "schema {schema} has none");
    }
}

#[test]
fn old_logs_fold_to_the_states_stored_with_them() {
    for schema in 1..=SCHEMA {
        for log in logs(schema) {
            assert_eq!(replay(&log.state.key, &log.events).as_ref(), Ok(&log.state));
        }
    }
}

#[test]
fn the_logs_of_schema_1_hold_every_kind_of_event_and_of_ending() {
    let logs = logs(1);
    let kinds: BTreeSet<_> = logs.iter().flat_map(|log| &log.events).map(|event| event.kind.name()).collect();
    let expected = [
        "accepted",
        "attempt_ended",
        "planned",
        "step_backed_off",
        "step_failed",
        "step_placed",
        "step_queued",
        "step_skipped",
        "step_succeeded",
        "task_cancelled",
        "task_failed",
        "task_succeeded",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    let text = serde_json::to_string(&logs).unwrap();
    for ending in ["failed", "fatal", "timed_out", "crashed", "lost", "superseded"] {
        assert!(
            text.contains(&format!(r#""end":{{"{ending}""#)) || text.contains(&format!(r#""end":"{ending}""#)),
            "{ending}"
        );
    }
    for loss in ["refused", "drained", "agent_restarted", "lease_expired", "unreachable"] {
        assert!(text.contains(&format!(r#"{{"lost":"{loss}"}}"#)), "{loss}");
    }
}

#[test]
fn an_old_database_is_read_and_goes_on() {
    for schema in 1..=SCHEMA {
        let house = House::new();
        std::fs::copy(folder(schema).join("callboard.db"), house.path()).unwrap();
        let store = house.open();
        run(async {
            let mut keys = Vec::new();
            for log in logs(schema) {
                assert_eq!(store.load(&log.state.key).await.unwrap().as_deref(), Some(&log.state));
                assert_eq!(store.events(&log.state.key, 0, 1000).await, Ok(Some(log.events)));
                keys.push(log.state.key);
            }
            assert_eq!(
                store.payload(&key("stored"), "request").await.unwrap().map(|json| json.bytes() > 2048),
                Some(true)
            );
            let open = store.load(&key("stored")).await.unwrap().unwrap();
            let commit = next(&open, Input::Claim(step("stored", 1)), &fleet(1), At(START + 1000)).unwrap();
            assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
            house.clock.advance(365 * 24 * 3_600_000);
            follows(&store, &folded(&store, &keys).await).await;
        });
    }
}

// === Writing one, once ===

struct Author {
    task: Task,
    commits: Vec<Commit>,
    now: At,
}

impl Author {
    fn accept(id: &str, objective: &str, slots: u32) -> Self {
        let mut submission = submission(&key(id), objective);
        submission.options.priority = Priority::High;
        let limits = Limits { backoff_ms: 10, max_crashes: 4, max_attempts: 4, ..Limits::default() };
        let plan = Pipeline::standard(limits).plan(&submission.key.id).unwrap();
        let (request, large) = Payload::of(Json::of(&submission.request).unwrap(), || "request".into());
        let decision = accept(&submission, request, plan, World { now: At(START), seed: 1, fleet: &team(slots) });
        let record = SubmissionRecord {
            digest: submission.digest().unwrap(),
            id_given: true,
            idempotency_key: None,
            max_open: 100,
        };
        let commit = Commit {
            id: commit_id(),
            key: submission.key,
            expected: 0,
            expected_at: At(0),
            effects: effects(None, &decision.task).into(),
            events: decision.events.into(),
            task: Arc::new(decision.task.clone()),
            slots: Vec::new(),
            payloads: large.into_iter().collect(),
            submission: Some(record),
        };
        Self { task: decision.task, commits: vec![commit], now: At(START) }
    }

    fn feed(&mut self, input: Input, slots: u32) -> &mut Self {
        self.now = self.now.plus(100);
        let commit = next(&self.task, input.clone(), &team(slots), self.now).unwrap_or_else(|| panic!("{input:?}"));
        self.task = (*commit.task).clone();
        self.commits.push(commit);
        self
    }

    fn end(&mut self, number: u32, end: AttemptEnd) -> &mut Self {
        let step = step(self.task.key.id.as_str(), number);
        self.feed(report(step, Outcome::Ended(end)), 1)
    }

    /// Fires whatever timer the first open step waits for.
    fn fire(&mut self, slots: u32) -> &mut Self {
        let timer = *timers(&self.task).iter().find(|timer| timer.id != TimerId::Deadline).unwrap();
        self.feed(Input::TimerFired(timer.id), slots)
    }
}

fn team(slots: u32) -> Fleet {
    let mut fleet = Fleet::new(15_000);
    let capabilities = ["analyze", "retrieve", "evaluate"].map(capability).to_vec();
    if slots > 0 {
        let member = Member::new(incarnation("i1"), capabilities, slots);
        fleet.join(agent("ann"), member, At(START));
    }
    fleet
}

fn lives() -> Vec<Author> {
    let failure = || Failure::new(ErrorCode::Crashed, "it broke");
    let mut whole = Author::accept("whole", "why?", 0);
    whole.feed(Input::Claim(step("whole", 1)), 1).end(1, AttemptEnd::Failed(failure())).fire(1);
    whole.end(1, AttemptEnd::Crashed(failure())).fire(1).fire(1).fire(1);
    for loss in [Loss::Drained, Loss::AgentRestarted, Loss::LeaseExpired] {
        whole.end(1, AttemptEnd::Lost(loss));
    }
    for loss in [Loss::Refused, Loss::Unreachable] {
        whole.end(1, AttemptEnd::Lost(loss)).fire(1);
    }
    let output = Payload::Inline(Json::from_text(r#"{"a": [1, 2.5, "ü"]}"#.into()).unwrap());
    let first_attempt = Report {
        step: step("whole", 1),
        agent: agent("ann"),
        attempt: Some(AttemptNo(1)),
        outcome: Outcome::Succeeded(output),
    };
    whole.feed(Input::Report(first_attempt), 1);
    whole.feed(succeeded(step("whole", 2)), 1).feed(succeeded(step("whole", 3)), 1);
    let mut failed = Author::accept("failed", "how?", 1);
    failed.end(1, AttemptEnd::Fatal(failure()));
    let mut cancelled = Author::accept("cancelled", "when?", 1);
    cancelled.feed(succeeded(step("cancelled", 1)), 1).feed(Input::Cancel("enough".into()), 1);
    let mut running = Author::accept("running", "who?", 1);
    running.feed(succeeded(step("running", 1)), 1);
    let mut pausing = Author::accept("pausing", "where?", 1);
    pausing.end(1, AttemptEnd::Failed(failure()));
    let stored = Author::accept("stored", &"long ".repeat(500), 0);
    vec![whole, failed, cancelled, running, pausing, stored]
}

#[test]
#[ignore = "writes the fixture of a new schema, once"]
fn write_the_fixture_of_a_new_schema() {
    let folder = folder(SCHEMA);
    assert!(!folder.exists(), "schema {SCHEMA} has its fixture: never write it again");
    let house = House::new();
    let store = house.open();
    let logs = run(async {
        let mut logs = Vec::new();
        for author in lives() {
            for commit in author.commits.clone() {
                assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
            }
            let events = author.commits.into_iter().flat_map(|commit| commit.events.to_vec()).collect();
            logs.push(Log { state: author.task, events });
        }
        store.close().await.unwrap();
        logs
    });
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(house.path(), folder.join("callboard.db")).unwrap();
    std::fs::write(folder.join("logs.json"), serde_json::to_string_pretty(&logs).unwrap()).unwrap();
}
