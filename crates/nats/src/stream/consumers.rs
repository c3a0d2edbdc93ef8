//! The consumers of a stream, as a person sees them.

use serde::Deserialize;

/// A consumer of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerFacts {
    /// Its name.
    pub name: String,
    /// The subjects it takes; empty for all.
    pub filters: Vec<String>,
    /// Messages that were not delivered yet.
    pub waiting: u64,
    /// Messages that were delivered and not acknowledged yet.
    pub in_flight: u64,
    /// All its messages up to this sequence are acknowledged.
    pub floor: u64,
}

/// A consumer as the API shows it.
#[derive(Deserialize)]
pub(super) struct RawConsumer {
    name: String,
    #[serde(default)]
    config: RawConfig,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    ack_floor: RawPlace,
}

#[derive(Deserialize, Default)]
struct RawPlace {
    #[serde(default)]
    stream_seq: u64,
}

#[derive(Deserialize, Default)]
struct RawConfig {
    #[serde(default)]
    filter_subject: Option<String>,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

impl From<RawConsumer> for ConsumerFacts {
    fn from(raw: RawConsumer) -> Self {
        let mut filters = raw.config.filter_subjects;
        filters.extend(
            raw.config
                .filter_subject
                .filter(|filter| !filter.is_empty()),
        );
        Self {
            name: raw.name,
            filters,
            waiting: raw.num_pending,
            in_flight: raw.num_ack_pending,
            floor: raw.ack_floor.stream_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn filters_of_both_kinds_are_seen() {
        let consumer = |config: Value| {
            let raw = json!({ "name": "c", "config": config, "num_pending": 3 });
            ConsumerFacts::from(serde_json::from_value::<RawConsumer>(raw).unwrap())
        };
        assert_eq!(consumer(json!({})).filters, Vec::<String>::new());
        assert_eq!(consumer(json!({ "filter_subject": "a" })).filters, ["a"]);
        let several = consumer(json!({ "filter_subjects": ["a", "b"] }));
        assert_eq!(several.filters, ["a", "b"]);
        assert_eq!(several.waiting, 3);
    }
}
