//! How long work items waited and took, since the last report.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::patterns::Answer;
use crate::patterns::delivery::{Held, Output};

use super::spread::Spread;

/// Times of the work items of this host.
#[derive(Debug, Default)]
pub struct WorkTimes(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    queue_wait: Spread,
    processing: Spread,
    end_to_end: Spread,
}

impl WorkTimes {
    /// A call has ended that began at this moment, for a message of this origin.
    pub fn handled(&self, origin: &Answer, begun: Instant, took: Duration) {
        let Answer::Held(held) = origin else { return };
        if !is_work(held) {
            return;
        }
        let since = since_stored(held).saturating_sub(begun.elapsed());
        let mut times = self.times();
        times.processing.add(took);
        // What was tried before has waited for its retry, not for an agent.
        if held.meta.deliveries == 1 {
            times.queue_wait.add(since);
        }
    }

    /// The result of a message is stored.
    pub fn stored(&self, held: &Held) {
        if is_work(held) {
            self.times().end_to_end.add(since_stored(held));
        }
    }

    /// What was measured since the last time, by name of the metric.
    pub(super) fn take(&self) -> [(&'static str, Spread); 3] {
        let times = std::mem::take(&mut *self.times());
        [
            ("processing_time", times.processing),
            ("queue_wait", times.queue_wait),
            ("end_to_end", times.end_to_end),
        ]
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_work(held: &Held) -> bool {
    matches!(held.output, Output::Result)
}

/// By two clocks, the server's and ours: zero where they disagree about the order.
fn since_stored(held: &Held) -> Duration {
    let stored = SystemTime::UNIX_EPOCH + Duration::from_nanos(held.meta.stored_at_ns);
    stored.elapsed().unwrap_or_default()
}
