//! How much of something an agent may do in a second.
//!
//! One number instead of a lock or a task: the moment until which everything taken so far is paid
//! for. It may run ahead of the clock by the burst, never further.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A token bucket; shared between threads.
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

/// Goes on evenly. It is cheap to read and a few milliseconds late: what is counted by the second needs no
/// better one.
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
