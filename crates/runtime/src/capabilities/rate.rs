//! A rate limiter: the generic cell rate algorithm (GCRA).
//!
//! Its state is one number, so it needs neither a lock nor a task: the moment at which everything
//! taken so far is paid for. It may run ahead of the clock by the burst, never further.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mistersmith_core::limits;

/// A rate of so many a second; shared between threads.
#[derive(Debug)]
pub(super) struct Rate {
    paid_until: AtomicU64,
    interval: u64,
    burst: u64,
}

impl Rate {
    /// Allows `per_second` a second, and as many at once after a quiet second. Zero allows none.
    pub(super) fn new(per_second: u32) -> Self {
        let second = nanos(Duration::from_secs(1));
        Self {
            paid_until: AtomicU64::new(0),
            interval: second
                .checked_div(u64::from(per_second))
                .unwrap_or(u64::MAX),
            burst: second,
        }
    }

    /// Takes one if there is one.
    pub(super) fn take(&self) -> bool {
        self.take_at(clock())
    }

    fn take_at(&self, now: Duration) -> bool {
        let now = nanos(now);
        let pay = |paid: u64| {
            let after = paid.max(now).checked_add(self.interval)?;
            (after - now <= self.burst).then_some(after)
        };
        self.paid_until
            .try_update(Ordering::Relaxed, Ordering::Relaxed, pay)
            .is_ok()
    }
}

impl Rate {
    /// Takes so many whether there are as many or not. What is owed beyond the burst is paid before
    /// the next one is taken.
    pub(super) fn charge(&self, count: u64) {
        let now = nanos(clock());
        let owed = self.interval.saturating_mul(count);
        let pay = |paid: u64| Some(paid.max(now).saturating_add(owed));
        let _ = self
            .paid_until
            .try_update(Ordering::Relaxed, Ordering::Relaxed, pay);
    }
}

/// A rate of bytes per second, kept by waiting; shared by all agents of a plugin on a host.
#[derive(Debug)]
pub struct ByteRate {
    paid_until: AtomicU64,
    per_second: u64,
}

impl ByteRate {
    /// Allows so many bytes a second.
    pub fn new(per_second: u64) -> Self {
        Self {
            paid_until: AtomicU64::new(0),
            per_second: per_second.max(1),
        }
    }

    /// Reserves bytes that may be sent after the returned time; `None` if that is longer than
    /// `most`, and then nothing is reserved. Whatever their number, they need not wait when nothing
    /// was sent for a while: one message may be larger than the rate.
    pub(super) fn reserve(&self, bytes: usize, most: Duration) -> Option<Duration> {
        self.reserve_at(clock(), bytes, most)
    }

    fn reserve_at(&self, now: Duration, bytes: usize, most: Duration) -> Option<Duration> {
        let now = nanos(now);
        let second = u128::from(nanos(Duration::from_secs(1)));
        let cost = bytes as u128 * second / u128::from(self.per_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let ahead = nanos(limits::BYTES_AT_ONCE);
        let wait = |paid: u64| paid.saturating_sub(now).saturating_sub(ahead);
        let pay =
            |paid: u64| (wait(paid) <= nanos(most)).then(|| paid.max(now).saturating_add(cost));
        let before = self
            .paid_until
            .try_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        before.ok().map(|paid| Duration::from_nanos(wait(paid)))
    }
}

/// A monotonic clock, cheap to read and a few milliseconds late: enough for rates per second.
#[cfg(target_os = "linux")]
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::try_from(now).unwrap_or_default()
}

/// Goes on evenly.
#[cfg(not(target_os = "linux"))]
fn clock() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

/// 584 years fit; a clock beyond that is as good as at the end.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `asked` attempts succeed at this time.
    fn taken(rate: &Rate, at_ms: u64, asked: usize) -> usize {
        let now = Duration::from_millis(at_ms);
        (0..asked).filter(|_| rate.take_at(now)).count()
    }

    #[test]
    fn a_second_holds_the_rate_and_no_more() {
        for per_second in [1, 3, 100, 1000, 1_000_000] {
            let rate = Rate::new(per_second);
            let all = per_second as usize;
            assert_eq!(taken(&rate, 0, all + 10), all, "{per_second}/s at once");
            assert_eq!(
                taken(&rate, 0, 10),
                0,
                "{per_second}/s: the bucket is empty"
            );
            assert_eq!(
                taken(&rate, 60_000, 2 * all),
                all,
                "{per_second}/s: a quiet minute saves up one second"
            );
        }
    }

    #[test]
    fn it_fills_evenly() {
        let rate = Rate::new(100);
        assert_eq!(taken(&rate, 0, 1000), 100);
        assert_eq!(taken(&rate, 9, 10), 0);
        assert_eq!(taken(&rate, 10, 10), 1);
        assert_eq!(taken(&rate, 510, 1000), 50);
    }

    #[test]
    fn zero_allows_none() {
        let rate = Rate::new(0);
        assert_eq!(taken(&rate, 0, 5) + taken(&rate, 1_000_000, 5), 0);
    }

    #[test]
    fn what_a_call_cost_is_paid_before_the_next() {
        let rate = Rate::new(100);
        rate.charge(250);
        let now = clock();
        assert!(!rate.take_at(now), "a second and a half is owed");
        assert!(!rate.take_at(now + Duration::from_millis(1_400)));
        assert!(rate.take_at(now + Duration::from_millis(1_600)));
    }

    #[test]
    fn bytes_wait_for_their_turn_and_large_ones_go_when_nothing_was_sent() {
        let rate = ByteRate::new(1_000_000);
        let most = Duration::from_secs(1);
        let at = |ms: u64, bytes: usize| {
            let wait = rate.reserve_at(Duration::from_millis(10_000 + ms), bytes, most);
            wait.map(|wait| wait.as_millis())
        };
        assert_eq!(at(0, 62_000), Some(0), "a burst");
        assert_eq!(at(0, 100_000), Some(0), "the burst is not beyond yet");
        assert_eq!(at(0, 100_000), Some(100));
        assert_eq!(at(100, 900_000), Some(100));
        assert_eq!(at(100, 1), Some(1_000));
        assert_eq!(at(99, 1), None, "it would wait for more than a second");
        assert_eq!(
            at(3_000, 5_000_000),
            Some(0),
            "more than the rate, after a pause"
        );
        assert_eq!(at(3_000, 1), None);
        assert_eq!(at(8_000, 1), Some(0));
    }

    #[test]
    fn threads_share_it() {
        let rate = Rate::new(1000);
        let now = Duration::from_millis(1);
        let total: usize = std::thread::scope(|scope| {
            let count = || (0..1000).filter(|_| rate.take_at(now)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            workers
                .into_iter()
                .map(|w| w.join().unwrap_or_default())
                .sum()
        });
        assert_eq!(total, 1000);
    }
}
