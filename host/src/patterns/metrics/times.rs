//! How long work items waited and took, since the last report.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::patterns::Answer;
use crate::patterns::delivery::{Held, Output};
use crate::transport::ServerClock;

use super::spread::Spread;

/// Times of the work items of this host.
#[derive(Debug)]
pub struct WorkTimes {
    times: Mutex<Times>,
    clock: ServerClock,
}

#[derive(Debug, Default)]
struct Times {
    queue_wait: Spread,
    processing: Spread,
    end_to_end: Spread,
}

impl WorkTimes {
    /// None so far; items are stored by this clock.
    pub fn new(clock: ServerClock) -> Self {
        Self {
            times: Mutex::default(),
            clock,
        }
    }

    /// A call has ended that began at this moment, for a message of this origin.
    pub fn handled(&self, origin: &Answer, begun: Instant, took: Duration) {
        let Answer::Held(held) = origin else { return };
        if !is_work(held) {
            return;
        }
        let since = self.since_stored(held).saturating_sub(begun.elapsed());
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
            let took = self.since_stored(held);
            self.times().end_to_end.add(took);
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
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_stored(&self, held: &Held) -> Duration {
        self.clock.since(held.meta.stored_at_ns)
    }
}

fn is_work(held: &Held) -> bool {
    matches!(held.output, Output::Result)
}
