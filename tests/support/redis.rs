//! A real redis-server for tests: on a free port of 127.0.0.1, with its files in a folder of its own, ended by its own id
//! when the test is. Whatever a client must log in with, the test gives its commands over a socket in that folder.
#![allow(dead_code, reason = "each test takes what it needs")]

use super::clock::Clock;
use super::ports::free_port;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes on the slowest machine: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who the test is to the server, whoever else may come in.
const KEEPER: &str = "keeper";

/// What a server shows to those who want TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Of 127.0.0.1 and localhost, by the authority in [`Redis::ca`].
    Good,
    /// The same, until yesterday.
    Expired,
    /// By an authority that nobody knows.
    Untrusted,
    /// Of another host.
    OtherHost,
}

/// How a server is to be.
#[derive(Debug, Default)]
pub struct Wanted {
    lines: Vec<String>,
    certificate: Option<Certificate>,
    has_clock: bool,
}

impl Wanted {
    /// A line of its configuration.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Whoever comes needs this password.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        self.line(&format!("requirepass {password}"))
    }

    /// Nobody comes in but this user, who may do what the rules say.
    #[must_use]
    pub fn user(self, name: &str, password: &str, rules: &str) -> Self {
        self.line("user default off").line(&format!("user {name} on >{password} {rules}"))
    }

    /// What was written is there again after a kill.
    #[must_use]
    pub fn durable(self) -> Self {
        self.line("appendonly yes")
    }

    /// With a clock of its own.
    #[must_use]
    pub fn clocked(self) -> Self {
        Self { has_clock: true, ..self }
    }

    /// TLS and nothing else.
    #[must_use]
    pub fn tls(self, certificate: Certificate) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// Starts it, and waits until it answers.
    pub fn start(self) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        if let Some(certificate) = self.certificate {
            certify(folder.path(), certificate);
        }
        let is_tls = self.certificate.is_some();
        let clock = self.has_clock.then(|| Clock::at(folder.path().join("clock")));
        let mut redis = Redis { folder, port: free_port(), is_tls, lines: self.lines, clock, process: None };
        redis.launch(&[]);
        redis.until_ready();
        redis
    }
}

/// A running server.
pub struct Redis {
    folder: TempDir,
    port: u16,
    is_tls: bool,
    lines: Vec<String>,
    clock: Option<Clock>,
    process: Option<Child>,
}

impl Redis {
    /// One that lets everybody in and keeps nothing.
    pub fn start() -> Self {
        Wanted::default().start()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How clients that need no name or password are told of it.
    pub fn url(&self) -> String {
        self.url_of("")
    }

    /// The same with something before the host, such as `user:password@`.
    pub fn url_of(&self, who: &str) -> String {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        format!("{scheme}://{who}127.0.0.1:{}", self.port)
    }

    /// The authority that clients of a server with TLS are to trust.
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    /// Its clock, where it has one of its own.
    pub fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    // === What befalls it ===

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts it again where it was, after a kill, and waits until it answers.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
        self.until_ready();
    }

    /// Starts it again where it was with some more configuration, and returns while it reads its data.
    pub fn restart_with(&mut self, lines: &[&str]) {
        assert!(self.process.is_none(), "it runs");
        self.launch(lines);
    }

    /// Cuts so many bytes off the end of its file, after a kill, and has the server's own tool set the end right, as
    /// docs/operations.md says. Without that, a server of version 7.0 keeps the beginning of a script's writes in the file
    /// when the end is torn within one of them, does not carry it out, and does so at the start after the next.
    pub fn cut_end(&self, bytes: u64) {
        assert!(self.process.is_none(), "it runs");
        let folder = self.folder.path().join("appendonlydir");
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let newest = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().unwrap();
        let file = fs::File::options().write(true).open(newest).unwrap();
        file.set_len(file.metadata().unwrap().len().saturating_sub(bytes)).unwrap();
        let mut fix = Command::new("redis-check-aof");
        fix.arg("--fix").arg(folder.join("appendonly.aof.manifest")).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut fixing = fix.spawn().expect("redis-check-aof comes with redis-server");
        fixing.stdin.take().unwrap().write_all(b"y\n").unwrap();
        assert!(fixing.wait().unwrap().success());
    }

    /// Lets it stand still, with its connections open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    // === Commands ===

    /// Gives it a command, which must succeed.
    pub fn command(&self, words: &[&str]) -> Reply {
        match self.ask(words) {
            Ok(Reply::Error(error)) => panic!("{words:?}: {error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{words:?}: {error}; {}", self.log()),
        }
    }

    /// Gives it a command in words separated by spaces, which must succeed.
    pub fn say(&self, line: &str) -> Reply {
        self.command(&line.split(' ').collect::<Vec<_>>())
    }

    /// Gives it a command; it may refuse, or not be there.
    pub fn ask(&self, words: &[&str]) -> std::io::Result<Reply> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        send(stream.get_mut(), &["AUTH", KEEPER, KEEPER])?;
        send(stream.get_mut(), words)?;
        Reply::read(&mut stream)?;
        Reply::read(&mut stream)
    }

    /// Listens to a channel.
    pub fn subscribe(&self, channel: &str) -> Subscription {
        let mut stream = BufReader::new(UnixStream::connect(self.socket()).unwrap());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        send(stream.get_mut(), &["AUTH", KEEPER, KEEPER]).unwrap();
        send(stream.get_mut(), &["SUBSCRIBE", channel]).unwrap();
        Reply::read(&mut stream).unwrap();
        Reply::read(&mut stream).unwrap();
        Subscription(stream)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn is_ready(&self) -> bool {
        self.ask(&["PING"]).is_ok_and(|reply| reply == Reply::Text("PONG".to_owned()))
    }

    fn until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_ready() {
            assert!(Instant::now() < until, "it does not answer: {}", self.log());
            std::thread::yield_now();
        }
    }

    // === Starting ===

    /// Starts it.
    fn launch(&mut self, more: &[&str]) {
        // The one of an earlier life would be taken for the new one's.
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("redis-server");
        if let Some(clock) = &self.clock {
            clock.give_to(&mut command);
        }
        let mut process = command
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is not there: run scripts/setup.sh");
        process.stdin.take().unwrap().write_all(self.configuration(more).as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if UnixStream::connect(self.socket()).is_ok() {
                self.process = Some(process);
                return;
            }
            if let Some(status) = process.try_wait().unwrap() {
                panic!("it does not start: {status}: {}", self.log());
            }
            assert!(Instant::now() < until, "it does not start: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn configuration(&self, more: &[&str]) -> String {
        let folder = self.folder.path().display();
        let port = self.port;
        let ports = if self.is_tls {
            format!(
                "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {folder}/server.crt\n\
                 tls-key-file {folder}/server.key\ntls-ca-cert-file {folder}/ca.crt"
            )
        } else {
            format!("port {port}")
        };
        let own = self.lines.join("\n");
        let more = more.join("\n");
        format!(
            "bind 127.0.0.1\n{ports}\nunixsocket {folder}/socket\ndir {folder}\nlogfile {folder}/log\nsave \"\"\n\
             auto-aof-rewrite-percentage 0\nenable-debug-command yes\nuser {KEEPER} on >{KEEPER} ~* &* +@all\n{own}\n\
             {more}\n"
        )
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A channel that is listened to.
pub struct Subscription(BufReader<UnixStream>);

impl Subscription {
    /// The next message.
    pub fn next_message(&mut self) -> String {
        Reply::read(&mut self.0).unwrap().texts().pop().unwrap()
    }
}

// === Certificates ===

/// Makes an authority `ca.crt`, and a key and a certificate for the server.
fn certify(folder: &Path, certificate: Certificate) {
    authority(folder, "ca");
    let signer = if certificate == Certificate::Untrusted {
        authority(folder, "stranger");
        "stranger"
    } else {
        "ca"
    };
    let (names, days) = match certificate {
        Certificate::Good | Certificate::Untrusted => ("DNS:localhost,IP:127.0.0.1", "2"),
        Certificate::Expired => ("DNS:localhost,IP:127.0.0.1", "-1"),
        Certificate::OtherHost => ("DNS:redis.example", "2"),
    };
    fs::write(folder.join("names"), format!("subjectAltName={names}\n")).unwrap();
    openssl(folder, &format!("req {NEW_KEY} -keyout server.key -out server.csr -subj /CN=server"));
    let signed = format!("-CA {signer}.crt -CAkey {signer}.key -CAcreateserial -days {days} -extfile names");
    openssl(folder, &format!("x509 -req -in server.csr -out server.crt {signed}"));
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn authority(folder: &Path, name: &str) {
    openssl(folder, &format!("req -x509 {NEW_KEY} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"));
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

// === The server's language ===

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nil,
    Error(String),
}

impl Reply {
    /// As text; empty when there is none.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Error(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::List(_) | Self::Nil => String::new(),
        }
    }

    /// Its parts as texts.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::List(parts) => parts.iter().map(Self::text).collect(),
            _ => Vec::new(),
        }
    }

    /// As a number.
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }

    fn read(stream: &mut impl BufRead) -> std::io::Result<Self> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        let length = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            "+" => Self::Text(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            ":" => Self::Number(length()),
            "$" | "*" if length() < 0 => Self::Nil,
            "$" => {
                let mut bytes = vec![0; usize::try_from(length()).unwrap() + 2];
                stream.read_exact(&mut bytes)?;
                Self::Text(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
            }
            "*" => Self::List((0..length()).map(|_| Self::read(stream)).collect::<Result<_, _>>()?),
            other => panic!("not the server's language: {other}{rest}"),
        })
    }
}

fn send(stream: &mut impl Write, words: &[&str]) -> std::io::Result<()> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(bytes.as_bytes())
}
