//! A real `callboard serve` process for black-box tests: started on a free port, killed or stopped by its own id, gone
//! when the test is. Time is waited for by condition, with a limit after which a hanging test fails.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod clock;
pub mod hands;
pub mod model_server;
pub mod ports;
pub mod redis;
pub mod split;

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes on the slowest machine: what hangs fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub struct Server {
    child: Child,
    pub url: String,
    pub client: reqwest::Client,
}

impl Server {
    /// Starts one with these arguments behind `serve`, and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut command = callboard(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Self::spawn(command)
    }

    /// The same, with a signal that it will not notice.
    pub fn start_ignoring(signal: &str, args: &[&str]) -> Self {
        let mut command = clean("bash");
        command.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "bash", env!("CARGO_BIN_EXE_callboard")]);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        Self::spawn(command)
    }

    /// The same, with its log at the end of a file.
    pub fn start_logging(args: &[&str], log: &Path) -> Self {
        let mut command = callboard(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Self::of_saying(command, log)
    }

    /// Starts what a command says, and waits until it listens.
    pub fn of(command: Command) -> Self {
        Self::spawn(command)
    }

    /// The same, with its log at the end of a file.
    pub fn of_saying(mut command: Command, log: &Path) -> Self {
        command.stderr(File::options().create(true).append(true).open(log).unwrap());
        Self::listening(command, || std::fs::read_to_string(log).unwrap())
    }

    fn spawn(mut command: Command) -> Self {
        command.stderr(Stdio::null());
        Self::listening(command, String::new)
    }

    fn listening(mut command: Command, said: impl Fn() -> String) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(line) = lines.next() else {
            panic!("{command:?} ended before it listened: {} {}", child.wait().unwrap(), said())
        };
        let line = line.unwrap();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not an address: {line}")).to_owned();
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { child, url, client }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `-HUP`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it with SIGTERM, and waits.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Posts JSON; answers status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        answer(request.send().await.unwrap()).await
    }

    /// Gets JSON.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.client.delete(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    /// Gets JSON until it is as wanted.
    pub async fn until(&self, path: &str, is_wanted: impl Fn(u16, &Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let (status, body) = self.get(path).await;
            if is_wanted(status, &body) {
                return body;
            }
            assert!(Instant::now() < until, "{path} stays {status}: {body:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The whole event log of a task that has ended, as `(id, event, data)`.
    pub async fn events(&self, id: &str) -> Vec<(u64, String, Value)> {
        let text =
            self.client.get(format!("{}/task/{id}/events", self.url)).send().await.unwrap().text().await.unwrap();
        text.split("\n\n").filter_map(event).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, without whatever the tester's environment says; or another build of it, for figures.
pub fn callboard(args: &[&str]) -> Command {
    let program = std::env::var("CALLBOARD_TEST_PROGRAM");
    let mut command = clean(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_callboard")));
    command.args(args);
    command
}

/// The predecessor's variables that are read.
const OF_THE_PREDECESSOR: [&str; 11] = [
    "LLM_PROVIDER",
    "MASTER_MODE",
    "MASTER_URL",
    "CALLBACK_URL",
    "PUBLIC_URL",
    "LLM_GATEWAY_URL",
    "LLM_GATEWAY_TIMEOUT",
    "AGENT_ID",
    "CAPABILITIES",
    "AG2_PROFILE",
    "PROMPT_PATH",
];

/// Any program, in the same clean environment.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("CALLBOARD_") || name.starts_with("REDIS_") || OF_THE_PREDECESSOR.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn event(block: &str) -> Option<(u64, String, Value)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = field("data:").and_then(|data| serde_json::from_str(data).ok());
    Some((field("id:")?.split('-').next()?.parse().ok()?, field("event:")?.to_owned(), data?))
}
