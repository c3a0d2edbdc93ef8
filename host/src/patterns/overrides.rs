//! What commands changed about an agent and what must outlive it: its pause and its configuration.
//! One key per agent in AGENT_CONFIG, a bucket without a ttl.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::AgentId;
use crate::transport::{Kv, TransportError};

/// The value of an agent's key in AGENT_CONFIG.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    /// It takes no messages.
    #[serde(default)]
    pub paused: bool,
    /// Values that replace those of `[config]`.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl Overrides {
    /// What was recorded for an agent; the default when nothing was, or when what is there is not
    /// ours (said in the log: an operator may have written it by hand).
    pub async fn load(kv: &Kv, agent: &AgentId) -> Result<Self, TransportError> {
        let Some(entry) = kv.get(agent.as_str()).await? else {
            return Ok(Self::default());
        };
        Ok(serde_json::from_slice(&entry.value).unwrap_or_else(|error| {
            tracing::warn!(%agent, %error, "the value in AGENT_CONFIG is not readable and is ignored");
            Self::default()
        }))
    }

    /// Changes what is recorded for an agent. Two hosts never do so at once: the claim on the id
    /// sees to that, and within a host commands for one agent are carried out one after the other.
    pub async fn change(
        kv: &Kv,
        agent: &AgentId,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, TransportError> {
        let mut overrides = Self::load(kv, agent).await?;
        change(&mut overrides);
        if overrides == Self::default() {
            kv.delete(agent.as_str(), None).await?;
        } else {
            let value = serde_json::to_vec(&overrides).unwrap_or_default();
            kv.put(agent.as_str(), value.into()).await?;
        }
        Ok(overrides)
    }
}
