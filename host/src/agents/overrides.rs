//! The overrides of an agent, set by commands: its pause and its configuration.
//!
//! One key per agent in AGENT_CONFIG, a bucket without a TTL, so that overrides survive restarts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use mistersmith_core::limits::{MAX_OVERRIDDEN, MAX_OVERRIDES};
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Kv, TransportError};

use crate::delivery::{Reason, ReasonKind};

/// The most bytes of a value in AGENT_CONFIG that are not configuration.
const FRAME: usize = 64;

/// The value of an agent's key in AGENT_CONFIG.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    /// Whether the agent is paused.
    #[serde(default)]
    pub paused: bool,
    /// Values that override those of `[config]`.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl Overrides {
    /// Reads an agent's overrides. A missing or foreign value yields the default; a foreign one,
    /// which an operator may have written by hand, is logged.
    pub async fn load(kv: &Kv, agent: &AgentId) -> Result<Self, TransportError> {
        let entry = kv.get(agent.as_str()).await?;
        Ok(entry.map_or_else(Self::default, |entry| Self::read(agent, &entry.value)))
    }

    /// Parses a value of the bucket. If it is larger than commands can make it, only its pause
    /// counts, so that it costs no more memory than a command could.
    fn read(agent: &AgentId, value: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Pause {
            #[serde(default)]
            paused: bool,
        }
        let read = if value.len() > MAX_OVERRIDES + FRAME {
            tracing::warn!(
                %agent,
                "the configuration in AGENT_CONFIG has {} bytes and is ignored; {MAX_OVERRIDES} are allowed",
                value.len()
            );
            serde_json::from_slice(value).map(|Pause { paused }| Self {
                paused,
                config: Map::new(),
            })
        } else {
            serde_json::from_slice(value)
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(%agent, %error, "the value in AGENT_CONFIG is not readable and is ignored");
            Self::default()
        })
    }

    /// Merges `changes` into the overrides of `[config]`; null removes an override.
    ///
    /// # Errors
    /// The result would exceed the size limit of an agent's configuration.
    pub fn configure(&mut self, changes: Map<String, Value>) -> Result<(), Reason> {
        for (key, value) in changes {
            if value.is_null() {
                self.config.remove(&key);
            } else {
                self.config.insert(key, value);
            }
        }
        let bytes = serde_json::to_vec(&self.config).map_or(usize::MAX, |text| text.len());
        if bytes > MAX_OVERRIDES || self.config.len() > MAX_OVERRIDDEN {
            return Err(Reason::new(
                ReasonKind::TooLarge,
                format!(
                    "commands may put {MAX_OVERRIDDEN} values of {MAX_OVERRIDES} bytes together over \
                     `[config]`, and these would be {} values of {bytes} bytes",
                    self.config.len()
                ),
            ));
        }
        Ok(())
    }

    /// Writes the overrides of a running agent into a bucket that was lost and recreated. A value
    /// that already exists is newer and stays.
    pub async fn restore(&self, kv: &Kv, agent: &AgentId) -> Result<(), TransportError> {
        if *self == Self::default() {
            return Ok(());
        }
        let value = serde_json::to_vec(self).unwrap_or_default();
        match kv.create(agent.as_str(), value.into()).await {
            Ok(_) | Err(TransportError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Changes the stored overrides of an agent. Two changes never race: the claim on the id
    /// excludes other hosts, and a host runs the commands of one agent one after the other.
    ///
    /// # Errors
    /// The change is refused or cannot be stored. Then nothing has changed.
    pub async fn change(
        kv: &Kv,
        agent: &AgentId,
        change: impl FnOnce(&mut Self) -> Result<(), Reason>,
    ) -> Result<Self, Reason> {
        let mut overrides = Self::load(kv, agent).await.map_err(not_recorded)?;
        change(&mut overrides)?;
        if overrides == Self::default() {
            kv.delete(agent.as_str(), None)
                .await
                .map_err(not_recorded)?;
        } else {
            let value = serde_json::to_vec(&overrides).unwrap_or_default();
            kv.put(agent.as_str(), value.into())
                .await
                .map_err(not_recorded)?;
        }
        Ok(overrides)
    }
}

fn not_recorded(error: TransportError) -> Reason {
    Reason::new(
        ReasonKind::Unavailable,
        format!("not recorded in AGENT_CONFIG, so not done: {error}"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_testing::fuzz;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn overrides_have_a_bound_in_bytes_and_in_number() {
        let mut overrides = Overrides::default();
        let half = "x".repeat(MAX_OVERRIDES / 2);
        overrides.configure(map(json!({"one": half}))).unwrap();
        let before = overrides.clone();
        let more = overrides.clone().configure(map(json!({"two": half})));
        let error = more.unwrap_err();
        assert_eq!(error.kind, ReasonKind::TooLarge);
        assert!(error.message.contains("65536 bytes"), "{}", error.message);
        overrides
            .configure(map(json!({"one": "y".repeat(MAX_OVERRIDES - 10)})))
            .unwrap();
        overrides.configure(map(json!({"one": null}))).unwrap();
        assert!(overrides.config.is_empty());
        let many = (0..=MAX_OVERRIDDEN).map(|n| (n.to_string(), json!(1)));
        let error = overrides.configure(many.collect()).unwrap_err();
        assert!(error.message.contains("257 values"), "{}", error.message);
        assert_ne!(before, overrides);
    }

    #[test]
    fn of_a_huge_value_in_the_bucket_only_the_pause_counts() {
        let agent = "probe-001".parse().unwrap();
        let most = "x".repeat(MAX_OVERRIDES - 8);
        for (value, config) in [(most.clone(), 1), (format!("{most}x"), 0)] {
            let stored = Overrides {
                paused: true,
                config: map(json!({"a": value})),
            };
            let spaces = " ".repeat(FRAME * 2 * (1 - config));
            let bytes = format!("{}{spaces}", serde_json::to_string(&stored).unwrap());
            let read = Overrides::read(&agent, bytes.as_bytes());
            assert_eq!((read.paused, read.config.len()), (true, config));
        }
        let read = Overrides::read(&agent, &vec![b'['; 2 * MAX_OVERRIDES]);
        assert_eq!(read, Overrides::default());
    }

    #[test]
    fn fuzz_overrides() {
        let agent: AgentId = "probe-001".parse().unwrap();
        let words = [
            "\"paused\":",
            "\"config\":",
            "null",
            "true",
            "[",
            "{",
            "1e999",
            "\\u0000",
        ];
        fuzz("overrides", &words, |value| {
            let mut overrides = Overrides::read(&agent, value);
            if let Ok(changes) = serde_json::from_slice(value)
                && overrides.configure(changes).is_ok()
            {
                let text = serde_json::to_vec(&overrides.config).unwrap();
                assert!(text.len() <= MAX_OVERRIDES + FRAME, "{}", text.len());
            }
        });
    }
}
