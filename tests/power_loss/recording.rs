//! The recording: a company at work over a store, in three lives of its process, the first of which is killed, while a
//! tracer writes down what reaches the system. Whatever somebody was told is said aloud, so that it has its place in there.

use crate::trace::{SAID, TRACED, Trace};
use callboard::node::{Callboard, Replacements, Serve};
use callboard::settings::Settings;
use callboard::store::{Durability, ListQuery, SqliteOptions, SqliteStore, Store};
use callboard::task::{Submission, TaskId, TaskKey, Tenant};
use callboard::team::Team;
use callboard::testkit::{Scripted, when};
use futures_util::future::{join, join_all};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ROOM: &str = "CALLBOARD_TEST_POWER_ROOM";
const STRICT: &str = "CALLBOARD_TEST_POWER_STRICT";
const LIFE: &str = "CALLBOARD_TEST_POWER_LIFE";

/// How many tasks each life of the process is handed.
const TASKS: [usize; 3] = [16, 16, 6];
/// Longer than anything takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn database(folder: &Path) -> PathBuf {
    folder.join("callboard.db")
}

/// The log is short, so that it is copied and begun anew every now and then.
pub fn options(folder: &Path, durability: Durability) -> SqliteOptions {
    SqliteOptions { durability, checkpoint_pages: 40, ..SqliteOptions::new(database(folder)) }
}

/// A company over this store, with this model.
pub async fn company(store: Arc<dyn Store>, model: Scripted) -> Callboard {
    let choices = [("provider", "mock"), ("slots", "3"), ("retry_pause", "5ms"), ("max_attempts", "9")];
    let settings = Settings::with(&[&choices[..], &[("store", "memory:"), ("max_crashes", "9")]].concat()).unwrap();
    let own = Replacements { store: Some(store), provider: Some(Arc::new(model)), on_one_thread: false };
    let team = Team::of(&settings).unwrap();
    Callboard::start_with(&settings, team, Serve::Nothing, own).await.unwrap()
}

// === What the tracer watches ===

/// One life of the process that is watched; does nothing in an ordinary run.
#[test]
fn lives() {
    let Ok(room) = std::env::var(ROOM) else { return };
    let durability = if std::env::var(STRICT).unwrap() == "true" { Durability::Strict } else { Durability::Relaxed };
    let life: usize = std::env::var(LIFE).unwrap().parse().unwrap();
    let room = PathBuf::from(room);
    let lived = callboard::actors::run(async {
        let store = Arc::new(SqliteStore::open(options(&room, durability)).unwrap());
        // What fails now and then makes the logs longer than the shortest way to an end.
        let model =
            Scripted::default().line(when("evaluate").every(4).fails()).line(when("retrieve").every(7).panics());
        let callboard = company(store, model).await;
        Client::new(&callboard, &room, life).lives().await;
        callboard.stop(PATIENCE).await.unwrap();
    });
    lived.unwrap();
}

/// Whoever uses the company, and says aloud what it is told.
struct Client<'a> {
    callboard: &'a Callboard,
    said: RefCell<File>,
    life: usize,
    ended: Cell<usize>,
}

impl<'a> Client<'a> {
    fn new(callboard: &'a Callboard, room: &Path, life: usize) -> Self {
        let said = RefCell::new(File::options().create(true).append(true).open(room.join(SAID)).unwrap());
        Self { callboard, said, life, ended: Cell::new(0) }
    }

    fn say(&self, what: &str) {
        // One call, so that the words have one place in the order of things.
        self.said.borrow_mut().write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    async fn lives(&self) {
        let tasks = join_all((0..TASKS[self.life]).map(|nth| self.follow(nth)));
        join(tasks, self.keep_listing()).await;
    }

    /// Hands a task in, twice at once, and reads along until it has ended.
    async fn follow(&self, nth: usize) {
        let key = key(&format!("life-{}-{nth}", self.life));
        // Every third one is too large to be kept with its task.
        let question = if nth.is_multiple_of(3) { "why? ".repeat(800) } else { "why?".to_owned() };
        let hand_in = async || {
            let taken = self.callboard.hand_in(Submission::new(key.id.clone(), question.as_str())).await.unwrap();
            self.say(&format!("read {} {}", key.id, taken.version));
            if taken.end.is_some() {
                self.say(&format!("ended {}", key.id));
            }
        };
        let rest = async {
            hand_in().await;
            if nth % 8 == 5 {
                self.cancel(&key).await;
            }
            self.read(&key).await;
        };
        join(rest, hand_in()).await;
        self.ended.set(self.ended.get() + 1);
        if self.life == 0 && self.ended.get() == TASKS[0] / 2 {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
    }

    async fn cancel(&self, key: &TaskKey) {
        let cancel = callboard::messages::Cancel { key: key.clone(), reason: "enough".into() };
        let asked = self.callboard.cancel().ask(cancel, Default::default(), PATIENCE).await.unwrap();
        // It may have ended before.
        if asked.is_ok() {
            self.say(&format!("ended {}", key.id));
        }
    }

    /// Reads its events as they come.
    async fn read(&self, key: &TaskKey) {
        let store = self.callboard.store();
        let mut wake = store.wake(key);
        let mut read = 0;
        loop {
            let events = store.events(key, read, 256).await.unwrap().unwrap();
            if let Some(last) = events.last() {
                read = last.seq;
                self.say(&format!("read {} {read}", key.id));
            }
            let task = store.load(key).await.unwrap().unwrap();
            if task.end.is_some() {
                self.say(&format!("ended {}", key.id));
            }
            if task.end.is_some() && read == task.version {
                return;
            }
            if task.version <= read {
                wake.changed().await.unwrap();
            }
        }
    }

    /// Somebody else lists all tasks over and over, also those that nobody has been answered for yet and those of earlier
    /// lives, until all have ended.
    async fn keep_listing(&self) {
        let mut told = BTreeSet::new();
        let mut is_over = false;
        while !is_over {
            let query = ListQuery { tenant: None, status: None, before: None, limit: 200 };
            let page = self.callboard.store().list(query).await.unwrap();
            is_over = self.ended.get() == TASKS[self.life] && page.tasks.iter().all(|task| task.status.ended());
            for task in &page.tasks {
                let word = if task.status.ended() { "ended" } else { "accepted" };
                if told.insert((word, task.key.clone())) {
                    self.say(&format!("{word} {}", task.key.id));
                }
            }
        }
    }
}

pub fn key(id: &str) -> TaskKey {
    TaskKey { tenant: Tenant::default(), id: TaskId::trusted(id) }
}

// === Watching ===

/// A recording, and the folder as the last life left it.
pub struct Recording {
    pub folder: tempfile::TempDir,
    pub trace: Trace,
    /// After how many steps each life was over.
    pub lives: Vec<usize>,
}

/// Lets all lives pass under the tracer; `over` is shown the recording and the folder after each of them.
pub fn record(durability: Durability, mut over: impl FnMut(&Trace, &Path)) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let room = folder.path().canonicalize().unwrap().join("room");
    std::fs::create_dir(&room).unwrap();
    let mut recording = Recording { folder, trace: Trace::default(), lives: Vec::new() };
    for life in 0..TASKS.len() {
        let file = recording.folder.path().join(format!("trace-{life}"));
        trace_life(&file, &room, durability, life);
        recording.trace.read(&file, &room);
        recording.lives.push(recording.trace.steps.len());
        over(&recording.trace, &room);
    }
    recording
}

fn trace_life(file: &Path, room: &Path, durability: Durability, life: usize) {
    let output = Command::new("strace")
        // Every thread; data whole and as digits; descriptors with their paths; only what is traced stops.
        .args(["-f", "-xx", "-y", "-s", "1000000000", "--seccomp-bpf", "-e", "signal=none", "-e", TRACED, "-o"])
        .arg(file)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "recording::lives", "--nocapture"])
        .env(ROOM, room)
        .env(STRICT, (durability == Durability::Strict).to_string())
        .env(LIFE, life.to_string())
        // The model panics on purpose.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("strace cannot be started ({error}): scripts/setup.sh installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = std::fs::metadata(file).map_or(0, |file| file.len());
    assert!(
        shown > 0 && room.join(SAID).exists(),
        "strace could not trace a process here, so nothing was tested; in a container it needs the capability \
         SYS_PTRACE. It said:\n{said}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    // The first life is killed, and the others end in good order.
    assert_eq!(output.status.success(), life > 0, "life {life}: {}\n{said}", output.status);
}
