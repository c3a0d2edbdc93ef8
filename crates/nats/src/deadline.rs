//! Futures with a deadline, which cost nothing while the inner future is ready at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::Sleep;

/// Runs a future until the deadline; nothing when it was not ready by then.
///
/// A future that is ready at once (most host calls, most messages) never touches the timer.
pub fn within<F: Future>(deadline: Instant, future: F) -> Within<F, impl FnOnce() -> Instant> {
    by(move || deadline, future)
}

/// As [`within`], for so long from now; a future that is ready at once does not even look at the
/// clock.
pub(crate) fn at_most<F: Future>(
    limit: Duration,
    future: F,
) -> Within<F, impl FnOnce() -> Instant> {
    by(move || Instant::now() + limit, future)
}

/// As [`within`], until a deadline that is reckoned only for a future that is not ready at once.
pub fn by<F: Future, D: FnOnce() -> Instant>(deadline: D, future: F) -> Within<F, D> {
    Within {
        future,
        deadline: Some(deadline),
        timer: None,
    }
}

pin_project! {
    /// A future with an end. It holds the other one once: an `async fn` would hold what it is
    /// given, and once more what it waits for, and what has such a future in it would be twice as
    /// large again.
    pub struct Within<F, D> {
        #[pin]
        future: F,
        // Taken when the future was not ready at once.
        deadline: Option<D>,
        // In a place of its own, for the few that need it.
        timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    }
}

impl<F: Future, D: FnOnce() -> Instant> Future for Within<F, D> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if let Some(deadline) = this.deadline.take() {
            let timer = tokio::time::sleep_until(deadline().into());
            // A future that always uses up the turn of its task must not keep us from looking.
            *this.timer = Some(Box::pin(unconstrained(timer)));
        }
        match this.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
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
    async fn a_future_that_never_lets_others_have_their_turn_is_cut() {
        let soon = Instant::now() + Duration::from_millis(5);
        let greedy = async {
            loop {
                tokio::task::coop::consume_budget().await;
            }
        };
        assert_eq!(within::<_>(soon, greedy).await, None::<()>);
    }

    #[tokio::test]
    async fn a_future_that_waits_a_little_finishes() {
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(within(later, tokio::task::yield_now()).await, Some(()));
    }
}
