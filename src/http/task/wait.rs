//! Waiting for a task to end, bounded in time and in number. It ends early when the process drains or the client goes,
//! and never loses anything: what it waits for goes on without it.

use crate::http::Api;
use crate::http::error::ApiError;
use crate::http::request::no_such_task;
use crate::store::Woken;
use crate::task::{Task, TaskKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Reads a task.
pub(super) async fn load(api: &Api, key: &TaskKey) -> Result<Arc<Task>, ApiError> {
    let task = api.store.load(key).await?.ok_or_else(|| no_such_task(key.id.as_str()))?;
    if task.readable() { Ok(task) } else { Err(crate::store::StoreError::Newer(key.to_string().into()).into()) }
}

/// A task once it has ended, or as it stands after the wait.
pub(super) async fn wait(api: &Api, key: &TaskKey, longest: Duration) -> Result<Arc<Task>, ApiError> {
    if longest.is_zero() {
        return load(api, key).await;
    }
    let until = Instant::now() + longest;
    // One too many waiters get the state so far, as if their wait had ended.
    let place = api.watchers.try_acquire();
    let mut wake = api.store.wake(key);
    let mut draining = api.site.readiness.watch();
    loop {
        // Before the load, so that a change after it wakes.
        wake.borrow_and_update();
        let task = load(api, key).await?;
        if task.end.is_some() || place.is_err() || *draining.borrow() {
            return Ok(task);
        }
        tokio::select! {
            ended = may_have_ended(&mut wake) => if !ended { return load(api, key).await },
            _ = draining.changed() => {}
            () = tokio::time::sleep_until(until) => return load(api, key).await,
        }
    }
}

/// Waits until a task may have ended: what it is at on the way there need not be read. False when it is gone, or the
/// store is.
async fn may_have_ended(wake: &mut watch::Receiver<Woken>) -> bool {
    while wake.changed().await.is_ok() {
        if wake.borrow_and_update().may_have_ended {
            return true;
        }
    }
    false
}
