//! How long the actors wait for the store. A store that does not answer is one that cannot be used just now.

use crate::store::StoreError;
use std::time::Duration;

/// How long one answer of the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds a call to the store.
pub(super) async fn patiently<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(STORE_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable("it did not answer in time".into())),
    }
}
