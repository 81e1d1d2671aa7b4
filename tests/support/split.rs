//! A split Callboard as real processes: masters, a gateway, workers, over a Redis server or, with one master, over a store
//! of its own. Each is killed or stopped by its own id.

use super::redis::{Certificate, Redis, Wanted};
use super::{Server, callboard};

/// What the default team's workers do.
pub const STAGES: [&str; 4] = ["analyze", "retrieve", "evaluate", "finalize"];

/// How a split system is to be.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Masters over one Redis server; one over a store in its memory when none.
    pub masters: usize,
    /// What each worker does.
    pub workers: Vec<&'static str>,
    /// Settings for all, such as `("slots", "8")`.
    pub settings: Vec<(&'static str, String)>,
    /// The Redis server speaks TLS only, with an authority of its own, and lets in one user with a password.
    pub guarded: bool,
}

impl Default for Shape {
    fn default() -> Self {
        // The shortest time after which silence is death.
        let settings = vec![("heartbeat_ttl", "3s".to_owned())];
        Self { masters: 0, workers: STAGES.to_vec(), settings, guarded: false }
    }
}

impl Shape {
    /// So many masters over one Redis server.
    #[must_use]
    pub fn masters(self, masters: usize) -> Self {
        Self { masters, ..self }
    }

    /// Over TLS, as a user with a password.
    #[must_use]
    pub fn guarded(self) -> Self {
        Self { guarded: true, ..self }
    }

    /// These workers.
    #[must_use]
    pub fn workers(self, workers: &[&'static str]) -> Self {
        Self { workers: workers.to_vec(), ..self }
    }

    /// A setting for all.
    #[must_use]
    pub fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Starts all of it, and waits until each worker has joined each master.
    pub async fn start(self) -> Split {
        let mut shape = self;
        let (redis, store) = match (shape.masters, shape.guarded) {
            (0, _) => (None, "memory:".to_owned()),
            (_, false) => {
                let redis = Redis::start();
                let url = redis.url();
                (Some(redis), url)
            }
            (_, true) => {
                let wanted = Wanted::default().user("callboard", "s3cret", "~* &* +@all").tls(Certificate::Good);
                let redis = wanted.start();
                let url = redis.url_of("callboard:s3cret@");
                shape = shape.setting("redis_ca", &redis.ca());
                (Some(redis), url)
            }
        };
        shape.start_over(redis, store).await
    }

    async fn start_over(self, redis: Option<Redis>, store: String) -> Split {
        let gateway = self.serve("gateway", &[]);
        let mut split =
            Split { masters: Vec::new(), gateway: Some(gateway), workers: Vec::new(), store, redis, shape: self };
        for _ in 0..split.shape.masters.max(1) {
            split.add_master();
        }
        for capabilities in split.shape.workers.clone() {
            split.add_worker(capabilities);
        }
        split.until_joined(split.workers.len()).await;
        split
    }

    /// Starts one process of it.
    fn serve(&self, role: &str, args: &[&str]) -> Server {
        let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--role", role]);
        command.args(args);
        for (name, value) in &self.settings {
            command.env(format!("CALLBOARD_{}", name.to_uppercase()), value);
        }
        Server::of(command)
    }
}

/// The running processes.
pub struct Split {
    pub masters: Vec<Server>,
    pub gateway: Option<Server>,
    pub workers: Vec<Server>,
    pub redis: Option<Redis>,
    store: String,
    shape: Shape,
}

impl Split {
    /// The first master.
    pub fn master(&self) -> &Server {
        &self.masters[0]
    }

    /// Starts another master over the same store.
    pub fn add_master(&mut self) {
        let gateway = self.gateway.as_ref().map_or("http://127.0.0.1:9", |gateway| &gateway.url);
        let args = ["--store", &self.store, "--gateway-url", gateway];
        self.masters.push(self.shape.serve("master", &args));
    }

    /// Starts another worker, which knows all the masters.
    pub fn add_worker(&mut self, capabilities: &str) {
        let masters = self.masters.iter().map(|master| master.url.as_str()).collect::<Vec<_>>().join(",");
        let gateway = self.gateway.as_ref().map_or("http://127.0.0.1:9", |gateway| &gateway.url);
        let args = ["--capabilities", capabilities, "--master-url", &masters, "--gateway-url", gateway];
        self.workers.push(self.shape.serve("worker", &args));
    }

    /// Starts the gateway anew, where it was.
    pub fn restart_gateway(&mut self, place: &str) {
        let mut command = callboard(&["serve", "--role", "gateway", "--listen", place]);
        for (name, value) in &self.shape.settings {
            command.env(format!("CALLBOARD_{}", name.to_uppercase()), value);
        }
        self.gateway = Some(Server::of(command));
    }

    /// Waits until each master knows so many agents.
    pub async fn until_joined(&self, agents: usize) {
        for master in &self.masters {
            master.until("/agents", |_, body| body["agents"].as_array().is_some_and(|all| all.len() == agents)).await;
        }
    }

    /// Waits until each master knows whether somebody can do this.
    pub async fn until_able(&self, capability: &str, is_able: bool) {
        for master in &self.masters {
            let able = |body: &serde_json::Value| {
                let mut agents = body["agents"].as_array().into_iter().flatten();
                agents.any(|agent| agent["capabilities"].as_array().into_iter().flatten().any(|one| one == capability))
            };
            master.until("/agents", |_, body| able(body) == is_able).await;
        }
    }
}

/// Host and port of a server.
pub fn place(server: &Server) -> String {
    server.url.trim_start_matches("http://").to_owned()
}
