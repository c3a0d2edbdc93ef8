//! A plain picture of what runs: written by agents and the host, read by commands and health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// How an agent is, in the words of AGENT_STATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It waits for a message.
    Ready,
    /// It handles one.
    Busy,
    /// A command told it to take no messages.
    Paused,
    /// Its instance died, or its start failed; another start is due.
    Error,
    /// A command shut it down, or the host is stopping it. Never seen in AGENT_STATE.
    Stopped,
}

impl AgentStatus {
    /// The word in JSON.
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

/// One agent at one moment.
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
    /// How it is.
    pub status: AgentStatus,
    /// What the manifest says it can do.
    pub capabilities: Vec<String>,
    /// The part of the last heartbeat's span in which it was busy, or what the plugin says; 0 to 1.
    pub load: f32,
    /// Since it was created.
    pub uptime: Duration,
    /// Messages handled since it was created, failed ones included.
    pub handled: u64,
    /// Messages whose handling failed.
    pub failed: u64,
    /// The last failure, for people.
    pub last_error: Option<String>,
    /// The domain that it leads, and its term.
    pub leads: Option<(String, u64)>,
    /// What the plugin's own health function said last.
    pub healthy: bool,
    /// The sentence it gave with that.
    pub detail: Option<String>,
    /// Consumers of its plugin on this host whose pulls keep failing, with the last error of each.
    pub pull_errors: BTreeMap<String, String>,
}
