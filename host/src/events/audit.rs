//! The kinds of `audit.<kind>` that a host writes.

use serde_json::json;

use mistersmith_runtime::{Audit, Refused};

use super::publisher::EventPublisher;

/// A command was carried out.
pub const COMMAND: &str = "command";
/// A call of a guest was refused.
pub const REFUSAL: &str = "refusal";
/// A plugin was loaded, replaced or removed; the entry lists its grants.
pub const PLUGIN: &str = "plugin";
/// The configuration of an agent was changed at run time.
pub const CONFIG: &str = "config";

/// Streams or buckets were lost while the host ran, and recreated.
pub const HEALED: &str = "healed";

/// Writes refused calls of agents to the audit trail. The runtime limits their rate per agent, so
/// that a guest cannot flood it.
#[derive(Debug)]
pub struct Refusals(pub EventPublisher);

impl Audit for Refusals {
    fn refused(&self, refused: Refused) {
        tracing::warn!(agent = %refused.agent, plugin = %refused.plugin, action = refused.action, "{}", refused.reason);
        self.0.audit(REFUSAL, json!(refused));
    }
}
