//! Standstills of the process: it was stopped by a signal, or its machine was suspended.
//!
//! A call is not charged for it. Otherwise a host that is stopped for longer than a call may take
//! would end every call that runs, and use up an attempt of each item.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often the process records that it runs.
const BEAT: Duration = Duration::from_millis(250);
/// A longer silence is a standstill; a shorter one may be a machine with too much to do.
const SILENCE: Duration = Duration::from_secs(1);

/// Of the process, so there is one of it.
static METER: Meter = Meter {
    last: Mutex::new(None),
    total: AtomicU64::new(0),
};

struct Meter {
    /// When it was noted last that the process runs; none when nobody does.
    last: Mutex<Option<Instant>>,
    /// All standstills so far, in nanoseconds.
    total: AtomicU64,
}

/// Begins to record that the process runs. Without it no standstill is measured.
pub fn watch() -> JoinHandle<()> {
    METER.note(Instant::now());
    tokio::spawn(async {
        let mut clock = tokio::time::interval(BEAT);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            METER.note(Instant::now());
        }
    })
}

/// All standstills so far, to be given to [`since`].
pub(super) fn total() -> u64 {
    METER.total()
}

/// How long the process stood still since the total was this, the standstill that has just ended
/// included.
pub(super) fn since(before: u64) -> Duration {
    METER.since(before, Instant::now())
}

impl Meter {
    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn since(&self, before: u64, now: Instant) -> Duration {
        let last = *self.last.lock();
        if last.is_some() {
            self.note(now);
        }
        Duration::from_nanos(self.total().saturating_sub(before))
    }

    fn note(&self, now: Instant) {
        let mut last = self.last.lock();
        let silence = last.map(|last| now.saturating_duration_since(last));
        *last = Some(now);
        drop(last);
        let Some(stood) = silence.and_then(standstill) else {
            return;
        };
        let nanos = u64::try_from(stood.as_nanos()).unwrap_or(u64::MAX);
        self.total.fetch_add(nanos, Ordering::Relaxed);
        tracing::warn!(
            stood_ms = stood.as_millis() as u64,
            "the process stood still: it was stopped, or had no processor"
        );
    }
}

/// How much of a silence was a standstill.
fn standstill(silence: Duration) -> Option<Duration> {
    (silence > SILENCE).then(|| silence - BEAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_silence_is_a_standstill() {
        assert_eq!(standstill(Duration::from_millis(900)), None);
        let silence = Duration::from_millis(5250);
        assert_eq!(standstill(silence), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_standstill_is_counted_once_and_only_where_somebody_notes() {
        let meter = Meter {
            last: Mutex::new(None),
            total: AtomicU64::new(0),
        };
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(meter.since(0, at(60_000)), Duration::ZERO);
        meter.note(at(60_000));
        assert_eq!(meter.since(0, at(60_500)), Duration::ZERO);
        assert_eq!(meter.since(0, at(65_750)), Duration::from_secs(5));
        assert_eq!(meter.since(0, at(65_751)), Duration::from_secs(5));
        assert_eq!(meter.since(meter.total(), at(65_752)), Duration::ZERO);
    }
}
