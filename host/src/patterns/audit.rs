//! The kinds of `audit.<kind>` that a host writes.

use serde_json::json;

use crate::runtime::{Audit, Refused};

use super::outbox::Outbox;

/// A command was carried out.
pub const COMMAND: &str = "command";
/// A guest was refused something.
pub const REFUSAL: &str = "refusal";
/// A plugin was loaded, replaced or removed; its grants are in the entry.
pub const PLUGIN: &str = "plugin";
/// The configuration of an agent was changed at run time.
pub const CONFIG: &str = "config";

/// Writes what agents were refused into the audit trail. How many of one agent come here is
/// bounded before: a guest cannot flood it.
#[derive(Debug)]
pub struct Refusals(pub Outbox);

impl Audit for Refusals {
    fn refused(&self, refused: Refused) {
        tracing::warn!(agent = %refused.agent, plugin = %refused.plugin, action = refused.action, "{}", refused.reason);
        self.0.audit(REFUSAL, json!(refused));
    }
}
