//! Which Redis server, who logs in there, and how. Nothing here can show the password.

use crate::secret::Secret;
use crate::store::Clock;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a Redis server is used.
#[derive(Clone)]
pub struct RedisOptions {
    /// The host's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in; the server's default user when none.
    pub username: Option<String>,
    /// With which password.
    pub password: Option<Secret>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// The file of the authority to trust, instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// The number of the database.
    pub database: u8,
    /// What all own keys begin with.
    pub prefix: String,
    /// The most connections.
    pub pool: usize,
    /// How long a connection or an answer may take.
    pub timeout: Duration,
    /// How many replicas must have a task's accept and end before it is answered.
    pub wait_replicas: u32,
    /// Whether the predecessor's names are written, too.
    pub predecessor_keys: bool,
    /// How long they are kept.
    pub predecessor_ttl: Duration,
    /// The clock that due-ness is judged by; the server's when none.
    pub clock: Option<Arc<dyn Clock>>,
}

impl RedisOptions {
    /// A server without TLS and without a password.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            username: None,
            password: None,
            tls: false,
            ca: None,
            database: 0,
            prefix: "callboard:".to_owned(),
            pool: 8,
            timeout: Duration::from_secs(2),
            wait_replicas: 0,
            predecessor_keys: true,
            predecessor_ttl: Duration::from_secs(7 * 24 * 3600),
            clock: None,
        }
    }

    /// Where it is, for people and for logs.
    pub(super) fn address(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisOptions({})", self.address())
    }
}
