//! Counters of the actions of an agent.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One number that goes up and down, made of the shares of several.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// A share that was `before` is `now`.
    pub fn change(&self, before: usize, now: usize) {
        // The sum of all shares is never negative, so wrapping on the way does no harm.
        self.0
            .fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    /// The sum now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers of one agent; they live as long as the agent, across its instances.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages it sent: publishes and requests that left the host, and what its handler answered.
    pub sent: Counter,
    /// Messages that its run-time subscriptions took in.
    pub received: Counter,
    /// Messages of its run-time subscriptions that were lost: it was too slow for them, or they
    /// were over `payload`.
    pub lost: Counter,
    /// Calls that a permission refused.
    pub refused: Counter,
    /// Calls that a limit refused: rate, size, number.
    pub limited: Counter,
    /// Log lines it wrote, standard output and error included.
    pub logged: Counter,
    /// Log lines that were over its rate and dropped.
    pub unlogged: Counter,
    /// Nanoseconds that its calls computed.
    pub computed_ns: Counter,
    /// Bytes of memories and tables of its instances, as of the end of the last call.
    pub memory: Gauge,
}

/// What [`Counters`] counts at one moment, same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named like the counters")]
pub struct Counts {
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub refused: u64,
    pub limited: u64,
    pub logged: u64,
    pub unlogged: u64,
}

impl Counters {
    /// The numbers now.
    pub fn snapshot(&self) -> Counts {
        Counts {
            sent: self.sent.get(),
            received: self.received.get(),
            lost: self.lost.get(),
            refused: self.refused.get(),
            limited: self.limited.get(),
            logged: self.logged.get(),
            unlogged: self.unlogged.get(),
        }
    }
}
