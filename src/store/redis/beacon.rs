//! Signs of life for a foreign master, which knows agents by a key that each of them keeps alive.

use super::link::{Again, Link};
use super::options::RedisOptions;
use super::predecessor::{BEAT_SECONDS, beat};
use crate::store::StoreError;
use crate::task::{AgentId, StepId};
use deadpool_redis::redis::cmd;

/// Where a foreign master looks for signs of life.
pub struct Beacon {
    link: Link,
}

impl Beacon {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server is not there now, [`StoreError::Refused`] when it lets us not in.
    pub async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        let link = Link::new(options)?;
        link.ask(&cmd("PING"), Again::Yes).await?;
        Ok(Self { link })
    }

    /// Says that an agent lives for half a minute from now, how busy it is and with which steps.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn beat(&self, agent: &AgentId, load: f64, active: &[StepId]) -> Result<(), StoreError> {
        let mut command = cmd("SET");
        command.arg(format!("heartbeat:{agent}")).arg(beat(agent, load, active)).arg("EX").arg(BEAT_SECONDS);
        self.link.ask(&command, Again::Yes).await.map(|_| ())
    }
}
