//! `[idempotence]`: a held message that was handled is not handled again within a window.
//!
//! The handler's reply is recorded before it is stored. A host that dies between two steps leaves
//! either no record, and the handler runs again, or a record, and it does not. Two copies that run
//! at the same time are not detected.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_nats::{ServerClock, TransportError};
use mistersmith_runtime::{Call, Reply};

use super::storage::Storage;
use crate::delivery::HeldMessage;

/// The characters of a request id that a key shows, for people: the digest tells ids apart.
const SHOWN: usize = 64;

/// A value of IDEMPOTENCE.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Record {
    /// The agent that handled the message.
    agent_id: String,
    /// When it was handled.
    at: String,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    /// Base64.
    payload: String,
}

/// The recorded result of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The agent that handled it.
    pub agent: AgentId,
    /// Its reply.
    pub reply: Reply,
}

/// Reads and writes recorded results.
#[derive(Debug, Clone)]
pub struct Guard {
    storage: Arc<dyn Storage>,
    clock: ServerClock,
}

impl Guard {
    /// Uses this storage, and the clock of its server, on which all hosts agree.
    pub(super) fn new(storage: Arc<dyn Storage>, clock: ServerClock) -> Self {
        Self { storage, clock }
    }

    /// The result recorded under a key within the window.
    ///
    /// # Errors
    /// The bucket did not answer; whether a result is recorded is unknown.
    pub async fn find(
        &self,
        key: &str,
        window: Duration,
    ) -> Result<Option<Recorded>, TransportError> {
        let value = self.storage.read_result(key).await?;
        Ok(value.and_then(|value| read(&value, window, self.clock.now())))
    }

    /// Records the reply of an agent. A reply that is too large for a value is not recorded.
    ///
    /// # Errors
    /// The bucket did not answer; whether the result was recorded is unknown.
    pub async fn record(
        &self,
        key: &str,
        agent: &AgentId,
        reply: &Reply,
    ) -> Result<(), TransportError> {
        let record = Record {
            agent_id: agent.as_str().to_owned(),
            at: self.clock.now().format(&Rfc3339).unwrap_or_default(),
            content_type: reply.content_type.clone(),
            headers: reply.headers.clone(),
            payload: STANDARD.encode(&reply.payload),
        };
        // Serialising strings and lists of strings to JSON does not fail.
        let value = serde_json::to_vec(&record).unwrap_or_default();
        match self.storage.write_result(key, value.into()).await {
            Ok(()) => Ok(()),
            Err(error @ TransportError::TooLarge(_)) => {
                tracing::warn!(%agent, %error, key, "the result of a request is not recorded; a repetition will run again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Parses a value; none if it is foreign or older than the window.
fn read(value: &[u8], window: Duration, now: OffsetDateTime) -> Option<Recorded> {
    let record: Record = serde_json::from_slice(value).ok()?;
    let at = OffsetDateTime::parse(&record.at, &Rfc3339).ok()?;
    if now - at > window {
        return None;
    }
    Some(Recorded {
        agent: record.agent_id.parse().ok()?,
        reply: Reply {
            payload: STANDARD.decode(&record.payload).ok()?.into(),
            content_type: record.content_type,
            headers: record.headers,
        },
    })
}

/// The key of a message for a plugin: `<plugin>.<request id>.<digest>`.
///
/// Request ids continue along a chain, so different messages may share one: the digest covers the
/// subject and the payload too. An id that the host derived from the sequence is combined with the
/// storage time, since a recreated stream counts from one again.
pub fn key(plugin: &PluginName, call: &Call, held: &HeldMessage) -> String {
    let id = call.trace.request_id();
    let made = id == format!("wq-{}", held.info.stream_sequence);
    let stored = if made { held.info.stored_at_ns } else { 0 };
    digest_key(plugin, id, stored, &call.subject, &call.payload)
}

fn digest_key(plugin: &PluginName, id: &str, stored: u64, subject: &str, payload: &[u8]) -> String {
    let mut digest = Sha256::new();
    // Neither a subject nor an id contains a line break, so the parts are unambiguous.
    digest.update(format!("{id}\n{stored}\n{subject}\n"));
    digest.update(payload);
    let digest = digest.finalize();
    let digest: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    let shown = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let id: String = id.chars().take(SHOWN).map(shown).collect();
    format!("{plugin}.{id}.{digest}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_testing::fuzz;

    fn value(at: &str) -> Vec<u8> {
        let record = Record {
            agent_id: "probe-001".to_owned(),
            at: at.to_owned(),
            content_type: Some("text/plain".to_owned()),
            headers: vec![("X-A".to_owned(), "b".to_owned())],
            payload: STANDARD.encode("hello"),
        };
        serde_json::to_vec(&record).unwrap()
    }

    #[test]
    fn a_record_counts_within_its_window() {
        let now = OffsetDateTime::parse("2026-01-01T12:00:00Z", &Rfc3339).unwrap();
        let window = Duration::from_secs(60);
        for (at, counts) in [
            ("2026-01-01T11:59:30Z", true),
            ("2026-01-01T11:59:00Z", true),
            ("2026-01-01T11:58:59Z", false),
            ("2026-01-01T12:00:05Z", true),
            ("yesterday", false),
        ] {
            let found = read(&value(at), window, now);
            assert_eq!(found.is_some(), counts, "{at}");
        }
        let found = read(&value("2026-01-01T12:00:00Z"), window, now).unwrap();
        assert_eq!(found.agent.as_str(), "probe-001");
        assert_eq!(found.reply.payload, "hello");
        assert_eq!(found.reply.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(read(b"{}", window, now), None);
        assert_eq!(read(b"junk", window, now), None);
    }

    #[test]
    fn keys_tell_messages_apart() {
        let plugin: PluginName = "probe".parse().unwrap();
        let of = |id: &str, stored, subject: &str, payload: &str| {
            digest_key(&plugin, id, stored, subject, payload.as_bytes())
        };
        let key = of("r-1", 0, "work.a.b", "x");
        assert_eq!(key, of("r-1", 0, "work.a.b", "x"));
        for other in [
            of("r-2", 0, "work.a.b", "x"),
            of("r-1", 1, "work.a.b", "x"),
            of("r-1", 0, "work.a.c", "x"),
            of("r-1", 0, "work.a.b", "y"),
        ] {
            assert_ne!(key, other);
        }
        assert!(key.starts_with("probe.r-1."), "{key}");
        let long = of(&"_".repeat(500), 0, "s", "");
        assert!(long.len() <= mistersmith_core::limits::MAX_KEY, "{long}");
    }

    #[test]
    fn fuzz_recorded_result() {
        let words = [
            "\"at\":",
            "\"payload\":",
            "9999-12-31T23:59:59Z",
            "-0001",
            "null",
            "==",
        ];
        let window = Duration::from_secs(3600);
        fuzz("idempotence", &words, |value| {
            for now in [OffsetDateTime::UNIX_EPOCH, OffsetDateTime::now_utc()] {
                let _ = read(value, window, now);
            }
        });
    }
}
