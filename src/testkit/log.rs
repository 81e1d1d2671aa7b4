//! Assertions over one task's log and state. Each that does not hold panics with what was found instead, and prints the
//! whole log, a line an event.

use crate::store::Store;
use crate::task::{At, AttemptEnd, Event, EventKind, Status, Step, StepState, Task, TaskKey, TaskOutcome, replay};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// How many events are read at once.
const PAGE: usize = 256;

/// A task and its events at one moment. Assertions give the log back, so that they can be written in a row.
#[derive(Clone)]
pub struct Log {
    task: Arc<Task>,
    events: Vec<Event>,
}

/// One step of it. What is asserted of the whole log can be asserted here as well.
#[derive(Clone)]
pub struct StepLog<'a> {
    log: &'a Log,
    position: usize,
}

// === impl Log ===

impl Log {
    /// Reads a task's log, until it holds as many events as the state does.
    ///
    /// # Panics
    /// When there is no such task, or the store cannot be read.
    pub async fn read(store: &dyn Store, key: &TaskKey) -> Self {
        Self::find(store, key).await.unwrap_or_else(|| panic!("there is no task {key}"))
    }

    /// The same; none when there is no such task.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn find(store: &dyn Store, key: &TaskKey) -> Option<Self> {
        let mut events = Vec::new();
        loop {
            let after = events.len() as u64;
            let page = store.events(key, after, PAGE).await.unwrap_or_else(|error| panic!("{key}: {error}"))?;
            let is_last = page.len() < PAGE;
            events.extend(page);
            if is_last {
                break;
            }
        }
        let task = store.load(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        // What was committed, or removed, between the two reads is not of this moment.
        match task {
            Some(task) if task.version <= events.len() as u64 => Some(Self { task, events }),
            _ => Box::pin(Self::find(store, key)).await,
        }
    }

    /// The task's state.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Its events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many events of a kind there are, such as `step_backed_off`.
    pub fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.kind.name() == kind).count()
    }

    /// What is wrong with the log as such: a number is missing or twice, a result was counted twice, an attempt was made
    /// twice, or the events do not fold to the state.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(self.gap());
        faults.extend(self.counted_twice());
        match replay(&self.task.key, &self.events) {
            Ok(folded) if folded == *self.task => {}
            Ok(_) => faults.push("its events do not fold to its state".to_owned()),
            Err(error) => faults.push(format!("its events cannot be folded: {error}")),
        }
        faults
    }

    fn gap(&self) -> Option<String> {
        let mut expected = 1..;
        let found = self.events.iter().find(|event| Some(event.seq) != expected.next())?;
        Some(format!("the numbers of its events have a gap or repeat before {}", found.seq))
    }

    fn counted_twice(&self) -> Option<String> {
        let mut counted = BTreeMap::new();
        let mut placed = BTreeMap::new();
        for event in &self.events {
            match &event.kind {
                EventKind::StepSucceeded { step, .. } => *counted.entry(*step).or_insert(0) += 1,
                EventKind::StepPlaced { step, attempt, .. } => *placed.entry((*step, *attempt)).or_insert(0) += 1,
                _ => {}
            }
        }
        let name = |step: &crate::task::StepIndex| self.task.plan.step(*step).id.clone();
        if let Some((step, count)) = counted.iter().find(|(_, count)| **count > 1) {
            return Some(format!("the result of {} was counted {count} times", name(step)));
        }
        let ((step, attempt), count) = placed.iter().find(|(_, count)| **count > 1)?;
        Some(format!("attempt {attempt} of {} was placed {count} times", name(step)))
    }

    #[track_caller]
    fn require(&self, holds: bool, what: impl fmt::Display) -> &Self {
        if !holds {
            panic!("task {}: {what}\n{self}", self.task.key.id);
        }
        self
    }

    /// It has this status.
    #[track_caller]
    pub fn has(&self, status: Status) -> &Self {
        let found = self.task.status();
        self.require(found == status, format_args!("it should be {}, and is {}", status.name(), found.name()))
    }

    /// It succeeded.
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        self.has(Status::Succeeded)
    }

    /// It was cancelled.
    #[track_caller]
    pub fn cancelled(&self) -> &Self {
        self.has(Status::Cancelled)
    }

    /// It failed, with these words in its message.
    #[track_caller]
    pub fn failed(&self, words: &str) -> &Self {
        self.has(Status::Failed);
        let message = match self.task.end.as_ref().map(|end| &end.outcome) {
            Some(TaskOutcome::Failed(failure)) => failure.message.clone(),
            _ => "".into(),
        };
        self.require(message.contains(words), format_args!("it should say {words:?}, and says {message:?}"))
    }

    /// It took about that long from its acceptance to its last event: at least that, and less than `most`.
    #[track_caller]
    pub fn took(&self, least: Duration, most: Duration) -> &Self {
        let took = Duration::from_millis(self.task.updated_at.since(self.task.accepted_at));
        let what = format_args!("it should take {least:?} to {most:?}, and took {took:?}").to_string();
        self.require(took >= least && took < most, what)
    }

    /// Its events are numbered from 1 without a gap.
    #[track_caller]
    pub fn gapless(&self) -> &Self {
        let gap = self.gap();
        self.require(gap.is_none(), gap.unwrap_or_default())
    }

    /// No step's result was counted twice, and no attempt was placed twice.
    #[track_caller]
    pub fn no_result_counted_twice(&self) -> &Self {
        let twice = self.counted_twice();
        self.require(twice.is_none(), twice.unwrap_or_default())
    }

    /// All of the above, and its events fold to its state.
    #[track_caller]
    pub fn sound(&self) -> &Self {
        let faults = self.faults();
        self.require(faults.is_empty(), faults.join("; "))
    }

    /// The step for a capability, or of a name; the first one where there are more.
    #[track_caller]
    pub fn step(&self, name: &str) -> StepLog<'_> {
        let steps = self.task.plan.steps();
        let position = steps.iter().position(|step| step.capability.as_str() == name || step.id.as_str() == name);
        self.require(position.is_some(), format_args!("it has no step {name:?}"));
        StepLog { log: self, position: position.unwrap_or_default() }
    }
}

// === impl StepLog ===

impl StepLog<'_> {
    /// How it stands.
    pub fn state(&self) -> &Step {
        &self.log.task.steps[self.position]
    }

    fn name(&self) -> &str {
        self.log.task.plan.steps()[self.position].capability.as_str()
    }

    #[track_caller]
    fn require(&self, holds: bool, what: impl fmt::Display) -> &Self {
        self.log.require(holds, format_args!("{}: {what}", self.name()));
        self
    }

    #[track_caller]
    fn counts(&self, what: &str, expected: usize, found: usize) -> &Self {
        self.require(expected == found, format_args!("it should have {expected} {what}, and has {found}"))
    }

    #[track_caller]
    fn is(&self, state: &str) -> &Self {
        let found = self.state().state.name();
        self.require(found == state, format_args!("it should be {state}, and is {found}"))
    }

    /// It was assigned that often.
    #[track_caller]
    pub fn attempts(&self, count: usize) -> &Self {
        self.counts("attempts", count, self.state().attempts.len())
    }

    /// That many of them failed or took too long.
    #[track_caller]
    pub fn failures(&self, count: u32) -> &Self {
        self.counts("failures", count as usize, self.state().failures as usize)
    }

    /// That many of them panicked.
    #[track_caller]
    pub fn crashes(&self, count: u32) -> &Self {
        self.counts("crashes", count as usize, self.state().crashes as usize)
    }

    /// That many of them were lost for no fault of theirs.
    #[track_caller]
    pub fn losses(&self, count: u32) -> &Self {
        self.counts("losses", count as usize, self.state().losses as usize)
    }

    /// Its n-th attempt, from 1, ended in this way: `failed`, `fatal`, `timed_out`, `crashed`, `lost` or `superseded`.
    #[track_caller]
    pub fn attempt_ended(&self, nth: usize, how: &str) -> &Self {
        let attempt = nth.checked_sub(1).and_then(|at| self.state().attempts.get(at));
        let end = attempt.and_then(|attempt| attempt.ended.as_ref());
        let found = end.map_or("not ended without success", |(_, end)| end_name(end));
        self.require(found == how, format_args!("attempt {nth} should be {how}, and is {found}"))
    }

    /// It is done.
    #[track_caller]
    pub fn done(&self) -> &Self {
        self.is("succeeded")
    }

    /// It was left out.
    #[track_caller]
    pub fn skipped(&self) -> &Self {
        self.is("skipped")
    }

    /// Its result came from this agent.
    #[track_caller]
    pub fn done_by(&self, agent: &str) -> &Self {
        self.done();
        let attempt = match self.state().state {
            StepState::Succeeded { attempt, .. } => self.state().attempt(attempt),
            _ => None,
        };
        let found = attempt.map_or("nobody", |attempt| attempt.agent.as_str());
        self.require(found == agent, format_args!("it should be done by {agent}, and was by {found}"))
    }
}

impl Deref for StepLog<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        self.log
    }
}

// === For people ===

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.events.first().map_or(At(0), |event| event.at);
        writeln!(f, "its log, in milliseconds since its acceptance:")?;
        for event in &self.events {
            let line = format!("{:>4} {:>9} ms  {:<15}", event.seq, event.at.since(first), event.kind.name());
            writeln!(f, "{line} {}", self.detail(&event.kind))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Log {
    fn detail(&self, kind: &EventKind) -> String {
        let step = |index: &crate::task::StepIndex| self.task.plan.step(*index).capability.clone();
        match kind {
            EventKind::Accepted { summary, .. } => format!("{summary:?}"),
            EventKind::Planned { plan } => format!("{} steps", plan.steps().len()),
            EventKind::StepPlaced { step: at, attempt, agent, .. } => format!("{} #{attempt} with {agent}", step(at)),
            EventKind::StepQueued { step: at, agent_absent: true, .. } => format!("{}, without an agent", step(at)),
            EventKind::StepQueued { step: at, .. } | EventKind::StepBackedOff { step: at, .. } => step(at).to_string(),
            EventKind::AttemptEnded { step: at, attempt, end } => {
                format!("{} #{attempt} {}{}", step(at), end_name(end), end_words(end))
            }
            EventKind::StepSucceeded { step: at, attempt, agent, .. } => {
                format!("{} #{attempt} by {agent}", step(at))
            }
            EventKind::StepFailed { step: at, failure } => format!("{}: {}", step(at), failure.message),
            EventKind::StepSkipped { step: at, reason } => format!("{}: {reason}", step(at)),
            EventKind::TaskFailed { failure } => failure.message.to_string(),
            EventKind::TaskCancelled { reason } => reason.to_string(),
            EventKind::TaskSucceeded { .. } => String::new(),
        }
    }
}

fn end_name(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Failed(_) => "failed",
        AttemptEnd::Fatal(_) => "fatal",
        AttemptEnd::TimedOut => "timed_out",
        AttemptEnd::Crashed(_) => "crashed",
        AttemptEnd::Lost(_) => "lost",
        AttemptEnd::Superseded => "superseded",
    }
}

fn end_words(end: &AttemptEnd) -> String {
    match end {
        AttemptEnd::Failed(failure) | AttemptEnd::Fatal(failure) | AttemptEnd::Crashed(failure) => {
            format!(": {}", failure.message)
        }
        AttemptEnd::Lost(loss) => format!(", because of {}", loss.name()),
        AttemptEnd::TimedOut | AttemptEnd::Superseded => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::task::{AttemptNo, Event, EventKind, StepIndex};
    use crate::testkit::{Log, Scripted, TestCompany, when};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    fn log() -> Log {
        let model = Scripted::default().line(when("evaluate").nth(1).fails()).line(when("finalize").panics());
        TestCompany::default().model(model).run(async |company| {
            let task = company.submit("t-1").await;
            company.ended(&task).await;
            company.log(&task).await
        })
    }

    /// What an assertion says that does not hold.
    fn words<T>(assertion: impl FnOnce() -> T) -> String {
        let panic = catch_unwind(AssertUnwindSafe(assertion)).err().expect("it should not hold");
        panic.downcast_ref::<String>().cloned().expect("it says why")
    }

    #[test]
    fn what_holds_is_passed_over_in_a_row() {
        let log = log();
        log.succeeded().sound().step("evaluate").attempts(2).failures(1).attempt_ended(1, "failed").done().gapless();
        log.step("t-1-P3").done_by("agent-evaluate").no_result_counted_twice();
        log.step("finalize").skipped().crashes(3).losses(0).attempt_ended(3, "crashed");
    }

    #[test]
    fn what_does_not_hold_says_what_was_found_and_shows_the_log() {
        let log = log();
        let cases: [(&str, String); 9] = [
            ("task t-1: it should be cancelled, and is succeeded", words(|| log.cancelled().task().clone())),
            ("it should be failed, and is succeeded", words(|| log.failed("x").task().clone())),
            ("it has no step \"dream\"", words(|| log.step("dream").state().clone())),
            ("evaluate: it should have 3 attempts, and has 2", words(|| log.step("evaluate").attempts(3).count(""))),
            ("evaluate: it should have 0 failures, and has 1", words(|| log.step("evaluate").failures(0).count(""))),
            (
                "attempt 1 should be lost, and is failed",
                words(|| log.step("evaluate").attempt_ended(1, "lost").count("")),
            ),
            (
                "attempt 2 should be lost, and is not ended",
                words(|| log.step("evaluate").attempt_ended(2, "lost").count("")),
            ),
            ("by bob, and was by agent-evaluate", words(|| log.step("evaluate").done_by("bob").count(""))),
            ("it should take 1h to", words(|| log.took(Duration::from_secs(3600), Duration::MAX).count(""))),
        ];
        for (expected, words) in cases {
            let expected = expected.replace("1h", "3600s");
            assert!(words.contains(&expected), "{expected}: {words}");
            assert!(words.contains("step_placed     evaluate #2 with agent-evaluate"), "{words}");
        }
    }

    #[test]
    fn broken_logs_are_found() {
        let sound = log();
        let at = |kind: &str| sound.events.iter().position(|event| event.kind.name() == kind).expect("it is there");
        let with = |change: &dyn Fn(&mut Vec<Event>)| {
            let mut log = sound.clone();
            change(&mut log.events);
            log
        };
        let gap = with(&|events| drop(events.remove(at("step_backed_off"))));
        assert!(words(|| gap.gapless().count("")).contains("have a gap or repeat before"));
        assert!(words(|| gap.sound().count("")).contains("cannot be folded"), "{:?}", gap.faults());
        let twice = with(&|events| events.push(events[at("step_succeeded")].clone()));
        assert!(
            words(|| twice.no_result_counted_twice().count("")).contains("the result of t-1-P1 was counted 2 times")
        );
        let placed = with(&|events| events.push(events[at("step_placed")].clone()));
        assert!(
            words(|| placed.no_result_counted_twice().count("")).contains("attempt 1 of t-1-P1 was placed 2 times")
        );
        let other = with(&|events| {
            if let EventKind::StepSucceeded { step, attempt, .. } = &mut events[at("step_succeeded")].kind {
                (*step, *attempt) = (StepIndex(0), AttemptNo(1));
            }
            let last = events.len() - 1;
            events[last].at = events[last].at.plus(1);
        });
        assert_eq!(other.faults(), ["its events do not fold to its state"]);
    }
}
