//! One process of a split Callboard: started, listened to until it says where it listens, and ended in order, or by force
//! when it takes too long.

use super::super::exit::{Code, Exit};
use callboard::settings::Overrides;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a process may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a Redis server is asked whether it is there.
const REDIS_POLL: Duration = Duration::from_millis(10);
/// How long one may take to end in order.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// What a process says once it takes requests.
const LISTENING: &str = "listening on http://";
/// How many of the last lines of a log are shown of a process that did not start.
const LAST_LINES: usize = 5;

/// What all processes are started with.
pub(super) struct Start {
    pub folder: PathBuf,
    pub config: Option<PathBuf>,
    pub common: Overrides,
}

/// A running process.
pub(super) struct Member {
    name: String,
    child: Child,
    place: String,
    /// Kept open: a process that cannot print ends.
    _output: Option<tokio::process::ChildStdout>,
}

impl Start {
    /// Starts a Redis server with a password, whose data is in the folder.
    pub async fn redis(&self, password: &str) -> Result<Member, Exit> {
        let failed = |error: &dyn std::fmt::Display| Exit::new(Code::Unavailable, format!("redis-server: {error}"));
        let port = free_port().map_err(|error| failed(&error))?;
        let config = self.folder.join("redis.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly yes\nappendfsync everysec\n\
             dir {}\n",
            self.folder.display()
        );
        write_private(&config, &text).map_err(|error| failed(&error))?;
        let log = self.log("redis").map_err(|error| failed(&error))?;
        let child =
            Command::new("redis-server").arg(&config).stdin(Stdio::null()).stdout(log).kill_on_drop(true).spawn();
        let child = child.map_err(|error| {
            let remedy = "install it (Debian: apt-get install redis-server), so that it is on the PATH";
            Exit::new(Code::Unavailable, format!("redis-server cannot be started ({error}): {remedy}"))
        })?;
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut member = Member { name: "redis".to_owned(), child, place: place.to_string(), _output: None };
        let answers = async {
            loop {
                if let Ok(Some(status)) = member.child.try_wait() {
                    return Err(failed(&format!("it ended at once ({status})")));
                }
                if is_there(place, password).await {
                    return Ok(());
                }
                tokio::time::sleep(REDIS_POLL).await;
            }
        };
        let answered = tokio::time::timeout(START_TIMEOUT, answers).await;
        answered.unwrap_or_else(|_| Err(failed(&"it does not answer")))?;
        Ok(member)
    }

    /// Starts this program as a server with these settings.
    pub async fn callboard(&self, name: &str, own: Overrides) -> Result<Member, Exit> {
        let program = std::env::current_exe().map_err(Exit::internal)?;
        let (log, path) = (self.log(name).map_err(Exit::internal)?, self.log_path(name));
        let mut command = Command::new(program);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        // By variables: a command line can be read by everybody on the machine.
        for (setting, value) in self.common.iter().chain(&own) {
            command.env(format!("CALLBOARD_{}", setting.to_uppercase()), value);
        }
        let mut child = command.spawn().map_err(Exit::internal)?;
        let output = child.stdout.take().ok_or_else(|| Exit::internal("a process has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let place = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(place) = line.strip_prefix(LISTENING) {
                    return Some(place.to_owned());
                }
            }
            None
        };
        let place = tokio::time::timeout(START_TIMEOUT, place).await.ok().flatten();
        let place = place.ok_or_else(|| {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(LAST_LINES).collect();
            let last = lines.into_iter().rev().map(super::super::clean::clean_line).collect::<Vec<_>>().join(" | ");
            Exit::new(Code::Unavailable, format!("{name} did not start: {last}"))
        })?;
        let output = lines.into_inner().into_inner();
        Ok(Member { name: name.to_owned(), child, place, _output: Some(output) })
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.log", name.replace([' ', ',', '/'], "-")))
    }

    fn log(&self, name: &str) -> std::io::Result<std::fs::File> {
        std::fs::File::create(self.log_path(name))
    }
}

impl Member {
    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Its number; 0 when it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Asks it to end, and waits for that.
    pub async fn end(mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // One that has just ended cannot be told.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(END_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// A port that nobody has at this moment.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Writes a file that only its owner can read.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Asks a Redis server something that is answered with one text.
pub(super) async fn ask_redis(place: &str, password: &str, command: &str) -> std::io::Result<String> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(place).await?);
        stream.write_all(format!("AUTH {password}\r\n{command}\r\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        let length = line.trim().strip_prefix('$').and_then(|length| length.parse().ok());
        let mut text = vec![0; length.ok_or_else(|| std::io::Error::other(line.trim().to_owned()))?];
        stream.read_exact(&mut text).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(5), asked).await?
}

/// Whether the Redis server that has this password answers.
async fn is_there(place: SocketAddr, password: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(place).await?;
        stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer == *b"+OK\r\n+PONG\r\n")
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(true)))
}
