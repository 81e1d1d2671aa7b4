//! What happens to tasks and agents anywhere, as every process hears of it: one connection reads a short feed that each
//! commit adds a line to, and wakes who waits here. Whatever may have been missed wakes everybody, who then read from their own cursors.

use super::link::{Link, jittered};
use super::reply::Reply;
use crate::store::watchers::Watchers;
use crate::store::{StoreError, Woken};
use crate::task::{TaskId, TaskKey, Tenant};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{RedisError, Value, cmd};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the server holds a read back while nothing happens.
const HELD_BACK: Duration = Duration::from_secs(5);
/// How many lines are read at once.
const LINES: u32 = 1000;
/// The pauses between attempts to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Feed {
    link: Arc<Link>,
    watchers: Arc<Watchers>,
    key: String,
    connection: MultiplexedConnection,
    /// The number of the last line that was read.
    cursor: u64,
}

/// Why reading broke off.
enum Broken {
    Connection,
    Store(StoreError),
}

impl From<RedisError> for Broken {
    fn from(_: RedisError) -> Self {
        Self::Connection
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Feed {
    /// Begins at the feed's end.
    pub async fn open(link: Arc<Link>, watchers: Arc<Watchers>, key: String) -> Result<Self, StoreError> {
        let connection = link.apart().await?;
        let mut feed = Self { link, watchers, key, connection, cursor: 0 };
        feed.cursor = feed.end().await.map_err(|broken| feed.told(broken))?;
        Ok(feed)
    }

    /// Reads until the store is closed.
    pub async fn read(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.link.is_closed() {
            let Err(broken) = self.read_on().await else {
                pause = FIRST_PAUSE;
                continue;
            };
            tracing::debug!("the feed of tasks broke off: {}", self.told(broken));
            // Also before the first attempt: a server that answers and refuses is not asked without end.
            tokio::time::sleep(jittered(pause)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            if let Err(error) = self.connect_again().await {
                tracing::debug!("the feed of tasks cannot be read yet: {error}");
            }
        }
    }

    async fn connect_again(&mut self) -> Result<(), StoreError> {
        self.connection = self.link.apart().await?;
        self.cursor = self.end().await.map_err(|broken| self.told(broken))?;
        // Behind the end was read: what came before it is not read any more.
        self.watchers.wake_all();
        Ok(())
    }

    fn told(&self, broken: Broken) -> StoreError {
        match broken {
            Broken::Connection => {
                StoreError::Unavailable(format!("{} closed the connection", self.link.address()).into())
            }
            Broken::Store(error) => error,
        }
    }

    /// The number of the feed's last line.
    async fn end(&mut self) -> Result<u64, Broken> {
        let mut last = cmd("XREVRANGE");
        last.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let mut lines = Reply::of(self.ask(&last, Duration::ZERO).await?)?;
        if lines.is_empty() {
            return Ok(0);
        }
        Ok(Line::read(lines.list()?)?.number)
    }

    async fn ask(&mut self, command: &deadpool_redis::redis::Cmd, held_back: Duration) -> Result<Value, Broken> {
        let answer = command.query_async(&mut self.connection);
        let answer = timeout(held_back + self.link.timeout(), answer).await.map_err(|_| Broken::Connection)?;
        Ok(answer?)
    }

    async fn read_on(&mut self) -> Result<(), Broken> {
        let mut next = cmd("XREAD");
        let held_ms = u64::try_from(HELD_BACK.as_millis()).unwrap_or(u64::MAX);
        next.arg("COUNT").arg(LINES).arg("BLOCK").arg(held_ms).arg("STREAMS").arg(&self.key);
        next.arg(format!("{}-0", self.cursor));
        let mut streams = Reply::of(self.ask(&next, HELD_BACK).await?)?;
        if streams.is_empty() {
            return self.look_back().await;
        }
        let mut stream = streams.list()?;
        stream.text()?;
        let mut lines = stream.list()?;
        while !lines.is_empty() {
            let line = Line::read(lines.list()?)?;
            if line.number != self.cursor + 1 {
                // Left behind so far that lines are gone.
                self.watchers.wake_all();
            }
            self.cursor = line.number;
            match line.news {
                News::Task(key, woken) => self.watchers.wake_to(&key, woken),
                News::TaskGone(key) => self.watchers.close(&key),
                News::Agents => self.watchers.wake_for_agents(),
            }
        }
        Ok(())
    }

    /// Nothing came for a while: the feed may have begun anew with smaller numbers.
    async fn look_back(&mut self) -> Result<(), Broken> {
        let end = self.end().await?;
        if end < self.cursor {
            self.cursor = end;
            self.watchers.wake_all();
        }
        Ok(())
    }
}

/// One line.
struct Line {
    number: u64,
    news: News,
}

enum News {
    /// A task has a new version.
    Task(TaskKey, Woken),
    /// There is no such task any more.
    TaskGone(TaskKey),
    /// An agent came, went, or is another than before.
    Agents,
}

impl Line {
    fn read(mut entry: Reply) -> Result<Self, StoreError> {
        let id = entry.text()?;
        let number = id.split('-').next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| StoreError::Corrupt("the feed's lines have no numbers".into()))?;
        let mut fields = entry.list()?;
        let (mut tenant, mut task, mut version, mut may_have_ended) = (String::new(), String::new(), None, true);
        while !fields.is_empty() {
            let (name, value) = (fields.text()?, fields.text()?);
            match name.as_str() {
                "a" => return Ok(Self { number, news: News::Agents }),
                "t" => tenant = value,
                "i" => task = value,
                "v" => version = value.parse().ok(),
                "o" => may_have_ended = false,
                _ => {}
            }
        }
        let key = TaskKey { tenant: Tenant::trusted(tenant), id: TaskId::trusted(task) };
        let news = match version {
            Some(version) => News::Task(key, Woken { version, may_have_ended }),
            None => News::TaskGone(key),
        };
        Ok(Self { number, news })
    }
}
