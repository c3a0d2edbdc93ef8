//! How long a call computes: the time spent in polls of it, whatever it does there.
//!
//! Waiting costs nothing, and giving way to others costs nothing. A call that never waits pays for
//! one look at the clock beyond the one that its deadline needs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures one call at a time. Shared by the call, which is polled, and by the store, whose ticks
/// ask from inside of a poll.
#[derive(Debug)]
pub(super) struct Stopwatch {
    origin: Instant,
    /// Of the polls that are over, in nanoseconds.
    used: AtomicU64,
    /// When the poll that runs began, in nanoseconds since the origin.
    since: AtomicU64,
}

impl Stopwatch {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            used: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// A call begins, and its first poll with it.
    pub(super) fn restart(&self, now: Instant) {
        self.used.store(0, Ordering::Relaxed);
        self.resume(now);
    }

    /// How long the call has computed. To be asked while it does.
    pub(super) fn used(&self, now: Instant) -> Duration {
        let running = self
            .at(now)
            .saturating_sub(self.since.load(Ordering::Relaxed));
        Duration::from_nanos(self.used.load(Ordering::Relaxed).saturating_add(running))
    }

    /// How long the call has computed. To be asked after it.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn resume(&self, now: Instant) {
        self.since.store(self.at(now), Ordering::Relaxed);
    }

    fn pause(&self, now: Instant) {
        let used = u64::try_from(self.used(now).as_nanos()).unwrap_or(u64::MAX);
        self.used.store(used, Ordering::Relaxed);
    }

    fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A call whose polls are measured; [`Stopwatch::restart`] began the first one.
pub(super) async fn measured<F: Future>(stopwatch: &Stopwatch, call: F) -> F::Output {
    let mut call = pin!(call);
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            stopwatch.resume(Instant::now());
        }
        let poll = call.as_mut().poll(cx);
        waited = poll.is_pending();
        stopwatch.pause(Instant::now());
        poll
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_added_up_and_waits_are_not() {
        let watch = Stopwatch::new();
        let at = |ms| watch.origin + Duration::from_millis(ms);
        watch.restart(at(1000));
        assert_eq!(watch.used(at(1030)), Duration::from_millis(30));
        watch.pause(at(1040));
        watch.resume(at(5000));
        assert_eq!(watch.used(at(5005)), Duration::from_millis(45));
        watch.pause(at(5010));
        watch.restart(at(6000));
        assert_eq!(
            watch.used(at(6000)),
            Duration::ZERO,
            "each call begins anew"
        );
    }

    #[tokio::test]
    async fn a_future_that_sleeps_computes_little() {
        let watch = Stopwatch::new();
        watch.restart(Instant::now());
        measured(&watch, tokio::time::sleep(Duration::from_millis(200))).await;
        assert!(
            Duration::from_nanos(watch.used.load(Ordering::Relaxed)) < Duration::from_millis(150)
        );
    }
}
