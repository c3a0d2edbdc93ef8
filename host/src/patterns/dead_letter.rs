//! Dead letters: `dlq.<original subject>`, the original payload, and headers that say why.

use serde_json::{Value, json};

use crate::limits;
use crate::names::AgentId;
use crate::runtime::Call;
use crate::transport::{Headers, Link, Stored, TransportError};

use super::delivery::Held;
use super::disposition::Reason;
use super::lifecycle::now;

/// The subject of the original message.
pub const SUBJECT: &str = "X-DLQ-Subject";
/// The stream that held it.
pub const STREAM: &str = "X-DLQ-Stream";
/// Its sequence in that stream.
pub const SEQUENCE: &str = "X-DLQ-Sequence";
/// How often it was delivered.
pub const DELIVERIES: &str = "X-DLQ-Deliveries";
/// Why it was given up: a word.
pub const KIND: &str = "X-DLQ-Error-Kind";
/// Why it was given up: a sentence.
pub const ERROR: &str = "X-DLQ-Error";
/// The agent that tried it last; absent when none was woken.
pub const AGENT: &str = "X-DLQ-Agent-ID";
/// When it was given up.
pub const AT: &str = "X-DLQ-At";

/// How many bytes the original payload had, where the letter holds only a part of it.
pub const TRUNCATED: &str = "X-DLQ-Truncated";

/// Stores the dead letter of a held message. The same message always has the same letter id, so a
/// repetition after a crash is recognised by the stream.
pub async fn store(
    link: &Link,
    agent: Option<&AgentId>,
    call: &Call,
    held: &Held,
    reason: &Reason,
) -> Result<Stored, TransportError> {
    let subject = subject(&call.subject);
    let id = held.meta.output_id("dlq");
    let full = headers(agent, call, held, reason, true);
    // The original's own headers may be what makes the letter larger than the server takes; then
    // ours; and in the end the letter holds what fits, which says more than no letter.
    let bare = headers(agent, call, held, reason, false);
    for headers in [full, bare] {
        match link
            .store(&subject, &id, headers, call.payload.clone())
            .await
        {
            Err(TransportError::TooLarge(_)) => {}
            other => return other,
        }
    }
    let mut headers = headers(agent, call, held, reason, false);
    headers.set(TRUNCATED, &call.payload.len().to_string());
    let most = link.max_payload().saturating_sub(limits::LETTER_HEADERS);
    let fits = call.payload.slice(..call.payload.len().min(most));
    link.store(&subject, &id, headers, fits).await
}

/// What the audit stream says of a dead letter.
pub fn audit(
    agent: Option<&AgentId>,
    call: &Call,
    held: &Held,
    reason: &Reason,
    letter: &Stored,
) -> Value {
    json!({
        "subject": &*call.subject,
        "stream": held.meta.stream,
        "sequence": held.meta.stream_sequence,
        "deliveries": held.meta.deliveries,
        "agent_id": agent.map(AgentId::as_str),
        "error_kind": reason.kind,
        "error": reason.message,
        "dlq_sequence": letter.sequence,
    })
}

/// The subject of the letter. One that would be too long, or that the host does not publish on, keeps
/// its place in the tree: a stream takes subjects with any white space but blank, tab and line ends.
fn subject(original: &str) -> String {
    let letter = format!("dlq.{original}");
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if letter.len() <= limits::MAX_SUBJECT && !letter.contains(odd) {
        return letter;
    }
    let first = original.split('.').next().unwrap_or_default();
    format!("dlq.{first}.overlong")
}

fn headers(
    agent: Option<&AgentId>,
    call: &Call,
    held: &Held,
    reason: &Reason,
    with_original: bool,
) -> Headers {
    let mut headers = Headers::default();
    if with_original {
        for (name, value) in call.headers.iter() {
            let lower = name.to_ascii_lowercase();
            // What made the server act on the original must not act again, and the reasons are ours.
            if !lower.starts_with("nats-") && !lower.starts_with("x-dlq-") {
                // A name may have several values. What came as a header can be one again.
                let _ = headers.append(name, value);
            }
        }
    }
    call.trace.stamp(agent, &mut headers);
    headers.set(SUBJECT, &call.subject);
    headers.set(STREAM, &held.meta.stream);
    headers.set(SEQUENCE, &held.meta.stream_sequence.to_string());
    headers.set(DELIVERIES, &held.meta.deliveries.to_string());
    headers.set(KIND, &reason.kind);
    headers.set(ERROR, &one_line(&reason.message));
    if let Some(agent) = agent {
        headers.set(AGENT, agent.as_str());
    }
    headers.set(AT, &now());
    headers
}

/// A header holds one line: the text of an error may come from a guest.
fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limits::MAX_ERROR_CHARS)
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_keeps_its_subject_unless_that_is_too_long() {
        assert_eq!(subject("work.nlp.high.x"), "dlq.work.nlp.high.x");
        let long = format!("work.nlp.high.{}", "x".repeat(255));
        assert_eq!(subject(&long), "dlq.work.overlong");
        // Only what can be published can be stored.
        for odd in ["work.nlp.high.a\u{a0}b", "work.nlp.high.a\u{1}b"] {
            assert_eq!(subject(odd), "dlq.work.overlong");
        }
    }

    #[test]
    fn an_error_text_is_one_bounded_line() {
        assert_eq!(one_line("a\r\nNats-Rollup: all"), "a  Nats-Rollup: all");
        assert_eq!(
            one_line(&"é".repeat(9999)).chars().count(),
            limits::MAX_ERROR_CHARS
        );
    }
}
