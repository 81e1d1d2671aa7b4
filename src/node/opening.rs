//! Opening the store that the settings name. A Redis server comes up beside this process as often as before it, so a start
//! waits for one that is not there yet, for a while; for one that lets us not in it does not wait.

use crate::settings::{Settings, StoreUrl};
use crate::store::{MemoryStore, RedisStore, SqliteOptions, SqliteStore, Store, StoreError, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause before a server is looked for again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Opens the store that the settings name.
///
/// # Errors
/// [`StoreError`] when it cannot be had, such as a file that another process has open.
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let clock = Arc::new(SystemClock::default());
    match settings.store.clone() {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new(clock))),
        StoreUrl::Sqlite(path) => {
            let options = SqliteOptions { durability: settings.durability, clock, ..SqliteOptions::new(path) };
            // Opening reads the open tasks: not on this thread.
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await;
            let opened = opened.map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
            Ok(Arc::new(opened?))
        }
        StoreUrl::Redis(url) => {
            // The settings have them whenever they have the URL.
            let missing = || StoreError::Refused(format!("{url} has no options").into());
            let options = settings.redis.clone().ok_or_else(missing)?;
            Ok(Arc::new(RedisStore::connect(options).await?))
        }
    }
}

/// The same at a server's start.
pub(super) async fn open_patiently(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let is_redis = matches!(settings.store, StoreUrl::Redis(_));
    let until = Instant::now() + settings.redis_start_wait;
    let mut pause = FIRST_PAUSE;
    loop {
        match open_store(settings).await {
            Err(StoreError::Unavailable(why)) if is_redis && Instant::now() + pause < until => {
                tracing::warn!("the store is not there yet and is looked for again in {pause:?}: {why}");
                // Those that were started together do not come together.
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            opened => return opened,
        }
    }
}
