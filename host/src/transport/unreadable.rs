//! Stored messages that the client library cannot read.
//!
//! A server stores whatever bytes a publisher calls headers. The library takes malformed ones for a broken
//! connection, so that one such message ends the connection of everybody at each of its deliveries, until
//! it is too old. The JetStream API shows messages in another form; there such a message can be found
//! and taken out of the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{CallError, code};
use super::{Link, Meta, TransportError};

/// A stored message that cannot be delivered to this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The subject, with what is no text in it replaced.
    pub subject: String,
    /// Where it is. `deliveries` and `pending` are not known, and 0.
    pub meta: Meta,
    /// Its payload.
    pub payload: Bytes,
    /// What is wrong with it, for a person.
    pub problem: &'static str,
}

/// Looks through the oldest messages that a consumer has delivered and that nobody has acknowledged,
/// at most `most` of them. For when connections break again and again while pulling.
pub(super) async fn find(
    link: &Link,
    stream: &str,
    consumer: &str,
    most: usize,
) -> Result<Vec<Unreadable>, TransportError> {
    let info: Info = link
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
        let Some(message) = message(link, stream, sequence, filter).await? else {
            break;
        };
        if message.seq > info.delivered.stream_seq {
            break;
        }
        sequence = message.seq.saturating_add(1);
        found.extend(message.unreadable(stream, consumer)?);
    }
    Ok(found)
}

async fn message(
    link: &Link,
    stream: &str,
    from: u64,
    filter: &str,
) -> Result<Option<Raw>, TransportError> {
    let call = format!("STREAM.MSG.GET.{stream}");
    let body = json!({ "seq": from, "next_by_subj": filter });
    match link.call::<Answer>(&call, &body).await {
        Ok(answer) => Ok(Some(answer.message)),
        Err(CallError::Refused(error)) if error.err_code == code::NO_MESSAGE => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Raw {
    fn unreadable(
        self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Unreadable>, TransportError> {
        let malformed =
            |_| TransportError::Other("JetStream's answer is malformed: no base64".to_owned());
        let headers = STANDARD.decode(&self.hdrs).map_err(malformed)?;
        let Some(problem) = problem(&self.subject, &headers) else {
            return Ok(None);
        };
        let stored_at = OffsetDateTime::parse(&self.time, &Rfc3339).ok();
        let stored_at = stored_at.map_or(0, OffsetDateTime::unix_timestamp_nanos);
        Ok(Some(Unreadable {
            subject: self.subject,
            meta: Meta {
                stream: stream.to_owned(),
                consumer: consumer.to_owned(),
                stream_sequence: self.seq,
                deliveries: 0,
                stored_at_ns: u64::try_from(stored_at).unwrap_or(0),
                pending: 0,
            },
            payload: STANDARD.decode(&self.data).map_err(malformed)?.into(),
            problem,
        }))
    }
}

/// What the client library will stumble over, if anything.
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
    let mut lines = headers.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
    let Some(status) = status.map(str::trim) else {
        return Some("the headers have no version line");
    };
    let status = status.split_once(' ').map_or(status, |(status, _)| status);
    if !status.is_empty() && !is_status(status) {
        return Some("the headers have a malformed status");
    }
    let mut after_header = false;
    for line in lines {
        // A value may go on in the next line.
        if line.is_empty() || (after_header && line.starts_with(char::is_whitespace)) {
            after_header &= !line.is_empty();
            continue;
        }
        let name = line.split_once(':').map(|(name, _)| name);
        if !name.is_some_and(|name| name.chars().all(|c| c.is_ascii_graphic())) {
            return Some("a header is malformed");
        }
        after_header = true;
    }
    // The library does not refuse this one: it panics.
    let broken = |line: &str| line.contains('\r');
    if headers.lines().any(broken) {
        return Some("a header has a carriage return in it");
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

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::problem;

    /// Headers, and whether the library reads them. The test of the transport proves it on a connection.
    pub(in crate::transport) const CASES: &[(&str, &[u8], bool)] = &[
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
}
