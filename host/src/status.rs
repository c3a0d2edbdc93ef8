//! The status of agents as plain data: written by agents and the host, read by commands and health
//! checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// The status of an agent, as AGENT_STATE stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It waits for a message.
    Ready,
    /// It handles a message.
    Busy,
    /// A command paused it.
    Paused,
    /// Its instance ended or its start failed; a restart is due.
    Error,
    /// A command shut it down, or the host is stopping it. Never stored in AGENT_STATE.
    Stopped,
}

impl AgentStatus {
    /// The JSON text.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentStatus::Ready => "ready",
            AgentStatus::Busy => "busy",
            AgentStatus::Paused => "paused",
            AgentStatus::Error => "error",
            AgentStatus::Stopped => "stopped",
        }
    }
}

/// The reason why an agent stops, as `stopped` events and the `stop` of a plugin name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// `cmd.shutdown`, or the end of an instance that was created for one message.
    Shutdown,
    /// The host drains.
    Drain,
    /// The plugin was removed from the folder, or has fewer `instances`.
    Removed,
    /// The agent could not continue as the new version of its plugin, or its instance is replaced.
    Reload,
    /// The host could not renew its lease.
    LeaseLost,
    /// The host dropped the agent without a stop: an internal error.
    Abandoned,
}

impl StopReason {
    /// All stop reasons.
    pub const ALL: [Self; 6] = [
        Self::Shutdown,
        Self::Drain,
        Self::Removed,
        Self::Reload,
        Self::LeaseLost,
        Self::Abandoned,
    ];

    /// The JSON text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Drain => "drain",
            Self::Removed => "removed",
            Self::Reload => "reload",
            Self::LeaseLost => "lease-lost",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether the whole plugin ends on this host, so that its agents finish the plugin queue.
    pub fn ends_plugin(self) -> bool {
        match self {
            Self::Drain | Self::Removed => true,
            Self::Shutdown | Self::Reload | Self::LeaseLost | Self::Abandoned => false,
        }
    }
}

/// The state of one agent at one moment.
#[derive(Debug, Clone)]
pub struct AgentSnapshot {
    /// `<plugin>-<NNN>`.
    pub agent_id: String,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The name of the host that runs it.
    pub host: String,
    /// The id of that host.
    pub host_id: String,
    /// Its status.
    pub status: AgentStatus,
    /// The capabilities that the manifest lists.
    pub capabilities: Vec<String>,
    /// The busy share of the last heartbeat's span, or the value that the plugin reported; 0 to 1.
    pub load: f32,
    /// The time since it was created.
    pub uptime: Duration,
    /// Messages handled since it was created, failed ones included.
    pub handled: u64,
    /// Messages whose handling failed.
    pub failed: u64,
    /// The last failure, for people.
    pub last_error: Option<String>,
    /// The domain that it leads, and its term.
    pub leads: Option<(String, u64)>,
    /// The last result of the plugin's health function.
    pub healthy: bool,
    /// The sentence that came with it.
    pub detail: Option<String>,
    /// Subjects that the NATS server does not let the plugin subscribe to.
    pub denied: Vec<String>,
    /// Consumers of its plugin on this host whose pulls keep failing, with the last error of each.
    pub pull_errors: BTreeMap<String, String>,
}
