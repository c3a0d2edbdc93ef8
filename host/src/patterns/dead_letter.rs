//! Dead letters: `dlq.<original subject>`, the original payload, and headers that say why.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::limits;
use crate::names::{AgentId, Subject};
use crate::runtime::Call;
use crate::transport::{CLAIM, Headers, Link, Stored, Trace, TransportError, Unreadable};

use super::delivery::Held;
use super::disposition::Reason;
use super::lifecycle::now;

pub use crate::names::headers::{
    DLQ_AGENT as AGENT, DLQ_AT as AT, DLQ_DELIVERIES as DELIVERIES, DLQ_ERROR as ERROR,
    DLQ_KIND as KIND, DLQ_SEQUENCE as SEQUENCE, DLQ_STREAM as STREAM, DLQ_SUBJECT as SUBJECT,
    DLQ_TRUNCATED as TRUNCATED,
};

/// The kind of a message whose bytes are no message for the client library.
const UNREADABLE: &str = "unreadable";

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
    let mut full = headers(agent, call, held, reason, true);
    // The original's own headers may be what makes the letter larger than the server takes; then
    // ours; and in the end the letter holds what fits, which says more than no letter.
    let mut bare = headers(agent, call, held, reason, false);
    let payload = match claim(link, call, held, &id, [&mut full, &mut bare]).await? {
        true => Bytes::new(),
        false => call.payload.clone(),
    };
    for headers in [full, bare] {
        match link.store(&subject, &id, headers, payload.clone()).await {
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

/// Leaves a payload that is too large for a letter, or that was fetched for the message, in the object
/// store, and says so in the headers; otherwise the letter is to hold it.
async fn claim(
    link: &Link,
    call: &Call,
    held: &Held,
    id: &str,
    headers: [&mut Headers; 2],
) -> Result<bool, TransportError> {
    if let Some(claimed) = &held.claimed {
        for headers in headers {
            claimed.stamp(headers);
        }
        return Ok(true);
    }
    if call.payload.len() <= link.claim_over() {
        return Ok(false);
    }
    // For the original subject: that is where it is sent again.
    match link.claim(&call.subject, id, &call.payload).await {
        Ok(claim) => {
            for headers in headers {
                claim.stamp(call.payload.len(), headers);
            }
            Ok(true)
        }
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::warn!(%error, subject = %call.subject, "no room for the payload of a dead letter beside it");
            Ok(false)
        }
    }
}

/// Stores the dead letter of a message that cannot be delivered to this host at all.
pub async fn store_unreadable(link: &Link, found: &Unreadable) -> Result<Stored, TransportError> {
    let mut headers = Headers::default();
    Trace::begin(format!("wq-{}", found.meta.stream_sequence)).stamp(None, &mut headers);
    headers.set(SUBJECT, &found.subject);
    headers.set(STREAM, &found.meta.stream);
    headers.set(SEQUENCE, &found.meta.stream_sequence.to_string());
    headers.set(KIND, UNREADABLE);
    headers.set(ERROR, found.problem);
    headers.set(AT, &now());
    let (subject, id) = (subject(&found.subject), found.meta.output_id("dlq"));
    link.store(&subject, &id, headers, found.payload.clone())
        .await
}

/// What the audit stream says of it.
pub fn audit_unreadable(found: &Unreadable, letter: &Stored) -> Value {
    json!({
        "subject": found.subject,
        "stream": found.meta.stream,
        "sequence": found.meta.stream_sequence,
        "error_kind": UNREADABLE,
        "error": found.problem,
        "dlq_sequence": letter.sequence,
    })
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
        "trace_id": call.trace.trace_id(),
        "request_id": call.trace.request_id(),
    })
}

/// The subject of the letter. One that would be too long, or that others may publish and we may not, keeps
/// its place in the tree.
pub fn subject(original: &str) -> String {
    let letter = format!("dlq.{original}");
    if Subject::check(&letter).is_ok() {
        return letter;
    }
    let first = original.split('.').next().unwrap_or_default();
    let why = if letter.len() > limits::MAX_SUBJECT {
        "overlong"
    } else {
        "malformed"
    };
    format!("dlq.{first}.{why}")
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
    // One that was not fetched: without it the letter would be empty.
    if let Some(claim) = call.headers.get(CLAIM) {
        headers.set(CLAIM, claim);
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
        for bad in ["work.nlp.high.a\u{a0}b", "work.nlp.high.\u{fffd}\t"] {
            assert_eq!(subject(bad), "dlq.work.malformed");
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
