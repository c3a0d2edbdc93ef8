//! How times are spread: percentiles within a bounded memory.
//!
//! Times are counted in buckets, 32 for each doubling, so that a percentile is at most a 32nd too
//! large, whatever the times are and however many there are.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::lifecycle::now;

/// Buckets of each doubling, as a power of two.
const FINE: u32 = 5;

/// Doublings above the exact ones: up to 2^40 microseconds, which is twelve days.
const DOUBLINGS: u32 = 36;

/// All buckets: the exact ones below `2^FINE` microseconds, and those of the doublings.
const BUCKETS: usize = ((DOUBLINGS as usize) + 1) << FINE;

/// Times of one kind.
#[derive(Debug)]
pub(super) struct Spread {
    buckets: Vec<u64>,
    count: u64,
    most: Duration,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            most: Duration::ZERO,
        }
    }
}

impl Spread {
    pub(super) fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(place(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.most = self.most.max(time);
    }

    /// The time that this part of all times does not exceed; none without any.
    fn percentile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if *bucket > 0 && seen >= rank {
                return Some(Duration::from_micros(upper(place)).min(self.most));
            }
        }
        None
    }

    /// `{value, unit, at, p50, p95, p99, max, count}`, in milliseconds; null where nothing came.
    pub(super) fn body(&self) -> Value {
        let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
        let at = |part| self.percentile(part).map(ms);
        json!({
            "value": at(0.5), "unit": "ms", "at": now(),
            "p50": at(0.5), "p95": at(0.95), "p99": at(0.99),
            "max": (self.count > 0).then(|| ms(self.most)), "count": self.count,
        })
    }
}

/// The bucket of a time in microseconds.
fn place(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(FINE);
    let place = (u64::from(doublings) << FINE) + (micros >> doublings);
    usize::try_from(place)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

/// The longest time that a bucket counts, in microseconds.
fn upper(place: usize) -> u64 {
    let place = place as u64;
    let doublings = (place >> FINE).saturating_sub(1);
    let within = place - (doublings << FINE);
    ((within + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_put_into_it() {
        let mut last = 0;
        for micros in (0..10_000).chain([1 << 20, (1 << 40) - 1]) {
            let place = place(micros);
            assert!(place >= last, "{micros}");
            last = place;
            let upper = upper(place);
            assert!(upper >= micros, "{micros}: {upper}");
            assert!(upper - micros <= micros / 32, "{micros}: {upper}");
        }
        assert_eq!(place(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut spread = Spread::default();
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
        let body = Spread::default().body();
        assert_eq!(body.get("p99"), Some(&Value::Null));
        assert_eq!(body.get("count"), Some(&json!(0)));
    }
}
