//! The pull state of one consumer: backlog, waiting time, and recent failures.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_nats::TransportError;

use super::consumer::WorkConsumer;
use super::port::PullPort;
use super::pull_state::PullState;
use super::schedule::{Candidate, Pulling};
use crate::agents::FailingPulls;

/// The pull state of one consumer.
pub(super) struct ConsumerState<P: PullPort> {
    pub(super) work: WorkConsumer,
    pub(super) puller: P::Puller,
    /// Estimated number of messages in the consumer.
    pub(super) backlog: u64,
    /// Start of the time in which it has had a backlog and was not pulled.
    pub(super) waiting: Instant,
    pub(super) pull: Pulling,
    /// Cancels the running pull.
    pub(super) stop: CancellationToken,
    /// Earliest time of the next pull, after an error.
    pub(super) not_before: Option<Instant>,
    /// Tracks whether its pulls keep failing.
    state: PullState,
    /// Times of recent failed pulls.
    pub(super) failures: Vec<Instant>,
    /// Set once the consumer was searched for unreadable messages.
    looked: bool,
    /// Number of revivals of its connection at the last search for them.
    revivals: u64,
}

impl<P: PullPort> ConsumerState<P> {
    pub(super) fn new(consumer: WorkConsumer, port: &P) -> Self {
        Self {
            puller: port.puller(&consumer),
            work: consumer,
            backlog: 0,
            waiting: Instant::now(),
            pull: Pulling::No,
            stop: CancellationToken::new(),
            not_before: None,
            state: PullState::default(),
            failures: Vec::new(),
            looked: false,
            revivals: port.revivals(),
        }
    }

    /// Time since it has had a backlog without being pulled.
    fn waited(&self, now: Instant) -> Duration {
        if self.backlog > 0 {
            now - self.waiting
        } else {
            Duration::ZERO
        }
    }

    /// Whether the consumer may hold an unreadable message and must be searched, once: before the
    /// first pull, because such a message may have ended an earlier host; after the connection was
    /// replaced; and when pulls fail repeatedly.
    pub(super) fn is_suspicious(&mut self, port: &P) -> bool {
        let revivals = port.revivals();
        let made_again = std::mem::replace(&mut self.revivals, revivals) != revivals;
        if !std::mem::replace(&mut self.looked, true) || made_again {
            self.failures.clear();
            return true;
        }
        self.failures.retain(|at| at.elapsed() < limits::SUSPICION);
        let suspicious = self.failures.len() > 1;
        if suspicious {
            self.failures.clear();
        }
        suspicious
    }

    /// Records a failed pull; reports the consumer when its pulls have failed for long.
    pub(super) fn failed(&mut self, error: &TransportError, failing: &FailingPulls) {
        let WorkConsumer { durable, .. } = &self.work;
        if self.state.failed(Instant::now()) {
            tracing::warn!(
                consumer = %durable, stream = self.work.stream, %error,
                "pulls keep failing; its work waits"
            );
        } else {
            tracing::debug!(consumer = %durable, %error, "pull failed");
        }
        if self.state.is_reported() {
            failing.insert(durable, &error.to_string());
        }
    }

    /// Records a pull that delivered a message or ended normally.
    pub(super) fn succeeded(&mut self, failing: &FailingPulls) {
        if self.state.succeeded() {
            failing.remove(&self.work.durable);
            tracing::info!(consumer = %self.work.durable, "pulls succeed again");
        }
    }

    /// The input of the scheduling decision for this consumer.
    pub(super) fn candidate(&self, port: &P, now: Instant) -> Candidate {
        Candidate {
            is_open: self.is_open(port, now),
            backlog: self.backlog,
            waited: self.waited(now),
        }
    }

    /// Whether a pull may start. The pause after an error ends early when the connection was
    /// replaced: that explains the error, and a client that breaks the connection must not hold up
    /// work.
    fn is_open(&self, port: &P, now: Instant) -> bool {
        let made_again = || port.revivals() != self.revivals && port.is_connected();
        let over = || self.not_before.is_none_or(|at| at <= now) || made_again();
        self.pull == Pulling::No && over()
    }
}
