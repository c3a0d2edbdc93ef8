//! A consumer that a work queue pulls from, and the kind of messages it delivers.

use std::sync::Arc;

use crate::delivery::RetryRule;
use crate::pipeline::Stage;
use mistersmith_core::config::Schema;
use mistersmith_core::names::Priority;

/// One durable consumer of a plugin: for its work or for one of its stages.
#[derive(Debug, Clone)]
pub struct WorkConsumer {
    /// The stream.
    pub stream: &'static str,
    /// The name of the durable consumer.
    pub durable: String,
    /// The kind of messages that it delivers.
    pub source: Source,
    /// The retry rule of its messages.
    pub rule: Arc<RetryRule>,
}

/// The kind of messages that a consumer delivers.
#[derive(Debug, Clone)]
pub enum Source {
    /// Work items.
    Work {
        /// Their priority.
        priority: Priority,
        /// The schema of their payloads.
        schema: Option<Schema>,
    },
    /// Inputs of a stage.
    Stage(Arc<Stage>),
}

impl Source {
    /// The priority that sets its share of the pulls: a stage has that of normal work.
    pub(super) fn priority(&self) -> Priority {
        match self {
            Self::Work { priority, .. } => *priority,
            Self::Stage(_) => Priority::Normal,
        }
    }
}
