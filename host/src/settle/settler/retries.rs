//! Retries of the server calls that must succeed before a held message is released.
//!
//! The output of a handler exists only in this process until it is stored. The output and its
//! message are kept, and the store is retried with exponential backoff and jitter while the process
//! lives. Otherwise an outage of the server would drop the output and run the handler again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::TransportError;

/// The number of messages of this host that wait for the server, and when that was last logged.
#[derive(Debug, Default)]
pub(super) struct StoreRetries {
    stuck: AtomicUsize,
    said: Mutex<Option<Instant>>,
}

/// The retries of one server call for one message.
pub(super) struct StoreRetry<'a> {
    retries: &'a StoreRetries,
    what: &'static str,
    begun: Instant,
    patience: Option<Duration>,
    pause: Duration,
    stuck: bool,
}

impl Drop for StoreRetry<'_> {
    fn drop(&mut self) {
        if self.stuck {
            self.retries.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl StoreRetry<'_> {
    /// Whether to retry after this error; sleeps for the backoff first. False if the error is
    /// permanent or the patience is used up.
    pub(super) async fn again(&mut self, error: &TransportError) -> bool {
        if !may_pass(error) {
            return false;
        }
        if !std::mem::replace(&mut self.stuck, true) {
            self.retries.stuck.fetch_add(1, Ordering::AcqRel);
        }
        self.retries.say(self.what, error);
        let patience = self.patience;
        if patience.is_some_and(|patience| self.begun.elapsed() > patience) {
            return false;
        }
        let spread = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(self.pause.mul_f64(spread)).await;
        self.pause = (self.pause * 2).min(limits::STORE_PAUSE_MOST);
        true
    }
}

impl StoreRetries {
    /// The number of messages that wait for the server.
    pub(super) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Acquire)
    }

    /// The retries of a server call for one message, for at most `patience`.
    pub(super) fn trying(&self, what: &'static str, patience: Option<Duration>) -> StoreRetry<'_> {
        StoreRetry {
            retries: self,
            what,
            begun: Instant::now(),
            patience,
            pause: limits::STORE_PAUSE_FIRST,
            stuck: false,
        }
    }

    /// Logs a failing call: at the first failure, then periodically for all messages together.
    pub(super) fn say(&self, what: &'static str, error: &TransportError) {
        let mut said = self.said.lock();
        if said.is_none_or(|at| at.elapsed() >= limits::COMPLAINT) {
            *said = Some(Instant::now());
            let waiting = self.stuck();
            tracing::error!(%error, waiting, "{what}; it is kept, and tried again");
        }
    }
}

/// Whether a retry may succeed, perhaps after an operator's repair.
fn may_pass(error: &TransportError) -> bool {
    !matches!(
        error,
        TransportError::TooLarge(_) | TransportError::Invalid(_)
    )
}
