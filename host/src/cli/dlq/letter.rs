//! One dead letter: the reason of its failure, and the message to replay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::cli::dlq::{PREFIX, STREAM};
use crate::settle::dead_letter as form;
use mistersmith_nats::{CLAIM_SIZE, Claim, Headers, StoredMessage};

/// A dead letter in its stream.
///
/// A text is empty where the header is missing, because the publisher was not a host.
#[derive(Debug, Clone)]
pub(super) struct DeadLetter {
    /// Its sequence in the stream of the dead letters.
    pub(super) number: u64,
    /// When the item failed for good, RFC 3339.
    pub(super) at: String,
    /// The subject of the original message.
    pub(super) subject: String,
    /// Why it failed: the kind of the reason.
    pub(super) kind: String,
    /// Why it failed: a sentence.
    pub(super) error: String,
    /// How often the original was delivered.
    pub(super) deliveries: String,
    /// The agent of the last attempt.
    pub(super) agent: String,
    /// The claim for the payload and its declared size in bytes, where the letter does not hold the
    /// payload itself.
    pub(super) claim: Option<(Claim, usize)>,
    /// All headers.
    pub(super) headers: Headers,
    /// The payload of the original message.
    pub(super) payload: Bytes,
}

impl DeadLetter {
    pub(super) fn read(message: StoredMessage) -> DeadLetter {
        let header = |name| message.headers.text(name).unwrap_or_default().into_owned();
        let below = message.subject.strip_prefix(PREFIX);
        let original = below.unwrap_or(&message.subject).to_owned();
        let subject = match header(form::SUBJECT) {
            subject if subject.is_empty() => original,
            subject => subject,
        };
        let size = header(CLAIM_SIZE).parse().unwrap_or_default();
        let claim = Claim::of(&message.headers).and_then(Result::ok);
        DeadLetter {
            claim: claim.map(|claim| (claim, size)),
            number: message.sequence,
            at: message.stored_at.clone(),
            subject,
            kind: header(form::KIND),
            error: header(form::ERROR),
            deliveries: header(form::DELIVERIES),
            agent: header(form::AGENT),
            headers: message.headers,
            payload: message.payload,
        }
    }

    /// The message id of the replay: different from the original's, or the stream would drop it,
    /// and always the same, so that a replay that died before the removal can be repeated.
    pub(super) fn replay_id(&self) -> String {
        format!("{STREAM}:{}:{}:replay", self.number, self.at)
    }

    /// The headers of the original: without the reasons, without headers that the server acts on,
    /// and without the delivery count, which begins again.
    pub(super) fn original_headers(&self) -> Headers {
        let ours = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.starts_with("x-dlq-") || name.starts_with("nats-") || name == "x-retry-count"
        };
        let mut headers = Headers::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| !ours(name)) {
            // It came over NATS as a header, so it is a valid one.
            let _ = headers.append(name, value);
        }
        headers
    }

    /// The attempts that it lists, one per line.
    pub(super) fn attempts(&self) -> Vec<String> {
        let header = |name| self.headers.get(name).unwrap_or_default();
        let listed: Vec<Value> =
            serde_json::from_str(header(form::ATTEMPT_LOG)).unwrap_or_default();
        let all = header(form::ATTEMPTS).parse().unwrap_or(listed.len());
        let first = all.saturating_sub(listed.len()) + 1;
        let line = |(number, attempt): (usize, &Value)| {
            let text = |name: &str| attempt.get(name).and_then(Value::as_str);
            let at = text("at").unwrap_or_default();
            let agent = text("agent_id").unwrap_or_default();
            let kind = text("kind").unwrap_or("unknown");
            let error = text("error").unwrap_or("its process ended, or lost its connection");
            format!(
                "{:<12} {at}  {agent}  {kind}: {error}",
                format!("attempt {number}")
            )
        };
        (first..).zip(&listed).map(line).collect()
    }

    /// Its fields in a list.
    pub(super) fn summary(&self) -> Value {
        json!({
            "number": self.number,
            "at": self.at,
            "subject": self.subject,
            "kind": self.kind,
            "error": self.error,
            "deliveries": self.deliveries.parse::<u64>().ok(),
            "attempts": self.headers.get(form::ATTEMPTS).and_then(|n| n.parse::<u64>().ok()),
            "agent_id": Some(&self.agent).filter(|agent| !agent.is_empty()),
            "bytes": self.claim.as_ref().map_or(self.payload.len(), |(_, size)| *size),
            "claim": self.claim.as_ref().map(|(claim, _)| claim.name()),
        })
    }

    /// All of its fields. A payload that is no text is given in base64.
    pub(super) fn whole(&self) -> Value {
        let headers: Vec<(&str, &str)> = self.headers.iter().collect();
        let payload = match std::str::from_utf8(&self.payload) {
            Ok(text) => ("payload", json!(text)),
            Err(_) => ("payload_base64", json!(STANDARD.encode(&self.payload))),
        };
        let mut whole = self.summary();
        if let Some(object) = whole.as_object_mut() {
            object.insert("headers".to_owned(), json!(headers));
            object.insert(payload.0.to_owned(), payload.1);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn letter(subject: &str, headers: &[(&str, &str)], payload: &'static [u8]) -> DeadLetter {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.append(name, value).unwrap();
        }
        DeadLetter::read(StoredMessage {
            subject: subject.to_owned(),
            sequence: 7,
            stored_at: "2026-01-02T03:04:05.6Z".to_owned(),
            headers: all,
            payload: Bytes::from_static(payload),
        })
    }

    #[test]
    fn the_reasons_are_read_from_the_headers() {
        let read = letter(
            "dlq.work.overlong",
            &[
                (form::SUBJECT, "work.nlp.x"),
                (form::KIND, "trap"),
                (form::DELIVERIES, "5"),
            ],
            b"\xff",
        );
        assert_eq!(read.subject, "work.nlp.x");
        let whole = read.whole();
        assert_eq!(whole["deliveries"], 5);
        assert_eq!(whole["agent_id"], Value::Null);
        assert_eq!(whole["payload_base64"], "/w==");
    }

    #[test]
    fn the_attempts_are_listed_with_their_numbers() {
        let log = r#"[{"at":"t1","agent_id":"a-001","kind":"trap","error":"x"},{"at":"t2"}]"#;
        let headers = [(form::ATTEMPTS, "7"), (form::ATTEMPT_LOG, log)];
        let lines = letter("dlq.work.a", &headers, b"").attempts();
        assert_eq!(lines[0], "attempt 6    t1  a-001  trap: x");
        assert!(lines[1].starts_with("attempt 7    t2"), "{lines:?}");
        let forged = letter("dlq.work.a", &[(form::ATTEMPT_LOG, "no json")], b"");
        assert!(forged.attempts().is_empty());
    }

    #[test]
    fn a_letter_of_somebody_else_is_shown_as_well() {
        let read = letter("dlq.work.a", &[], b"x");
        assert_eq!((read.subject.as_str(), read.kind.as_str()), ("work.a", ""));
        assert_eq!(read.whole()["payload"], "x");
    }

    #[test]
    fn it_is_sent_again_without_what_killed_it() {
        let read = letter(
            "dlq.work.a",
            &[
                ("X-Request-ID", "r"),
                ("x-dlq-error", "e"),
                ("Nats-Msg-Id", "old"),
                ("NATS-Rollup", "all"),
                ("X-Retry-Count", "4"),
                ("X-Own", "1"),
                ("X-Own", "2"),
            ],
            b"",
        );
        let mut names: Vec<String> = read
            .original_headers()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        names.sort();
        assert_eq!(names, ["X-Own=1", "X-Own=2", "X-Request-ID=r"]);
        assert_eq!(read.replay_id(), "DLQ:7:2026-01-02T03:04:05.6Z:replay");
    }
}
