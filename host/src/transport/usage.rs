//! How full a stream is, and how old its oldest message.

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{StreamView, TransportError};

/// How much of what a stream may hold is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StreamUse {
    /// Bytes, as a part of the most; 0 for a stream without a limit.
    pub bytes: f64,
    /// The age of the oldest message, as a part of the most; 0 without a limit or a message.
    pub age: f64,
}

/// What the server tells of a stream.
#[derive(Deserialize)]
struct Info {
    config: Limits,
    state: State,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_age: i64,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    #[serde(default, rename = "first_ts")]
    oldest: String,
}

impl StreamView {
    /// How much of what the stream may hold is used up; `now` is the time by the server's clock.
    pub async fn used(&self, now: OffsetDateTime) -> Result<StreamUse, TransportError> {
        let info: Info = self.call("STREAM.INFO", &Value::Null).await?;
        Ok(info.used(now))
    }
}

impl Info {
    fn used(&self, now: OffsetDateTime) -> StreamUse {
        let Self { config, state } = self;
        let part = |used: f64, most: i64| if most > 0 { used / most as f64 } else { 0.0 };
        let oldest = OffsetDateTime::parse(&state.oldest, &Rfc3339).ok();
        let oldest = oldest.filter(|_| state.messages > 0);
        let age = oldest.map_or(0.0, |at| (now - at).as_seconds_f64() * 1e9);
        StreamUse {
            bytes: part(state.bytes as f64, config.max_bytes),
            // The server removes what is older than it may be: more can only be a wrong clock.
            age: part(age, config.max_age).clamp(0.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_of_the_limits_and_by_the_clock_of_the_server() {
        const HOUR: i64 = 60 * 60 * 1_000_000_000;
        let info = |messages: u64, max_bytes: i64, max_age: i64| {
            let info = json!({
                "config": {"max_bytes": max_bytes, "max_age": max_age},
                "state": {"messages": messages, "bytes": 50, "first_ts": "2026-01-01T00:00:00Z"},
            });
            serde_json::from_value::<Info>(info).unwrap()
        };
        let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let (later, before) = (at("2026-01-01T06:00:00Z"), at("2025-01-01T00:00:00Z"));
        for (info, now, bytes, age) in [
            (info(1, 100, 24 * HOUR), later, 0.5, 0.25),
            (info(1, -1, 0), later, 0.0, 0.0),
            (info(0, 100, 24 * HOUR), later, 0.5, 0.0),
            // A clock that is far ahead, and one that is behind.
            (
                info(1, 100, 24 * HOUR),
                at("2027-02-05T00:00:00Z"),
                0.5,
                1.0,
            ),
            (info(1, 100, 24 * HOUR), before, 0.5, 0.0),
        ] {
            assert_eq!(info.used(now), StreamUse { bytes, age });
        }
    }
}
