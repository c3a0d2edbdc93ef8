//! One consumer that is pulled: what it delivers, and how pulling goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::Schema;
use crate::limits;
use crate::names::Priority;
use crate::patterns::delivery::RetryRule;
use crate::patterns::pipeline::Stage;
use crate::transport::{Link, Puller, TransportError};

use super::failing::{FailingPulls, PullState};

/// One consumer of a plugin's work or of one of its stages.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The stream.
    pub stream: &'static str,
    /// The name of the durable consumer.
    pub durable: String,
    /// What it delivers.
    pub source: Source,
    /// How often a message is tried.
    pub rule: Arc<RetryRule>,
}

/// What a lane delivers.
#[derive(Debug, Clone)]
pub enum Source {
    /// Work items.
    Work {
        /// Their priority.
        priority: Priority,
        /// What a payload must look like.
        schema: Option<Schema>,
    },
    /// Inputs of a stage.
    Stage(Arc<Stage>),
}

impl Source {
    /// Its share of the pulls: stages have that of normal work.
    pub(super) fn priority(&self) -> Priority {
        match self {
            Self::Work { priority, .. } => *priority,
            Self::Stage(_) => Priority::Normal,
        }
    }
}

pub(super) struct LaneState {
    pub(super) lane: Lane,
    pub(super) puller: Puller,
    /// Messages that the consumer is believed to have.
    pub(super) backlog: u64,
    /// Since when it has a backlog and was not pulled.
    pub(super) waiting: Instant,
    pub(super) pull: Pulling,
    /// Takes the running pull back.
    pub(super) stop: CancellationToken,
    /// Not before, after an error.
    pub(super) not_before: Option<Instant>,
    /// Whether its pulls keep failing.
    state: PullState,
    /// When pulls failed lately.
    pub(super) failures: Vec<Instant>,
    /// It was looked for messages that nobody can read, at least once.
    looked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulling {
    No,
    /// A poll for one message that waits until there is one.
    Standing,
    /// This many messages are on their way.
    Batch(usize),
}

impl LaneState {
    pub(super) fn new(lane: Lane, link: &Link) -> Self {
        Self {
            puller: link.puller(lane.stream, &lane.durable),
            lane,
            backlog: 0,
            waiting: Instant::now(),
            pull: Pulling::No,
            stop: CancellationToken::new(),
            not_before: None,
            state: PullState::default(),
            failures: Vec::new(),
            looked: false,
        }
    }

    /// How long it has a backlog and was not pulled.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        if self.backlog > 0 {
            now - self.waiting
        } else {
            Duration::ZERO
        }
    }

    /// Whether pulls fail so often that a message may be behind it; then it is time to look, once. Also
    /// before the first pull: such a message may have ended the host that was here before.
    pub(super) fn is_suspicious(&mut self) -> bool {
        if !std::mem::replace(&mut self.looked, true) {
            return true;
        }
        self.failures.retain(|at| at.elapsed() < limits::SUSPICION);
        let suspicious = self.failures.len() > 1;
        if suspicious {
            self.failures.clear();
        }
        suspicious
    }

    /// A pull has failed; when pulls have failed for long, everybody sees it.
    pub(super) fn failed(&mut self, error: &TransportError, failing: &FailingPulls) {
        let Lane { durable, .. } = &self.lane;
        if self.state.failed(Instant::now()) {
            tracing::warn!(
                consumer = %durable, stream = self.lane.stream, %error,
                "pulls keep failing; its work waits"
            );
        } else {
            tracing::debug!(consumer = %durable, %error, "pull failed");
        }
        if self.state.is_reported() {
            failing.insert(durable, &error.to_string());
        }
    }

    /// A pull has brought something, or ended as agreed.
    pub(super) fn succeeded(&mut self, failing: &FailingPulls) {
        if self.state.succeeded() {
            failing.remove(&self.lane.durable);
            tracing::info!(consumer = %self.lane.durable, "pulls succeed again");
        }
    }

    /// Whether a pull may be started.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.pull == Pulling::No && self.not_before.is_none_or(|at| at <= now)
    }
}
