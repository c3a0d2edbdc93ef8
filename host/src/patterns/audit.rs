//! The kinds of `audit.<kind>` that a host writes, and how many of them one agent can cause.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::limits;
use crate::names::{AgentId, PluginName};
use crate::runtime::RefusalSink;

use super::outbox::Outbox;

/// A command was carried out.
pub const COMMAND: &str = "command";
/// A guest was refused something.
pub const REFUSAL: &str = "refusal";
/// A plugin was loaded, replaced or removed; its grants are in the entry.
pub const PLUGIN: &str = "plugin";
/// The configuration of an agent was changed at run time.
pub const CONFIG: &str = "config";

/// Writes what one agent was refused into the audit trail: the first
/// [`limits::AUDITED_REFUSALS`] of a minute one by one, the rest as a number.
#[derive(Debug)]
pub struct Refusals {
    outbox: Outbox,
    agent: AgentId,
    plugin: PluginName,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    silent: u64,
}

impl Refusals {
    /// For one agent.
    pub fn new(outbox: Outbox, agent: AgentId, plugin: PluginName) -> Self {
        let window = Window { since: Instant::now(), written: 0, silent: 0 };
        Self { outbox, agent, plugin, window: Mutex::new(window) }
    }

    /// Whether this refusal is written, and how many were not written before it.
    fn admit(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.elapsed() >= Duration::from_secs(60) {
            window.since = Instant::now();
            window.written = 0;
        }
        if window.written >= limits::AUDITED_REFUSALS {
            window.silent += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.silent))
    }
}

impl RefusalSink for Refusals {
    fn refused(&self, function: &str, message: &str) {
        let Some(silent) = self.admit() else { return };
        tracing::warn!(agent = %self.agent, plugin = %self.plugin, function, "{message}");
        let entry = json!({
            "agent_id": self.agent.as_str(),
            "plugin": self.plugin.as_str(),
            "function": function,
            "message": message,
            "not_written_before": silent,
        });
        self.outbox.audit(REFUSAL, entry);
    }
}
