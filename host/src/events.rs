//! Events that the host publishes: lifecycle events of agents, and the audit trail.

pub mod audit;
pub mod lifecycle;
pub mod publisher;
