//! Waiting with an end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Runs a future until the deadline; nothing when it was not ready by then, and the future is dropped.
///
/// A future that is ready at once (most host calls, most messages) never touches the timer.
pub(crate) async fn within<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    until(|| deadline, future).await
}

/// As [`within`], for so long from now; a future that is ready at once does not even look at the clock.
pub(crate) async fn at_most<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    until(|| Instant::now() + limit, future).await
}

async fn until<F: Future>(deadline: impl FnOnce() -> Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    if let Poll::Ready(output) = first {
        return Some(output);
    }
    let deadline = deadline();
    // In a place of its own: the timer would make every caller's future larger by its size.
    Box::pin(tokio::time::timeout_at(deadline.into(), future))
        .await
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ready_future_wins_even_after_the_deadline() {
        assert_eq!(within(Instant::now(), async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn a_future_that_never_ends_is_cut() {
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(within(soon, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_span_is_counted_from_the_beginning_of_the_wait() {
        let (moment, minute) = (Duration::from_millis(5), Duration::from_secs(60));
        assert_eq!(at_most(Duration::ZERO, async { 1 }).await, Some(1));
        assert_eq!(at_most(moment, std::future::pending::<()>()).await, None);
        assert_eq!(at_most(minute, tokio::task::yield_now()).await, Some(()));
    }

    #[tokio::test]
    async fn a_future_that_waits_a_little_finishes() {
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(within(later, tokio::task::yield_now()).await, Some(()));
    }
}
