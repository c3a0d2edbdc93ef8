//! The shared state of the host: connections, buckets, leases and services that every part uses.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agents::{AgentDeps, Coordinator, Directory};
use crate::delivery::ack_progress::AckProgress;
use crate::work::Payloads;
use mistersmith_core::config::HostSpec;
use mistersmith_core::names::HostId;
use mistersmith_nats::provision::ConsumerClaims;
use mistersmith_nats::{Kv, ServerClock, Transport};
use mistersmith_runtime::LeaseTerm;

use super::claims::Claims;
use super::healing_record::HealingRecord;

/// The state that every part of the host uses.
pub(crate) struct Shared {
    pub(crate) spec: HostSpec,
    pub(crate) name: String,
    pub(crate) id: HostId,
    pub(crate) transport: Transport,
    pub(crate) directory: Directory,
    pub(crate) ack_progress: Arc<AckProgress>,
    pub(crate) deps: AgentDeps,
    pub(crate) coordinator: Coordinator,
    /// Fetches payloads of held messages within one byte budget, for all plugins.
    pub(crate) payloads: Payloads,
    pub(crate) kv: Buckets,
    pub(crate) consumers: ConsumerClaims,
    pub(crate) claims: Claims,
    pub(crate) healing_record: HealingRecord,
    /// The time until which agents may act under their ids.
    pub(crate) term: LeaseTerm,
    /// The clock by which the age of stored messages is measured.
    pub(crate) clock: ServerClock,
    /// Cancelled when the host begins to drain.
    pub(crate) draining: CancellationToken,
}

/// The host's own buckets.
#[derive(Clone)]
pub(crate) struct Buckets {
    pub(crate) state: Kv,
    pub(crate) leases: Kv,
    pub(crate) claims: Kv,
    pub(crate) config: Kv,
    pub(crate) circuits: Kv,
    pub(crate) pipelines: Kv,
    pub(crate) attempts: Kv,
}
