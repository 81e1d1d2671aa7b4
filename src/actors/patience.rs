//! How long the actors wait for what is outside of them. A store that does not answer is one that cannot be used just now.

use crate::store::StoreError;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// How long one answer of the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds a call to the store.
pub(super) async fn patiently<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || Err(StoreError::Unavailable("it did not answer in time".into()));
    within(STORE_TIMEOUT, call).await.unwrap_or_else(late)
}

/// Waits for a future until then; none when it is late. What is there at once, as from a store in memory, is had without
/// the price of a timer.
pub(super) async fn within<F: Future>(until: impl Into<Until>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout_at(until.into().moment(), future).await.ok(),
    }
}

/// Until when something is waited for.
pub(super) enum Until {
    /// So long from now.
    For(Duration),
    /// Until that moment.
    At(Instant),
}

impl Until {
    fn moment(self) -> Instant {
        match self {
            Self::For(duration) => Instant::now() + duration,
            Self::At(moment) => moment,
        }
    }
}

impl From<Duration> for Until {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

impl From<Instant> for Until {
    fn from(moment: Instant) -> Self {
        Self::At(moment)
    }
}
