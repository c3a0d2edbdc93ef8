//! Statistics of an agent's `execute` commands, counted as NATS micro services count requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Counters of the `execute` commands of one agent, refused ones included.
#[derive(Debug, Default)]
pub struct Executed {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    last_error: Mutex<String>,
}

impl Executed {
    /// Counts one command and its duration; `error` is its failure.
    pub fn add(&self, took: Duration, error: Option<&str>) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(error) = error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            error.clone_into(&mut self.last_error());
        }
    }

    fn last_error(&self) -> parking_lot::MutexGuard<'_, String> {
        self.last_error.lock()
    }

    /// `num_requests`, `num_errors`, `last_error`, and the times in nanoseconds.
    pub fn stats(&self) -> Value {
        let requests = self.requests.load(Ordering::Relaxed);
        let nanos = self.nanos.load(Ordering::Relaxed);
        json!({
            "num_requests": requests,
            "num_errors": self.errors.load(Ordering::Relaxed),
            "last_error": *self.last_error(),
            "processing_time": nanos,
            "average_processing_time": nanos.checked_div(requests).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_and_their_time_is_averaged() {
        let executed = Executed::default();
        let stats = executed.stats();
        assert_eq!(stats.get("average_processing_time"), Some(&json!(0)));
        executed.add(Duration::from_nanos(10), None);
        executed.add(Duration::from_nanos(20), Some("no"));
        assert_eq!(
            executed.stats(),
            json!({
                "num_requests": 2, "num_errors": 1, "last_error": "no",
                "processing_time": 30, "average_processing_time": 15,
            })
        );
    }
}
