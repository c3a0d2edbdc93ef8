//! The services of the host that every agent shares: runtime, settler, events, audit, coordination.

use std::sync::Arc;

use mistersmith_nats::Connection;
use mistersmith_runtime::{Audit, Coordination, Runtime};

use crate::events::publisher::EventPublisher;
use crate::settle::Settler;

/// Shared services of the host, cloned into each agent.
#[derive(Clone)]
pub struct AgentDeps {
    /// Instantiates components.
    pub runtime: Arc<Runtime>,
    /// Settles held messages.
    pub settler: Settler,
    /// Publishes lifecycle events.
    pub events: EventPublisher,
    /// The connection over which results of commands without a reply subject are stored.
    pub work: Connection,
    /// Records refused calls in the audit trail.
    pub audit: Arc<dyn Audit>,
    /// Gatherings, leadership and circuits.
    pub coordination: Arc<dyn Coordination>,
}
