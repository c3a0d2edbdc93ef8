//! The value of a service in CIRCUITS.

use serde::{Deserialize, Serialize};

use mistersmith_runtime::CircuitState;

/// The state that the hosts have agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `closed`, `open`, `half-open`.
    pub(super) state: CircuitState,
    /// The time of the last change, for people to read: clocks are not compared.
    #[serde(default)]
    pub(super) since: String,
    /// Number of failures in a row that opened it.
    #[serde(default)]
    pub(super) failures: u32,
    /// The error of the last failure.
    #[serde(default)]
    pub(super) error: String,
    /// The agent of the last failure.
    #[serde(default)]
    pub(super) agent_id: String,
    /// The host that wrote this.
    #[serde(default)]
    pub(super) host: String,
    /// The owner of the right to the probe while it is half-open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) probe: Option<String>,
}

impl Record {
    /// Parses a value; `None` if it is not such a record.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mistersmith_testing::fuzz;

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

    #[test]
    fn fuzz_record() {
        let words = [
            "\"state\":",
            "\"half-open\"",
            "\"closed\"",
            "null",
            "1e99",
            "\\ud800",
        ];
        fuzz("circuit", &words, |value| {
            let _ = Record::read(value);
        });
    }
}
