//! A program in whatever language, started and watched: where it listens, what it prints, how it ends. Killed by its own id
//! when the test is over.

use crate::support::{PATIENCE, clean};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// What only the worker in Python reads; a tester's own must not reach it.
const PYTHONS: [&str; 5] = ["LISTEN_HOST", "PORT", "SLOTS", "HEARTBEAT_SECONDS", "GRACE_SECONDS"];

type Lines = Arc<(Mutex<Said>, Condvar)>;

/// What came out of a pipe so far.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    is_all: bool,
}

/// A running program that has said where it listens.
pub struct Program {
    child: Child,
    pub url: String,
    printed: Lines,
    said: Lines,
}

impl Program {
    /// Starts one, and waits until it listens.
    pub fn start(command: Command) -> Self {
        let mut program = Self::launch(command);
        let line = program.printed(|line| line.starts_with("listening on "));
        line["listening on ".len()..].clone_into(&mut program.url);
        program
    }

    /// Starts one that may not come to listen.
    pub fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = lines_of(child.stdout.take().unwrap());
        let said = lines_of(child.stderr.take().unwrap());
        Self { child, url: String::new(), printed, said }
    }

    /// Waits until it has printed such a line to standard output.
    pub fn printed(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        self.line(&self.printed, is_wanted)
    }

    /// Waits until it has said such a line on standard error.
    pub fn said(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        self.line(&self.said, is_wanted)
    }

    fn line(&self, lines: &Lines, is_wanted: impl Fn(&str) -> bool) -> String {
        let (lines, more) = &**lines;
        let missing = |said: &mut Said| !said.is_all && !said.lines.iter().any(|line| is_wanted(line));
        let (found, waited) = more.wait_timeout_while(lines.lock().unwrap(), PATIENCE, missing).unwrap();
        let line = found.lines.iter().find(|line| is_wanted(line)).cloned();
        drop(found);
        line.unwrap_or_else(|| panic!("not in time ({waited:?}): {}", self.everything()))
    }

    /// All that it printed and said.
    pub fn everything(&self) -> String {
        let all = |lines: &Lines| lines.0.lock().unwrap().lines.join("\n");
        format!("{}\n{}", all(&self.printed), all(&self.said))
    }

    /// Sends it a signal, such as `-TERM`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.everything());
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a pipe says, line by line, until it is closed.
fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let theirs = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            theirs.0.lock().unwrap().lines.push(line);
            theirs.1.notify_all();
        }
        theirs.0.lock().unwrap().is_all = true;
        theirs.1.notify_all();
    });
    lines
}

/// A file of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A Python script of the repository with this environment and no other settings.
pub fn python(script: &str, environment: &[(&str, &str)]) -> Command {
    python_of("python3", script, environment)
}

/// The same with another interpreter.
pub fn python_of(interpreter: &str, script: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = clean(interpreter);
    for name in PYTHONS {
        command.env_remove(name);
    }
    command.arg(in_repository(script)).env("PYTHONDONTWRITEBYTECODE", "1").env("PORT", "0");
    command.envs(environment.iter().copied());
    command
}
