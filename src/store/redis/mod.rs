//! Tasks in a Redis server, which several processes can share.

mod options;

pub use options::{RedisOptions, Secret};
