//! The value of a service in CIRCUITS.

use serde::{Deserialize, Serialize};

use crate::runtime::CircuitState;

/// What hosts have agreed upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `closed`, `open`, `half-open`.
    pub(super) state: String,
    /// Since when, for people: nobody compares clocks.
    #[serde(default)]
    pub(super) since: String,
    /// Failures in a row that opened it.
    #[serde(default)]
    pub(super) failures: u32,
    /// The last of them.
    #[serde(default)]
    pub(super) error: String,
    /// Whose it was.
    #[serde(default)]
    pub(super) agent_id: String,
    /// The host that wrote this.
    #[serde(default)]
    pub(super) host: String,
    /// Who has the right to the probe while it is half-open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) probe: Option<String>,
}

impl Record {
    /// Reads a value; none where it is no such record.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(value).ok()?;
        CircuitState::parse(&record.state)?;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_none() {
        for (value, read) in [
            (r#"{"state": "open"}"#, true),
            (r#"{"state": "half-open", "probe": "x", "more": 1}"#, true),
            (r#"{"state": "ajar"}"#, false),
            (r#"{"state": 1}"#, false),
            (r#"{"failures": 5}"#, false),
            ("open", false),
            ("", false),
        ] {
            assert_eq!(Record::read(value.as_bytes()).is_some(), read, "{value}");
        }
    }
}
