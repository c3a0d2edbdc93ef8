//! Retries of the server calls that must succeed before a held message is released.
//!
//! The output of a handler exists only in this process until it is stored. The output and its
//! message are kept, and the store is retried with exponential backoff and jitter while the process
//! lives. Otherwise an outage of the server would drop the output and run the handler again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::{DeliveryInfo, TransportError};

/// A server call that must succeed before a held message is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServerCall {
    AskCancelled,
    RecordAttempt,
    RecordResult,
    StoreOutput,
    StoreLetter,
    Seal,
    Confirm,
}

impl ServerCall {
    /// The log message of a failure, and what an operator can do about it.
    const fn failure(self) -> (&'static str, &'static str) {
        match self {
            Self::AskCancelled => (
                "not known whether a workflow is cancelled",
                "COORDINATION must answer",
            ),
            Self::RecordAttempt => (
                "failed attempt not recorded",
                "the bucket ATTEMPTS must take writes",
            ),
            Self::RecordResult => (
                "result not recorded",
                "the bucket IDEMPOTENCE must take writes",
            ),
            Self::StoreOutput => (
                "output not stored",
                "make room in the stream of outputs, RESULTS or COORDINATION",
            ),
            Self::StoreLetter => ("dead letter not stored", "make room in the stream DLQ"),
            Self::Seal => (
                "an item that failed for good is not marked so",
                "the bucket ATTEMPTS must take writes",
            ),
            Self::Confirm => (
                "acknowledgement not confirmed",
                "the stream of the item must have a leader",
            ),
        }
    }
}

/// What becomes of a message whose server call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// It is kept, and the call is retried.
    Kept,
    /// It goes back to its stream, which delivers it again.
    GivenBack,
}

/// The number of messages of this host that wait for the server, and when each call that fails was
/// last logged.
#[derive(Debug, Default)]
pub(super) struct StoreRetries {
    stuck: AtomicUsize,
    logged: Mutex<BTreeMap<ServerCall, Instant>>,
}

/// The retries of one server call for one message.
pub(super) struct StoreRetry<'a> {
    retries: &'a StoreRetries,
    call: ServerCall,
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
    pub(super) async fn again(&mut self, item: &DeliveryInfo, error: &TransportError) -> bool {
        if !may_pass(error) {
            return false;
        }
        if !std::mem::replace(&mut self.stuck, true) {
            self.retries.stuck.fetch_add(1, Ordering::AcqRel);
        }
        let patience = self.patience;
        if patience.is_some_and(|patience| self.begun.elapsed() > patience) {
            return false;
        }
        self.retries.log(self.call, item, error, Consequence::Kept);
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
    pub(super) fn trying(&self, call: ServerCall, patience: Option<Duration>) -> StoreRetry<'_> {
        StoreRetry {
            retries: self,
            call,
            begun: Instant::now(),
            patience,
            pause: limits::STORE_PAUSE_FIRST,
            stuck: false,
        }
    }

    /// Logs a failing call: at its first failure, then periodically for all messages together, with
    /// one of them as the example.
    pub(super) fn log(
        &self,
        call: ServerCall,
        item: &DeliveryInfo,
        error: &TransportError,
        then: Consequence,
    ) {
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged
            .get(&call)
            .is_some_and(|at| now.duration_since(*at) < limits::COMPLAINT)
        {
            return;
        }
        logged.insert(call, now);
        drop(logged);
        let (failure, fix) = call.failure();
        let then = match then {
            Consequence::Kept => "the item is kept, and the call retried",
            Consequence::GivenBack => "the item stays in its stream",
        };
        let (stream, sequence) = (&item.stream, item.stream_sequence);
        tracing::error!(%error, stream, sequence, waiting = self.stuck(),
            "{failure}; {then}; fix: {fix}");
    }
}

/// Whether a retry may succeed, perhaps after an operator's repair.
fn may_pass(error: &TransportError) -> bool {
    !matches!(
        error,
        TransportError::TooLarge(_) | TransportError::Invalid(_)
    )
}
