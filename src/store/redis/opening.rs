//! Opening the store: whether the server is one that can be it, and lets us do what is needed, is found out before anything
//! is entrusted to it.

use super::clock::ServerClock;
use super::feed::Feed;
use super::gate::Gate;
use super::link::{Again, Link};
use super::options::RedisOptions;
use super::{RedisStore, predecessor, script, told};
use crate::store::StoreError;
use crate::store::watchers::Watchers;
use deadpool_redis::redis::{FromRedisValue, cmd};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The oldest version of the server that does what is asked of it.
const OLDEST: u32 = 7;

impl RedisStore {
    /// Connects and looks whether the server can be the store. Connections are served by the runtime that this is called in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is not there now; [`StoreError::Refused`] when it lets us not in, or is no server
    /// that can be the store.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        let link = Arc::new(Link::new(&options)?);
        if let Err(error) = look_at(&link).await {
            let is_plain = options.tls && matches!(error, StoreError::Unavailable(_)) && speaks_plainly(&options).await;
            return Err(if is_plain { told::speaks_plainly(link.address()) } else { error });
        }
        let watchers = Arc::new(Watchers::default());
        let clock = ServerClock::new(options.clock.clone());
        let store = Self {
            link: link.clone(),
            gate: Gate::default(),
            clock,
            watchers: watchers.clone(),
            feed: Mutex::new(None),
            commits: AtomicU64::new(0),
            open: AtomicU64::new(0),
            options,
        };
        let theirs = if store.options.predecessor_keys { &predecessor::KINDS[..] } else { &[] };
        store.set(store.call(&script::CHECK).each(theirs.iter(), |call, key| call.arg(*key)), Again::Yes).await?;
        store.learn_open().await?;
        let feed = Feed::open(link, watchers, store.key("feed")).await?;
        *store.feed.lock() = Some(store.link.runtime().spawn(feed.read()).abort_handle());
        Ok(store)
    }

    async fn learn_open(&self) -> Result<(), StoreError> {
        let answer = self.link.ask(cmd("GET").arg(self.key("open")), Again::Yes).await?;
        let open = Option::<u64>::from_redis_value(answer).ok().flatten();
        self.open.store(open.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a server that says nothing to a greeting in TLS answers one without: it takes the one for half a line.
async fn speaks_plainly(options: &RedisOptions) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect((options.host.as_str(), options.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read_u8().await
    };
    matches!(timeout(options.timeout, greeting).await, Ok(Ok(b'+' | b'-')))
}

async fn look_at(link: &Link) -> Result<(), StoreError> {
    let refused = |words: String| Err(StoreError::Refused(format!("{} {words}", link.address()).into()));
    let answer = link.ask(cmd("INFO").arg("server").arg("cluster"), Again::Yes).await?;
    let text = String::from_redis_value(answer).unwrap_or_default();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    if line("cluster_enabled") == Some("1") {
        return refused(
            "is in cluster mode, where no script sees all keys: use a server with cluster mode disabled".into(),
        );
    }
    let version = line("redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    // What tells no version is judged by what it does.
    if major.is_some_and(|major| major < OLDEST) {
        return refused(format!(
            "is Redis {version}, and what is asked of it came with Redis {OLDEST}: use a newer one"
        ));
    }
    Ok(())
}
