//! A whole Callboard in a test's own process, with a given team, model, store and faults. Its time is paused: it passes by
//! itself, at once and only while nothing else can happen, so that nobody ever sleeps; and it ends with the test.

use super::{Audit, FaultyStore, Log, Scripted, StoreFaults, TestClock};
use crate::actors::{NodeView, run};
use crate::agents::Agent;
use crate::llm::Provider;
use crate::messages::{CallContext, Cancel};
use crate::node::{Answer, Callboard, Replacements, Serve};
use crate::settings::Settings;
use crate::store::{MemoryStore, SqliteOptions, SqliteStore, Store};
use crate::task::{Submission, Task, TaskId, TaskKey};
use crate::team::{Kinds, Team, TeamMember};
use std::sync::Arc;
use std::time::Duration;

/// How long a test's company waits for anything, in its own time: longer than any task has by default.
pub const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// How long running steps may finish when the test is over.
const GRACE: Duration = Duration::from_secs(5);
/// The question of a task that is submitted without one.
const QUESTION: &str = "why?";

/// What a company is to be; nothing runs yet. By default: the team of four, whose every step asks a model that always
/// answers, in memory.
#[derive(Default)]
pub struct TestCompany {
    settings: Vec<(&'static str, String)>,
    team: Option<String>,
    own: Vec<TeamMember>,
    without: Vec<String>,
    model: Scripted,
    faults: StoreFaults,
    is_sqlite: bool,
}

/// A company at work.
pub struct Company {
    callboard: Callboard,
    model: Scripted,
    faults: StoreFaults,
    clock: Arc<TestClock>,
}

// === impl TestCompany ===

impl TestCompany {
    /// One setting, by its name in the settings' file.
    pub fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Another team than the default one: the text of its file. Other files that it names are looked for where the test
    /// runs.
    pub fn team(self, file: &str) -> Self {
        Self { team: Some(file.to_owned()), ..self }
    }

    /// The model that every agent thinks with.
    pub fn model(self, model: Scripted) -> Self {
        Self { model, ..self }
    }

    /// An agent for a capability, in place of those that the team had for it.
    ///
    /// # Panics
    /// When the capability cannot be one.
    pub fn agent(self, capability: &str, agent: impl Agent) -> Self {
        let member = TeamMember::new(&format!("agent-{capability}"), capability, agent);
        self.member(member.unwrap_or_else(|error| panic!("{error}")))
    }

    /// The same, with all that can be said of an agent.
    pub fn member(mut self, member: TeamMember) -> Self {
        self.own.push(member);
        self
    }

    /// Nobody can do this.
    pub fn without(mut self, capability: &str) -> Self {
        self.without.push(capability.to_owned());
        self
    }

    /// What goes wrong in the store. A clone of them stays with the test.
    pub fn faults(self, faults: &StoreFaults) -> Self {
        Self { faults: faults.clone(), ..self }
    }

    /// Keeps the tasks in a SQLite file of its own instead of in memory.
    pub fn sqlite(self) -> Self {
        Self { is_sqlite: true, ..self }
    }

    /// Runs a company, lets the test work with it, and stops it.
    ///
    /// # Panics
    /// When it cannot be started or does not stop in order; and as the test does.
    pub fn run<T>(self, test: impl AsyncFnOnce(&Company) -> T) -> T {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let over = run(async {
            tokio::time::pause();
            let company = self.start(folder.path()).await;
            let output = test(&company).await;
            company.callboard.stop(GRACE).await.expect("the store closes in order");
            output
        });
        over.expect("a runtime for the company")
    }

    async fn start(self, folder: &std::path::Path) -> Company {
        let mut choices = vec![("store", "memory:"), ("provider", "mock")];
        choices.extend(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        let settings = Settings::with(&choices).unwrap_or_else(|error| panic!("{error}"));
        let clock = Arc::new(TestClock::default());
        clock.follow();
        let store: FaultyStore = if self.is_sqlite {
            let options = SqliteOptions {
                durability: settings.durability,
                clock: clock.clone(),
                faults: self.faults.statements().clone(),
                ..SqliteOptions::new(folder.join("callboard.db"))
            };
            let store = SqliteStore::open(options).unwrap_or_else(|error| panic!("{error}"));
            FaultyStore::new(Arc::new(store), self.faults.clone()).elsewhere()
        } else {
            FaultyStore::new(Arc::new(MemoryStore::new(clock.clone())), self.faults.clone())
        };
        let provider: Arc<dyn Provider> = Arc::new(self.model.clone());
        // The clock that is paused is one thread's.
        let own = Replacements { store: Some(Arc::new(store)), provider: Some(provider), on_one_thread: true };
        let team = team(&settings, self.team.as_deref(), self.own, &self.without);
        let callboard = Callboard::start_with(&settings, team, Serve::Nothing, own).await;
        let callboard = callboard.unwrap_or_else(|error| panic!("{error}"));
        Company { callboard, model: self.model, faults: self.faults, clock }
    }
}

/// The team, with the test's own members in the places that they take.
fn team(settings: &Settings, file: Option<&str>, own: Vec<TeamMember>, without: &[String]) -> Team {
    let team =
        file.map_or_else(|| Team::of(settings), |text| Team::from_text(text, "team.toml", settings, &Kinds::default()));
    let mut team = team.unwrap_or_else(|error| panic!("{error}"));
    let is_taken = |member: &TeamMember| {
        member.capabilities.iter().any(|capability| {
            own.iter().any(|own| own.capabilities.contains(capability))
                || without.iter().any(|without| without == capability.as_str())
        })
    };
    team.members.retain(|member| !is_taken(member));
    team.members.extend(own);
    team
}

// === impl Company ===

impl Company {
    /// All of it.
    pub fn callboard(&self) -> &Callboard {
        &self.callboard
    }

    /// Its store, through the faults.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.callboard.store()
    }

    /// Its model.
    pub fn model(&self) -> &Scripted {
        &self.model
    }

    /// What goes wrong in its store.
    pub fn faults(&self) -> &StoreFaults {
        &self.faults
    }

    /// The clock that its store judges by.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    // === Tasks ===

    /// Hands in a task with this id and the question "why?".
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn submit(&self, id: &str) -> TaskKey {
        self.ask(id, QUESTION).await
    }

    /// Hands in a task with this id and question.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn ask(&self, id: &str, question: &str) -> TaskKey {
        self.hand_in(Submission::new(TaskId::trusted(id), question)).await.key.clone()
    }

    /// Hands in as many tasks at once, named `t-0` and so on.
    ///
    /// # Panics
    /// When one is not taken.
    pub async fn submit_many(&self, count: usize) -> Vec<TaskKey> {
        let ids: Vec<_> = (0..count).map(|nth| format!("t-{nth}")).collect();
        futures_util::future::join_all(ids.iter().map(|id| self.submit(id))).await
    }

    /// Hands in a task with all that can be said of one.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn hand_in(&self, submission: Submission) -> Arc<Task> {
        self.callboard.hand_in(submission).await.unwrap_or_else(|error| panic!("it was not taken: {error}"))
    }

    /// Cancels a task.
    ///
    /// # Panics
    /// When it cannot be cancelled.
    pub async fn cancel(&self, key: &TaskKey, reason: &str) -> Arc<Task> {
        let cancel = Cancel { key: key.clone(), reason: reason.into() };
        let asked = self.callboard.cancel().ask(cancel, CallContext::default(), PATIENCE).await;
        let cancelled = asked.unwrap_or_else(|error| panic!("it was not cancelled: {error}"));
        cancelled.unwrap_or_else(|error| panic!("it was not cancelled: {error}"))
    }

    /// Waits until a task is as it should be.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`], with its log.
    pub async fn until(&self, key: &TaskKey, done: impl Fn(&Task) -> bool) -> Arc<Task> {
        let waited = tokio::time::timeout(PATIENCE, self.until_it_is(key, done)).await;
        match waited {
            Ok(task) => task,
            Err(_) => panic!("task {}: it hangs\n{}", key.id, self.log(key).await),
        }
    }

    async fn until_it_is(&self, key: &TaskKey, done: impl Fn(&Task) -> bool) -> Arc<Task> {
        let mut wake = self.store().wake(key);
        loop {
            // A store in trouble says so now and is asked again.
            if let Ok(task) = self.store().load(key).await {
                let task = task.unwrap_or_else(|| panic!("there is no task {key}"));
                if done(&task) {
                    return task;
                }
            }
            let changed = tokio::time::timeout(Duration::from_secs(1), wake.changed()).await;
            assert!(!matches!(changed, Ok(Err(_))), "the store was closed");
        }
    }

    /// Waits until a task has ended.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(&self, key: &TaskKey) -> Arc<Task> {
        self.until(key, |task| task.end.is_some()).await
    }

    /// Waits until all of them have ended, and gives their logs.
    ///
    /// # Panics
    /// When one does not.
    pub async fn all_ended(&self, keys: &[TaskKey]) -> Vec<Log> {
        let mut logs = Vec::new();
        for key in keys {
            self.ended(key).await;
            logs.push(self.log(key).await);
        }
        logs
    }

    /// Waits for a task's answer.
    ///
    /// # Panics
    /// When there is none, with the task's log.
    pub async fn answer(&self, key: &TaskKey) -> Answer {
        self.ended(key).await;
        match self.callboard.answer(key).await {
            Ok(answer) => answer,
            Err(error) => panic!("task {}: {error}\n{}", key.id, self.log(key).await),
        }
    }

    /// A task's log as it stands.
    ///
    /// # Panics
    /// When there is no such task.
    pub async fn log(&self, key: &TaskKey) -> Log {
        Log::read(&**self.store(), key).await
    }

    /// Looks through the whole store.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn audit(&self) -> Audit {
        self.settle().await;
        Audit::of(&**self.store()).await.unwrap_or_else(|error| panic!("the store cannot be read: {error}"))
    }

    // === Time ===

    /// Lets time pass, with all that falls due in it.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.settle().await;
    }

    /// Lets everything happen that needs no time.
    pub async fn settle(&self) {
        // Time passes only when nothing else can be done.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    // === Actors ===

    /// Makes an actor crash, by its path in the tree: `root/master`, `root/agents/agent-analyze`. One that is down from
    /// an earlier crash does so as soon as it is up again. A running step or model call can be killed as well.
    ///
    /// # Panics
    /// When there is no such actor.
    pub async fn kill(&self, path: &str) {
        let before = self.restarts(path);
        while self.find(path).is_some_and(|view| view.restarts == before) {
            self.callboard.tree().kill(path);
            self.settle().await;
        }
    }

    /// How often an actor has started over, by its path.
    ///
    /// # Panics
    /// When there is no such actor.
    pub fn restarts(&self, path: &str) -> u32 {
        self.find(path).unwrap_or_else(|| panic!("there is no actor {path} in {:#?}", self.paths())).restarts
    }

    fn find(&self, path: &str) -> Option<NodeView> {
        self.views().into_iter().find(|(at, _)| at == path).map(|(_, view)| view)
    }

    /// Waits until that many steps run, over all agents.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn until_steps_run(&self, count: usize) {
        let running = || {
            let is_step = |path: &str| path.starts_with("root/agents/") && path.split('/').count() == 4;
            self.paths().into_iter().filter(|path| is_step(path)).count()
        };
        let reached = async {
            while running() != count {
                self.settle().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        assert!(waited.is_ok(), "{count} steps should run, and {} do: {:#?}", running(), self.paths());
    }

    /// The path of everything that lives: actors, running steps, model calls.
    pub fn paths(&self) -> Vec<String> {
        self.views().into_iter().map(|(path, _)| path).collect()
    }

    fn views(&self) -> Vec<(String, NodeView)> {
        fn walk(path: String, view: NodeView, found: &mut Vec<(String, NodeView)>) {
            for child in &view.children {
                walk(format!("{path}/{}", child.name), child.clone(), found);
            }
            found.push((path, view));
        }
        let mut found = Vec::new();
        let root = self.callboard.tree().snapshot();
        walk(root.name.clone(), root, &mut found);
        found
    }
}
