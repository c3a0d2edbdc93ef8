//! Waiting and handling times of work items since the last report.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::delivery::{Destination, HeldMessage};
use mistersmith_nats::ServerClock;
use mistersmith_runtime::{Call, Kind};

use super::histogram::Histogram;

/// The times of this host's work items.
#[derive(Debug)]
pub struct WorkTimes {
    times: Mutex<Times>,
    clock: ServerClock,
}

#[derive(Debug, Default)]
struct Times {
    queue_wait: Histogram,
    processing: Histogram,
    end_to_end: Histogram,
}

impl WorkTimes {
    /// No times yet; `clock` is the server clock that stamps items.
    pub fn new(clock: ServerClock) -> Self {
        Self {
            times: Mutex::default(),
            clock,
        }
    }

    /// Records a call that began at `begun` for a message with this answer.
    pub fn handled(&self, call: &Call, origin: &Destination, begun: Instant, took: Duration) {
        let Destination::HeldMessage(held) = origin else {
            return;
        };
        if !is_work(call) {
            return;
        }
        let since = self.since_stored(held).saturating_sub(begun.elapsed());
        let mut times = self.times();
        times.processing.add(took);
        // A redelivered item waited for its retry, not for an agent.
        if held.info.deliveries == 1 {
            times.queue_wait.add(since);
        }
    }

    /// Records that the result of a message is stored.
    pub fn stored(&self, call: &Call, held: &HeldMessage) {
        if is_work(call) {
            let took = self.since_stored(held);
            self.times().end_to_end.add(took);
        }
    }

    /// Takes the histograms since the last call, by metric name.
    pub fn take(&self) -> [(&'static str, Histogram); 3] {
        let times = std::mem::take(&mut *self.times());
        [
            ("processing_time", times.processing),
            ("queue_wait", times.queue_wait),
            ("end_to_end", times.end_to_end),
        ]
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock()
    }

    fn since_stored(&self, held: &HeldMessage) -> Duration {
        self.clock.since(held.info.stored_at_ns)
    }
}

fn is_work(call: &Call) -> bool {
    matches!(call.kind, Kind::Work { .. })
}
