//! Doing again and again what a message cannot be let go of without.
//!
//! The output of a handler exists in this process only until it is stored. Trouble of the server is
//! no reason to drop it and to run the handler once more: it is kept, its message with it, and
//! storing it is repeated with growing pauses for as long as the process lives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::limits;
use crate::transport::TransportError;

/// How many messages of this host wait for the server, and when that was said last.
#[derive(Debug, Default)]
pub(super) struct Insistence {
    stuck: AtomicUsize,
    said: Mutex<Option<Instant>>,
}

/// What is being repeated for one message.
pub(super) struct Trying<'a> {
    insistence: &'a Insistence,
    what: &'static str,
    begun: Instant,
    patience: Option<Duration>,
    pause: Duration,
    stuck: bool,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if self.stuck {
            self.insistence.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Trying<'_> {
    /// Whether to try again after this error: waits a while, if so. Not when the error cannot pass,
    /// or the patience is over.
    pub(super) async fn again(&mut self, error: &TransportError) -> bool {
        if !may_pass(error) {
            return false;
        }
        if !std::mem::replace(&mut self.stuck, true) {
            self.insistence.stuck.fetch_add(1, Ordering::AcqRel);
        }
        self.insistence.say(self.what, error);
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

impl Insistence {
    /// How many messages wait for the server.
    pub(super) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Acquire)
    }

    /// Begins to try something for one message, at most for this time.
    pub(super) fn trying(&self, what: &'static str, patience: Option<Duration>) -> Trying<'_> {
        Trying {
            insistence: self,
            what,
            begun: Instant::now(),
            patience,
            pause: limits::STORE_PAUSE_FIRST,
            stuck: false,
        }
    }

    /// Says what does not succeed: once, and then now and then for all.
    pub(super) fn say(&self, what: &'static str, error: &TransportError) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= limits::COMPLAINT) {
            *said = Some(Instant::now());
            let waiting = self.stuck();
            tracing::error!(%error, waiting, "{what}; it is kept, and tried again");
        }
    }
}

/// Whether the same may succeed later, perhaps because somebody has seen to it.
fn may_pass(error: &TransportError) -> bool {
    !matches!(
        error,
        TransportError::TooLarge(_) | TransportError::Invalid(_)
    )
}
