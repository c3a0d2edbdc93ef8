//! The part of a connection that all its clones share: the current client, and everything that
//! outlives it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::task::AbortHandle;

use crate::generation::Generation;
use crate::health::Health;
use crate::quarantine::{Quarantine, Suspects};
use crate::replies::Replies;
use crate::source::Subscriptions;

/// One connection, whichever client it has.
#[derive(Debug)]
pub(crate) struct Inner {
    current: RwLock<Arc<Generation>>,
    /// How often the clients before the current one had a connection.
    pub(super) connected_before: AtomicU64,
    pub(crate) replies: Arc<Replies>,
    pub(crate) health: Arc<Health>,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Payloads of more bytes become claims, whatever the server takes.
    pub(crate) claim_over: AtomicUsize,
    /// The JetStream domain; none for the one that the server we connect to answers for.
    pub(crate) domain: Option<String>,
    /// Hands out the answers; it holds the client, so it must end with the last [`Connection`].
    answers: AbortHandle,
    pub(crate) quarantine: OnceLock<Arc<dyn Quarantine>>,
    pub(crate) suspects: Suspects,
}

impl Inner {
    pub(crate) fn new(
        first: Generation,
        (replies, answers): (Arc<Replies>, AbortHandle),
        health: Arc<Health>,
        subscriptions: Arc<Subscriptions>,
    ) -> Self {
        Self {
            current: RwLock::new(Arc::new(first)),
            connected_before: AtomicU64::new(0),
            replies,
            health,
            subscriptions,
            claim_over: AtomicUsize::new(usize::MAX),
            domain: None,
            answers,
            quarantine: OnceLock::new(),
            suspects: Suspects::default(),
        }
    }

    /// The client of this moment.
    pub(crate) fn current(&self) -> Arc<Generation> {
        let current = self.current.read();
        Arc::clone(&current)
    }

    /// Whether there is a connection to a server.
    pub(crate) fn is_up(&self) -> bool {
        let current = self.current.read();
        current.is_up() && !self.health.is_closed()
    }

    /// Goes on with another client, once that has all subscriptions.
    pub(crate) async fn replace(&self, mut next: Generation) {
        next.begin();
        self.health.on_connected();
        let connects = self.current().connects();
        self.connected_before.fetch_add(connects, Ordering::Relaxed);
        self.subscriptions
            .resubscribe_all(&next.client, next.number)
            .await;
        *self.current.write() = Arc::new(next);
        self.health.notify();
    }

    /// Whether the end of the client was meant; then everything that reads from it ends too.
    pub(crate) fn ended_on_purpose(&self) -> bool {
        let meant = self.health.is_closing() || self.health.is_closed();
        if meant {
            self.health.close();
            self.subscriptions.end();
        }
        meant
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.answers.abort();
        // Without a connection nobody makes another client when this one ends.
        self.subscriptions.end();
    }
}
