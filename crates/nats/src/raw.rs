//! Stored messages as the JetStream API returns them, with headers and payload in base64. The only
//! parser of this form.
//!
//! Any stored message can be read this way, whatever its publisher wrote into the headers: the
//! library's own parser never sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{CallError, code};
use super::{Connection, Headers, TransportError};

/// The answer to a question for one message.
#[derive(Deserialize)]
struct Answer {
    message: Encoded,
}

#[derive(Deserialize)]
struct Encoded {
    subject: String,
    seq: u64,
    #[serde(default)]
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// One stored message.
#[derive(Debug)]
pub(super) struct RawMessage {
    /// The subject; what is no UTF-8 in it is replaced.
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// When it was stored, RFC 3339.
    pub(super) stored_at: String,
    /// The block of headers as it goes over the wire; empty for none.
    pub(super) header_block: Vec<u8>,
    pub(super) payload: Bytes,
}

impl Connection {
    /// One message of a stream: `which` is what `STREAM.MSG.GET` takes. None when there is no such
    /// message. Asks once more when the client was replaced before the answer came: reading twice
    /// does no harm.
    async fn raw_get(&self, stream: &str, which: &Value) -> Result<Option<RawMessage>, CallError> {
        let revivals = self.revivals();
        match self.raw_get_once(stream, which).await {
            Err(CallError::Failed(TransportError::Unavailable(_)))
                if self.revivals() != revivals =>
            {
                self.raw_get_once(stream, which).await
            }
            done => done,
        }
    }

    async fn raw_get_once(
        &self,
        stream: &str,
        which: &Value,
    ) -> Result<Option<RawMessage>, CallError> {
        let call = format!("STREAM.MSG.GET.{stream}");
        match self.call::<Answer>(&call, which).await {
            Ok(answer) => Ok(Some(answer.message.decode()?)),
            Err(error) if error.is(code::NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The message of a sequence.
    pub(super) async fn raw_message(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<RawMessage>, CallError> {
        self.raw_get(stream, &json!({ "seq": sequence })).await
    }

    /// The newest message on a subject, which may have wildcards.
    pub(super) async fn raw_newest(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<RawMessage>, CallError> {
        self.raw_get(stream, &json!({ "last_by_subj": subject }))
            .await
    }

    /// The oldest message from a sequence on, on a subject that matches `filter`.
    pub(super) async fn raw_next(
        &self,
        stream: &str,
        from: u64,
        filter: &str,
    ) -> Result<Option<RawMessage>, CallError> {
        self.raw_get(stream, &json!({ "seq": from, "next_by_subj": filter }))
            .await
    }
}

impl Encoded {
    fn decode(self) -> Result<RawMessage, TransportError> {
        let malformed =
            |_| TransportError::Other("JetStream's answer is malformed: no base64".to_owned());
        Ok(RawMessage {
            subject: self.subject,
            sequence: self.seq,
            stored_at: self.time,
            header_block: STANDARD.decode(self.hdrs).map_err(malformed)?,
            payload: STANDARD.decode(self.data).map_err(malformed)?.into(),
        })
    }
}

impl RawMessage {
    /// A header, if there is one of this name; what is no text in it is replaced.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let block = String::from_utf8_lossy(&self.header_block);
        let mut lines = header_lines(&block);
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    }

    /// All headers. What is no header in the block is left out: other clients can store anything.
    pub(super) fn headers(&self) -> Headers {
        let block = String::from_utf8_lossy(&self.header_block);
        let mut headers = Headers::new();
        for (name, value) in header_lines(&block) {
            let _ = headers.append(name, value);
        }
        headers
    }

    /// When it was stored, in nanoseconds since 1970; 0 when that is not known.
    pub(super) fn stored_at_ns(&self) -> u64 {
        let at = parse_time(&self.stored_at);
        let nanos = at.map_or(0, OffsetDateTime::unix_timestamp_nanos);
        u64::try_from(nanos).unwrap_or(0)
    }
}

/// Names and values in a block of headers, behind its line with the version.
fn header_lines(block: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = block.lines().skip(1);
    lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, value.trim()))
    })
}

/// A time as the JetStream API writes it; none for any other text.
pub(super) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::StoredMessage;
    use mistersmith_testing::fuzz;

    #[test]
    fn what_a_library_would_not_read_is_read() {
        let encoded: Encoded = serde_json::from_value(json!({
            "subject": "$KV.B.k",
            "seq": 7,
            "time": "2026-01-02T03:04:05.000000006Z",
            "hdrs": STANDARD.encode(b"NATS/1.0\r\nX-A: 1\r2\r\nkv-operation:DEL\r\nX-B: \xff\r\n\r\n"),
            "data": STANDARD.encode([0, 159]),
        }))
        .unwrap();
        let message = encoded.decode().unwrap();
        assert_eq!(message.sequence, 7);
        assert_eq!(message.payload.as_ref(), [0, 159]);
        assert_eq!(message.header("x-a").as_deref(), Some("1\r2"));
        assert_eq!(message.header("KV-Operation").as_deref(), Some("DEL"));
        assert_eq!(message.header("X-B").as_deref(), Some("\u{fffd}"));
        assert_eq!(message.header("X-C"), None);
        assert_eq!(message.stored_at_ns() % 1_000_000_000, 6);
    }

    #[test]
    fn a_stored_message_is_read_as_it_was_sent() {
        let encoded: Encoded = serde_json::from_value(json!({
            "subject": "dlq.work.nlp.test",
            "seq": 7,
            "time": "2026-01-02T03:04:05.000000006Z",
            "hdrs": STANDARD.encode("NATS/1.0\r\nX-A: 1\r\nX-A: 2\r\nno header\r\nX-B:\r\n\r\n"),
            "data": STANDARD.encode([0, 159]),
        }))
        .unwrap();
        let message = StoredMessage::from(encoded.decode().unwrap());
        let headers: Vec<_> = message.headers.iter().collect();
        assert_eq!(headers.len(), 3);
        assert_eq!(message.headers.get("x-a"), Some("1"));
        assert_eq!(message.headers.get("X-B"), Some(""));
        assert_eq!(message.payload.as_ref(), [0, 159]);
    }

    /// Answers to a question for a stored message, as the server could give them.
    #[test]
    fn fuzz_stored_message() {
        let words = [
            "\"message\":",
            "\"hdrs\":",
            "\"data\":",
            "\"error\":",
            "TkFUUy8xLjA=",
            "null",
        ];
        fuzz("stored_message", &words, |answer| {
            let Ok(Answer { message }) = crate::api::read_answer(answer) else {
                return;
            };
            if let Ok(message) = message.decode() {
                let (_, _) = (message.headers(), message.header("X-A"));
                let _ = message.stored_at_ns();
            }
        });
    }
}
