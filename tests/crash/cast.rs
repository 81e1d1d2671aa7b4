//! The processes of a split system, each at a place of its own where it can be started again after whatever befell it.
//! Where a test wants to disturb what passes between them, a wire stands in between.

use crate::support::clock::Clock;
use crate::support::ports::free_port;
use crate::support::redis::{Redis, Wanted};
use crate::support::{Server, callboard};
use crate::wire::Wire;
use callboard::store::{RedisOptions, RedisStore};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a worker of this play can do.
const ALL: &str = "analyze,retrieve,evaluate,finalize";
/// Attempts at once, for each of a worker's agents.
const SLOTS: &str = "16";

/// What passes between two kinds of processes, and can be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    WorkerToMaster,
    MasterToWorker,
    WorkerToGateway,
    MasterToRedis,
}

/// How the system is to be.
pub struct Play {
    pub name: &'static str,
    pub masters: usize,
    pub workers: usize,
    pub redis: Wanted,
    /// The settings of all processes, by their names in the environment.
    pub settings: Vec<(&'static str, String)>,
    pub wired: Vec<Pair>,
    pub is_clocked: bool,
}

impl Play {
    /// Two masters, three workers that can do everything, a gateway; steps take 20 to 200 ms, and one in two hundred
    /// `long`.
    pub fn new(name: &'static str, long: Duration) -> Self {
        let script = format!("*:latency={}ms@200,*:latency=20ms..200ms", long.as_millis());
        let setting = |name, value: &str| (name, value.to_owned());
        let settings = vec![
            setting("CALLBOARD_HEARTBEAT_TTL", "3s"),
            setting("CALLBOARD_PROVIDER", "mock"),
            setting("CALLBOARD_MOCK_SCRIPT", &script),
            setting("CALLBOARD_SLOTS", SLOTS),
        ];
        Self { name, masters: 2, workers: 3, redis: Wanted::default(), settings, wired: Vec::new(), is_clocked: false }
    }

    /// Over a server like this.
    pub fn redis(self, redis: Wanted) -> Self {
        Self { redis, ..self }
    }

    /// With so many masters.
    pub fn masters(self, masters: usize) -> Self {
        Self { masters, ..self }
    }

    /// With a setting for all.
    pub fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// With a clock for each process.
    pub fn clocked(self) -> Self {
        Self { is_clocked: true, redis: self.redis.clocked(), ..self }
    }

    /// With so many workers.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// With a wire between these, too.
    pub fn wired(mut self, pair: Pair) -> Self {
        self.wired.push(pair);
        self
    }

    /// Starts it, and waits until every worker has joined.
    pub async fn begin(self) -> Cast {
        let redis = self.redis.start();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crash").join(self.name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let stage = Stage { folder, settings: self.settings, is_clocked: self.is_clocked };
        let wire = |pair, port| self.wired.contains(&pair).then(|| Wire::to(port));
        let store_wire = wire(Pair::MasterToRedis, redis.port());
        let store = store_wire.as_ref().map_or(redis.url(), |wire| format!("redis://127.0.0.1:{}", wire.port));
        let mut wires: Vec<Wire> = store_wire.into_iter().collect();

        let gateway = stage.process("gateway", vec!["--role".into(), "gateway".into()]);
        let gateway_wire = wire(Pair::WorkerToGateway, gateway.port);
        let gateway_url = url(gateway_wire.as_ref().map_or(gateway.port, |wire| wire.port));
        wires.extend(gateway_wire);

        let args = ["--role", "master", "--store", &store, "--gateway-url", &gateway_url];
        let masters: Vec<_> = (1..=self.masters).map(|n| stage.process(&format!("master-{n}"), owned(&args))).collect();
        let mut master_urls = Vec::new();
        for master in &masters {
            let master_wire = wire(Pair::WorkerToMaster, master.port);
            master_urls.push(url(master_wire.as_ref().map_or(master.port, |wire| wire.port)));
            wires.extend(master_wire);
        }
        let mut workers = Vec::new();
        for n in 1..=self.workers {
            // They begin with different masters.
            master_urls.rotate_left(1);
            let known = master_urls.join(",");
            let args =
                ["--role", "worker", "--capabilities", ALL, "--master-url", &known, "--gateway-url", &gateway_url];
            let mut worker = stage.process(&format!("worker-{n}"), owned(&args));
            if let Some(wire) = wire(Pair::MasterToWorker, worker.port) {
                worker.args.extend(["--public-url".to_owned(), url(wire.port)]);
                worker.reached_at = wire.port;
                wires.push(wire);
            }
            workers.push(worker);
        }
        let mut cast = Cast { redis, masters, gateway, workers, wires };
        cast.everybody().for_each(Process::start);
        cast.until_joined().await;
        cast
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(ToString::to_string).collect()
}

/// What all processes share.
struct Stage {
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    is_clocked: bool,
}

impl Stage {
    fn process(&self, name: &str, args: Vec<String>) -> Process {
        let log = self.folder.join(format!("{name}.log"));
        let (port, settings) = (free_port(), self.settings.clone());
        let clock = self.is_clocked.then(|| Clock::at(self.folder.join(format!("{name}.clock"))));
        Process { name: name.to_owned(), port, reached_at: port, args, settings, clock, log, running: None }
    }
}

/// The system at work.
pub struct Cast {
    pub redis: Redis,
    pub masters: Vec<Process>,
    pub gateway: Process,
    pub workers: Vec<Process>,
    pub wires: Vec<Wire>,
}

impl Cast {
    /// Masters, gateway and workers.
    pub fn everybody(&mut self) -> impl Iterator<Item = &mut Process> {
        self.masters.iter_mut().chain([&mut self.gateway]).chain(&mut self.workers)
    }

    /// Where the masters are.
    pub fn master_urls(&self) -> Vec<String> {
        self.masters.iter().map(|master| url(master.port)).collect()
    }

    /// Waits until each master that runs knows every agent of every worker.
    pub async fn until_joined(&self) {
        self.until_agents(0).await;
    }

    /// The same with so many agents besides.
    pub async fn until_agents(&self, others: usize) {
        let agents = self.workers.len() * 4 + others;
        for master in self.masters.iter().filter_map(|master| master.running.as_ref()) {
            master.until("/agents", |_, body| body["agents"].as_array().is_some_and(|all| all.len() == agents)).await;
        }
    }

    /// The store as another process of it would have it.
    pub async fn store(&self) -> RedisStore {
        RedisStore::connect(RedisOptions::new("127.0.0.1", self.redis.port())).await.unwrap()
    }
}

/// One process.
pub struct Process {
    pub name: String,
    port: u16,
    /// Where others reach it: its own port, or that of a wire to it.
    pub reached_at: u16,
    args: Vec<String>,
    settings: Vec<(&'static str, String)>,
    pub clock: Option<Clock>,
    log: PathBuf,
    pub running: Option<Server>,
}

impl Process {
    /// Starts it, at its place.
    pub fn start(&mut self) {
        let mut command = callboard(&["serve", "--listen", &format!("127.0.0.1:{}", self.port)]);
        command.args(&self.args).envs(self.settings.iter().map(|(name, value)| (*name, value)));
        if let Some(clock) = &self.clock {
            clock.give_to(&mut command);
        }
        self.running = Some(Server::of_saying(command, &self.log));
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// Ends it with SIGTERM, and waits.
    pub fn terminate(&mut self) {
        let status = self.running.take().expect("it runs").terminate();
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// Lets it stand still, with its connections open.
    pub fn pause(&self) {
        self.running.as_ref().expect("it runs").signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.running.as_ref().expect("it runs").signal("-CONT");
    }
}
