//! Stored messages that the client library cannot parse.
//!
//! A server stores whatever bytes a publisher calls headers. The library treats malformed headers
//! as a broken connection, or panics (async-nats 0.51.0, nats-io/nats.rs pull request 1612): one
//! such message would end the connection at each of its deliveries, until it is too old. The
//! JetStream API returns messages in base64; there such a message is found and removed.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::quarantine::{Quarantine, Unreadable};
use super::raw::RawMessage;
use super::{Connection, DeliveryInfo, TransportError};

impl Connection {
    /// Sets the quarantine for unreadable messages that are found when buckets are listed and
    /// watched on this connection. Without one they are passed over. The first one named stays.
    pub fn set_quarantine(&self, quarantine: Arc<dyn Quarantine>) {
        let _ = self.inner.quarantine.set(quarantine);
    }

    /// Hands an unreadable message to the quarantine; returns whether it is gone.
    pub(super) async fn bury(&self, found: &Unreadable) -> bool {
        let gone = match self.inner.quarantine.get() {
            Some(quarantine) => quarantine.bury(found).await,
            None => false,
        };
        if !gone {
            self.inner.suspects.add(&found.info.stream);
        }
        gone
    }

    /// Removes an unreadable message, unless its place was taken meanwhile. In a bucket, where
    /// messages may not be deleted, its key is: that puts a readable mark over it.
    ///
    /// Errors: `Unavailable`, `Timeout`; `Other` when the server does not allow it.
    pub async fn remove(&self, found: &Unreadable) -> Result<(), TransportError> {
        let (stream, sequence) = (&found.info.stream, found.info.stream_sequence);
        let place = stream.strip_prefix("KV_").and_then(|bucket| {
            let key = found.subject.strip_prefix(&format!("$KV.{bucket}."))?;
            // A subject that is no text cannot be named.
            let named = !key.contains(char::REPLACEMENT_CHARACTER);
            named.then_some((bucket, key))
        });
        let Some((bucket, key)) = place else {
            return self.stream(stream)?.delete(sequence).await.map(drop);
        };
        match self.kv(bucket).await?.mark_deleted(key, sequence).await {
            // Somebody has written another value over it.
            Err(TransportError::Conflict) => Ok(()),
            done => done,
        }
    }
}

/// Looks through the oldest messages that a consumer has delivered and that nobody has
/// acknowledged, at most `most` of them. For when connections break again and again while pulling.
pub(super) async fn find(
    connection: &Connection,
    stream: &str,
    consumer: &str,
    most: usize,
) -> Result<Vec<Unreadable>, TransportError> {
    let info: Info = connection
        .call(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null)
        .await?;
    let filter = Some(info.config.filter_subject).filter(|filter| !filter.is_empty());
    let filter = filter.as_deref().unwrap_or(">");
    let mut found = Vec::new();
    let mut sequence = info.ack_floor.stream_seq.saturating_add(1);
    for _ in 0..most {
        if sequence > info.delivered.stream_seq {
            break;
        }
        let Some(message) = connection.raw_next(stream, sequence, filter).await? else {
            break;
        };
        if message.sequence > info.delivered.stream_seq {
            break;
        }
        sequence = message.sequence.saturating_add(1);
        found.extend(message.unreadable(stream, consumer));
    }
    Ok(found)
}

impl RawMessage {
    /// The description of this message, if the library cannot parse it.
    pub(super) fn unreadable(&self, stream: &str, consumer: &str) -> Option<Unreadable> {
        let problem = problem(&self.subject, &self.header_block)?;
        Some(Unreadable {
            subject: self.subject.clone(),
            info: DeliveryInfo {
                stream: stream.to_owned(),
                consumer: consumer.to_owned(),
                stream_sequence: self.sequence,
                deliveries: 0,
                stored_at_ns: self.stored_at_ns(),
                pending: 0,
            },
            payload: self.payload.clone(),
            problem,
        })
    }
}

/// The part that the client library cannot parse, if any. Parses the headers as the library does.
fn problem(subject: &str, headers: &[u8]) -> Option<&'static str> {
    // The API shows what is no UTF-8 like this.
    if subject.contains(char::REPLACEMENT_CHARACTER) {
        return Some("the subject is not UTF-8");
    }
    if headers.is_empty() {
        return None;
    }
    if subject.contains(char::is_whitespace) {
        return Some("the subject has white space in it");
    }
    let Ok(headers) = std::str::from_utf8(headers) else {
        return Some("the headers are not UTF-8");
    };
    let mut lines = headers.lines().peekable();
    let status = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
    let Some(status) = status.map(str::trim) else {
        return Some("the headers have no version line");
    };
    let status = status.split_once(' ').map_or(status, |(status, _)| status);
    if !status.is_empty() && !is_status(status) {
        return Some("the headers have a malformed status");
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let named = line.split_once(':');
        let Some((_, value)) = named.filter(|(name, _)| name.chars().all(|c| c.is_ascii_graphic()))
        else {
            return Some("a header is malformed");
        };
        // A value may go on in the next line.
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        // The library does not refuse this one: it panics.
        if value.trim_end().contains(['\r', '\n']) {
            return Some("a header has a carriage return in it");
        }
    }
    None
}

fn is_status(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
}

#[derive(Deserialize)]
struct Info {
    config: Config,
    delivered: Position,
    ack_floor: Position,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    filter_subject: String,
}

#[derive(Deserialize)]
struct Position {
    stream_seq: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::problem;
    use bytes::Bytes;
    use mistersmith_testing::fuzz;

    use crate::Claim;
    use crate::raw::RawMessage;
    use crate::trace::{RequestId, Trace};

    /// Headers, and whether the library reads them. The test of the transport proves it on a
    /// connection.
    pub(crate) const CASES: &[(&str, &[u8], bool)] = &[
        ("w.a", b"NATS/1.0\r\nX-A: 1\r\nX-B:\r\n\r\n", true),
        ("w.a", b"NATS/1.0\r\nX-A: 1\r\n and more\r\n\r\n", true),
        ("w.a", b"NATS/1.0\r\n: no name\r\n\r\n", true),
        ("w.a", b"NATS/1.0 408 Request Timeout\r\n\r\n", true),
        ("w.a", b"NATS/1.0 409 Consumer Deleted\r\n\r\n", true),
        ("w.a", b"NATS/1.0 100\r\n\r\n", true),
        ("w.a", b"NATS/1.0\r\nno colon\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\nX-A: \xff\xfe\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\nX A: 1\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\n X-A: 1\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\nX-A: 1\r\n\r\n more\r\n", false),
        ("w.a", b"NATS/1.0\r\nX-A: 1\r2\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\nX-A: 1\r\n \r2\r\n\r\n", false),
        ("w.a", b"NATS/1.0\r\nX-A: 1\r\r\n\r\n", true),
        ("w.a", b"NATS/1.0\r\nX-A: \r1\r\n\r\n", true),
        ("w.a", b"X-A: 1\r\n\r\n", false),
        ("w.a", b"NATS/1.0 abc\r\n\r\n", false),
        ("w.a", b"NATS/1.0 099\r\n\r\n", false),
        ("w.a\u{a0}b", b"NATS/1.0\r\n\r\n", false),
        ("w.a\u{a0}b", b"", true),
        ("w.caf\u{e9}", b"NATS/1.0\r\n\r\n", true),
    ];

    #[test]
    fn what_the_library_cannot_read_is_told_apart() {
        for (subject, headers, readable) in CASES {
            let found = problem(subject, headers);
            assert_eq!(
                found.is_none(),
                *readable,
                "{subject:?} {headers:?}: {found:?}"
            );
        }
        assert!(problem("w.\u{fffd}", b"").is_some());
    }

    /// Headers as any client can store them: read by us, continued, and sent on.
    #[test]
    fn fuzz_header_block() {
        let words = [
            "NATS/1.0",
            "\r\n",
            "\n",
            "\r",
            ":",
            " ",
            "traceparent: ",
            "tracestate: ",
            "X-Claim: ",
            "X-Request-ID: ",
            "X-Priority: ",
            "=?utf-8?B?",
            "?=",
            "00-",
            "-01",
            "\u{85}",
            "\u{2028}",
        ];
        fuzz("header_block", &words, |block| {
            let _ = problem("work.x", block);
            let message = RawMessage {
                subject: "work.x".to_owned(),
                sequence: 1,
                stored_at: String::new(),
                header_block: block.to_vec(),
                payload: Bytes::new(),
            };
            let mut headers = message.headers();
            let trace = Trace::received(&headers, RequestId::new).child();
            let _ = Claim::of(&headers);
            for (name, value) in headers.iter() {
                assert!(!name.contains(['\r', '\n', ':']), "{name:?}");
                assert!(!value.contains(['\r', '\n']), "{value:?}");
                let _ = headers.text(name);
            }
            trace.stamp(None, &mut headers);
            let _ = headers.sent();
        });
    }
}
