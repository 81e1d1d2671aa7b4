//! How many calls are under way at once, and how many wait for their turn. Whoever could not be answered in time, or comes
//! when as many wait as may, is told so at once.

use super::retry::no_time_left;
use super::trouble::{Trouble, TroubleKind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// A bounded number of seats, and a bounded queue before them.
#[derive(Debug)]
pub(super) struct Admission {
    seats: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A call is under way for as long as it is held.
#[derive(Debug)]
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// So many calls at once, and so many more that wait.
    pub fn new(concurrency: usize, queue: usize) -> Self {
        let bounded = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        Self { seats: bounded(concurrency.max(1)), waiting: bounded(queue) }
    }

    /// Waits for a seat, in the order of coming.
    ///
    /// # Errors
    /// [`TroubleKind::Full`] at once when too many wait; [`TroubleKind::TimedOut`] when no seat comes free by then.
    pub async fn enter(&self, until: Instant) -> Result<Seat, Trouble> {
        if let Ok(permit) = self.seats.clone().try_acquire_owned() {
            return Ok(Seat { _permit: permit });
        }
        let full = || Trouble::new(TroubleKind::Full, "as many model calls wait as may: send it again in a moment");
        let _place = self.waiting.try_acquire().map_err(|_| full())?;
        match timeout_at(until, self.seats.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Seat { _permit: permit }),
            // Nobody closes it.
            Ok(Err(_)) => Err(full()),
            Err(_) => Err(no_time_left()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_the_next_seat_and_one_too_many_is_told_so() {
        let admission = Admission::new(2, 1);
        let until = Instant::now() + Duration::from_secs(60);
        let first = admission.enter(until).await.unwrap();
        let _second = admission.enter(until).await.unwrap();
        let mut waits = Box::pin(admission.enter(until));
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(admission.enter(until).await.unwrap_err().kind, TroubleKind::Full);
        drop(first);
        let _third = waits.await.unwrap();
        // The place in the queue is free again.
        let began = Instant::now();
        let late = admission.enter(began + Duration::from_secs(5)).await.unwrap_err();
        assert_eq!((late.kind, began.elapsed()), (TroubleKind::TimedOut, Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_no_longer_wants_to_wait_leaves_its_place() {
        let admission = Admission::new(1, 1);
        let until = Instant::now() + Duration::from_secs(60);
        let seat = admission.enter(until).await.unwrap();
        let mut waits = Box::pin(admission.enter(until));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(waits);
        let mut next = Box::pin(admission.enter(until));
        assert!(next.as_mut().now_or_never().is_none(), "it waits, and is not refused");
        drop(seat);
        assert!(next.await.is_ok());
    }
}
