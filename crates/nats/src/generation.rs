//! One client of the library, and the end of the library's task that serves it.
//!
//! A header with a lone carriage return ends that task with a panic (async-nats 0.51.0,
//! nats-io/nats.rs pull request 1612). From then on nothing arrives, nothing is sent, and the
//! library reports nothing. The library drops its event callback together with the task, and the
//! callback owns a [`TaskEndGuard`]: so the end is noticed in the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_nats::Client;
use async_nats::connection::State;
use tokio::sync::mpsc;

/// A client, which the next one replaces when the task that serves it has ended.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) client: Client,
    /// Which client of its connection it is, from 1.
    pub(super) number: u64,
    /// Since when the connection has it.
    pub(super) since: Instant,
    flags: Arc<ClientFlags>,
}

/// Flags that a client and the library's task share.
#[derive(Debug, Default)]
pub(super) struct ClientFlags {
    /// The task has ended.
    dead: AtomicBool,
    /// The connection uses this client. Events of a spare client are ignored.
    in_use: AtomicBool,
}

impl Generation {
    pub(super) fn new(client: Client, number: u64, flags: Arc<ClientFlags>) -> Self {
        Self {
            client,
            number,
            since: Instant::now(),
            flags,
        }
    }

    /// From here on the connection has this client.
    pub(super) fn begin(&mut self) {
        self.since = Instant::now();
        self.flags.in_use.store(true, Ordering::Release);
    }

    /// Its task has ended; what is given to it is lost.
    pub(super) fn is_dead(&self) -> bool {
        self.flags.dead.load(Ordering::Acquire)
    }

    /// It has a connection to a server.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected && !self.is_dead()
    }

    /// How often it has had a connection.
    pub(super) fn connects(&self) -> u64 {
        let statistics = self.client.statistics();
        statistics.connects.load(Ordering::Relaxed)
    }
}

/// Owned by the library's task through the event callback; its drop reports the end of the task.
#[derive(Debug)]
pub(super) struct TaskEndGuard {
    number: u64,
    flags: Arc<ClientFlags>,
    ends: mpsc::UnboundedSender<u64>,
}

impl TaskEndGuard {
    /// For the client with this number; its end sets a flag in `flags` and is sent to `ends`.
    pub(super) fn new(
        number: u64,
        flags: &Arc<ClientFlags>,
        ends: &mpsc::UnboundedSender<u64>,
    ) -> Self {
        Self {
            number,
            flags: Arc::clone(flags),
            ends: ends.clone(),
        }
    }

    /// Whether the events of this client are those of its connection.
    pub(super) fn is_in_use(&self) -> bool {
        self.flags.in_use.load(Ordering::Acquire)
    }
}

impl Drop for TaskEndGuard {
    fn drop(&mut self) {
        self.flags.dead.store(true, Ordering::Release);
        let _ = self.ends.send(self.number);
    }
}
