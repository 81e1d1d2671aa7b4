//! Tasks in a Redis server, which several processes can share.

mod options;

pub use options::{RedisOptions, Secret};

use super::{MemoryStore, StoreError};

/// Not there yet.
pub struct RedisStore;

impl RedisStore {
    /// Not there yet.
    ///
    /// # Errors
    /// Always.
    #[expect(clippy::unused_async, reason = "it will wait")]
    pub async fn connect(options: RedisOptions) -> Result<MemoryStore, StoreError> {
        Err(StoreError::Refused(format!("{options:?} is not there yet").into()))
    }
}
