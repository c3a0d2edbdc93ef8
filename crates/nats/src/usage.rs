//! How full a stream is, and how old its oldest message.

use time::OffsetDateTime;

use super::raw::parse_time;
use super::stream::StreamInfo;
use super::{StreamView, TransportError};

/// How much of what a stream may hold is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StreamUse {
    /// Bytes, as a part of the most; 0 for a stream without a limit.
    pub bytes: f64,
    /// The age of the oldest message, as a part of the most; 0 without a limit or a message.
    pub age: f64,
}

impl StreamView {
    /// How much of what the stream may hold is used up; `now` is the time by the server's clock.
    pub async fn used(&self, now: OffsetDateTime) -> Result<StreamUse, TransportError> {
        Ok(used(&self.info().await?, now))
    }
}

fn used(info: &StreamInfo, now: OffsetDateTime) -> StreamUse {
    let part = |used: f64, limit: &str| info.limit(limit).map_or(0.0, |most| used / most as f64);
    let oldest = parse_time(&info.state.first_ts).filter(|_| info.state.messages > 0);
    let age = oldest.map_or(0.0, |at| (now - at).as_seconds_f64() * 1e9);
    StreamUse {
        bytes: part(info.state.bytes as f64, "max_bytes"),
        // The server removes what is older than it may be: more can only be a wrong clock.
        age: part(age, "max_age").clamp(0.0, 1.0),
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
            serde_json::from_value::<StreamInfo>(info).unwrap()
        };
        let at = |text: &str| parse_time(text).unwrap();
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
            assert_eq!(used(&info, now), StreamUse { bytes, age });
        }
    }
}
