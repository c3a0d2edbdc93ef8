//! `[idempotence]`: a stored message that was handled is not handled again within a window.
//!
//! What the handler answered is recorded before anything is made of it, so that a host that dies
//! between any two steps leaves behind either no record, and the handler runs again, or a record,
//! and it does not. A copy that is already running when the other one begins is not noticed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::names::{AgentId, PluginName};
use crate::runtime::{Call, Reply};
use crate::transport::{Kv, Link, ServerClock, TransportError};

use super::delivery::Held;

/// The bucket of the records.
const BUCKET: &str = "IDEMPOTENCE";

/// Characters of a request id that stand in a key, for people: the digest tells ids apart.
const SHOWN: usize = 64;

/// A value of IDEMPOTENCE.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Record {
    /// The agent that handled the message.
    agent_id: String,
    /// When it had.
    at: String,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    /// Base64.
    payload: String,
}

/// What was recorded of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The agent that handled it.
    pub agent: AgentId,
    /// What it answered.
    pub reply: Reply,
}

/// Looks results up, and records them.
#[derive(Debug, Clone)]
pub struct Guard {
    link: Link,
    clock: ServerClock,
}

impl Guard {
    /// Records over this connection, with the times of its server: all hosts agree on them.
    pub fn new(link: Link, clock: ServerClock) -> Self {
        Self { link, clock }
    }

    async fn records(&self) -> Result<Kv, TransportError> {
        self.link.kv(BUCKET).await
    }

    /// What was recorded under a key within the window.
    ///
    /// # Errors
    /// As [`Kv::get`]: it is not known whether there is something.
    pub async fn find(
        &self,
        key: &str,
        window: Duration,
    ) -> Result<Option<Recorded>, TransportError> {
        let entry = self.records().await?.get(key).await?;
        Ok(entry.and_then(|entry| read(&entry.value, window, self.clock.now())))
    }

    /// Records what an agent answered. An answer that is too large for a value is not recorded.
    ///
    /// # Errors
    /// As [`Kv::put`]: it is not known whether it was recorded.
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
        // Texts and lists of texts always have a form in JSON.
        let value = serde_json::to_vec(&record).unwrap_or_default();
        match self.records().await?.put(key, value.into()).await {
            Ok(_) => Ok(()),
            Err(error @ TransportError::TooLarge(_)) => {
                tracing::warn!(%agent, %error, key, "the result of a request is not recorded; a repetition will run again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The content of a value, if it is one of ours and not too old.
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
/// Request ids continue along a chain, so many different messages may have the same one: the digest
/// is of the subject and the payload too. An id that the host made of the sequence counts together
/// with the time at which the message was stored, since a stream that is made anew counts from one again.
pub fn key(plugin: &PluginName, call: &Call, held: &Held) -> String {
    let id = call.trace.request_id();
    let made = id == format!("wq-{}", held.meta.stream_sequence);
    let stored = if made { held.meta.stored_at_ns } else { 0 };
    digest_key(plugin, id, stored, &call.subject, &call.payload)
}

fn digest_key(plugin: &PluginName, id: &str, stored: u64, subject: &str, payload: &[u8]) -> String {
    let mut digest = Sha256::new();
    // No subject and no id has a line break.
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
        assert!(long.len() <= crate::limits::MAX_KEY, "{long}");
    }
}
