//! A histogram of durations, published as percentiles.
//!
//! An HDR histogram counts durations in buckets at most one percent wide, so that the memory is
//! bounded for any number and range of durations. It grows with the longest duration, so a plugin
//! without work has next to nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::now;

/// Significant digits of a percentile.
const DIGITS: u8 = 2;

/// The longest distinguishable duration, in microseconds: twelve days.
const LONGEST: u64 = 1 << 40;

/// The durations of one kind.
#[derive(Debug, Default)]
pub struct Histogram {
    /// In microseconds; none before the first duration.
    times: Option<hdrhistogram::Histogram<u32>>,
    longest: Duration,
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if self.times.is_none() {
            self.times = hdrhistogram::Histogram::new(DIGITS).ok();
        }
        if let Some(times) = &mut self.times {
            // It resizes itself, and fails only beyond 64 bits.
            let _ = times.record(micros.min(LONGEST));
        }
        self.longest = self.longest.max(time);
    }

    fn count(&self) -> u64 {
        self.times.as_ref().map_or(0, |times| times.len())
    }

    /// The duration that this part of all durations does not exceed; none without any.
    fn percentile(&self, part: f64) -> Option<Duration> {
        let times = self.times.as_ref().filter(|times| !times.is_empty())?;
        let upper = Duration::from_micros(times.value_at_quantile(part));
        Some(upper.min(self.longest))
    }

    /// `{value, unit, at, p50, p95, p99, max, count}`, in milliseconds; null without durations.
    pub fn body(&self) -> Value {
        let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
        let at = |part| self.percentile(part).map(ms);
        let count = self.count();
        json!({
            "value": at(0.5), "unit": "ms", "at": now(),
            "p50": at(0.5), "p95": at(0.95), "p99": at(0.99),
            "max": (count > 0).then(|| ms(self.longest)), "count": count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_a_hundredth_too_large() {
        for micros in (0..10_000).chain([1 << 20, LONGEST]) {
            let mut times = Histogram::default();
            times.add(Duration::from_micros(micros));
            // A longer duration, so that the percentile shows the bucket and not the maximum.
            times.add(Duration::from_micros(micros * 2 + 2));
            let found = times.percentile(0.5).map(|time| time.as_micros() as u64);
            let near = found.is_some_and(|found| (micros..=micros + micros / 100).contains(&found));
            assert!(near, "{micros}: {found:?}");
        }
    }

    #[test]
    fn memory_follows_the_longest_time_and_is_bounded() {
        let cells = |longest: Duration| {
            let mut times = Histogram::default();
            times.add(longest);
            times.times.map_or(0, |times| times.distinct_values())
        };
        assert!(cells(Duration::from_millis(1)) <= 1024);
        assert!(cells(Duration::from_secs(10)) <= 4096);
        assert!(cells(Duration::MAX) <= 8192);
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut spread = Histogram::default();
        assert_eq!(spread.percentile(0.5), None);
        for ms in 1..=1000 {
            spread.add(Duration::from_millis(ms));
        }
        for (part, ms) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = spread
                .percentile(part)
                .map(|found| found.as_secs_f64() * 1000.0);
            let near = found.is_some_and(|found| (ms..=ms * 1.04).contains(&found));
            assert!(near, "{part}: {found:?}");
        }
        assert_eq!(spread.percentile(1.0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        let body = Histogram::default().body();
        assert_eq!(body.get("p99"), Some(&Value::Null));
        assert_eq!(body.get("count"), Some(&json!(0)));
    }
}
