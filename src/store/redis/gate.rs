//! How much is asked of the server at once for tasks. Without a bound, ten thousand callers together would all wait longer
//! than an answer may take, and all fail, although the server was busy with what they asked all the time.

use crate::store::StoreError;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Commits and reads of tasks under way, per store. The server takes some half a millisecond over each, so that what is let in
/// is answered within a small part of the least sensible time-out, even with ten masters.
const UNDER_WAY: usize = 128;
/// Acceptances among them and waiting for their turn: what has begun goes before what is new.
const ACCEPTANCES: usize = 32;
/// How long all turns of a call are waited for. More than the server answers in that time is more than can be worked on. Well
/// below what any caller waits for the whole: whoever gives up here is told so, and knows that nothing was sent.
const PATIENCE: Duration = Duration::from_secs(4);

/// Lets so many in at once, in the order in which they come. What keeps everything alive does not pass here: heartbeats,
/// renewals and sweeps are few, and late ones would end what is well.
pub(super) struct Gate {
    all: Semaphore,
    acceptances: Semaphore,
}

/// Let in.
pub(super) struct Pass<'a> {
    _one: SemaphorePermit<'a>,
    _acceptance: Option<SemaphorePermit<'a>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { all: Semaphore::new(UNDER_WAY), acceptances: Semaphore::new(ACCEPTANCES) }
    }
}

impl Gate {
    /// Waits until something may be asked about a task.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when its turn does not come within four seconds.
    pub async fn pass(&self) -> Result<Pass<'_>, StoreError> {
        patiently(async { Some(Pass { _one: self.all.acquire().await.ok()?, _acceptance: None }) }).await
    }

    /// Waits until a new task may be written.
    ///
    /// # Errors
    /// As [`pass`](Self::pass), of both turns together.
    pub async fn pass_new(&self) -> Result<Pass<'_>, StoreError> {
        patiently(async {
            let acceptance = self.acceptances.acquire().await.ok()?;
            Some(Pass { _one: self.all.acquire().await.ok()?, _acceptance: Some(acceptance) })
        })
        .await
    }
}

async fn patiently<'a>(pass: impl Future<Output = Option<Pass<'a>>>) -> Result<Pass<'a>, StoreError> {
    let words = "more is asked of it at once than it answers; send less at once, or give it a faster machine";
    // A semaphore is closed by nobody here.
    timeout(PATIENCE, pass).await.ok().flatten().ok_or(StoreError::Busy(words.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_goes_before_what_is_new() {
        let gate = Gate::default();
        let mut inside = Vec::new();
        for _ in 0..ACCEPTANCES {
            inside.push(gate.pass_new().await.unwrap());
        }
        let is_refused = gate.pass_new().await.is_err_and(|error| matches!(error, StoreError::Busy(_)));
        assert!(is_refused, "one more waits for another's end, and not for ever");
        for _ in ACCEPTANCES..UNDER_WAY {
            inside.push(gate.pass().await.unwrap());
        }
        assert!(gate.pass().await.is_err(), "all turns are taken");
        inside.clear();
        assert!(gate.pass_new().await.is_ok() && gate.pass().await.is_ok(), "turns come back");
    }
}
