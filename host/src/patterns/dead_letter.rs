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
    DLQ_AGENT as AGENT, DLQ_AT as AT, DLQ_ATTEMPT_LOG as ATTEMPT_LOG, DLQ_ATTEMPTS as ATTEMPTS,
    DLQ_DELIVERIES as DELIVERIES, DLQ_ERROR as ERROR, DLQ_KIND as KIND, DLQ_SEQUENCE as SEQUENCE,
    DLQ_STREAM as STREAM, DLQ_SUBJECT as SUBJECT,
};

/// The kind of a message whose bytes are no message for the client library.
const UNREADABLE: &str = "unreadable";

/// Stores the dead letter of a held message. The same message always has the same letter id, so a
/// repetition after a crash is recognised by the stream.
///
/// # Errors
/// Also where the letter could not hold everything that the original does: the original is to stay
/// then.
pub async fn store(
    link: &Link,
    agent: Option<&AgentId>,
    call: &Call,
    held: &Held,
    reason: &Reason,
) -> Result<Stored, TransportError> {
    let subject = subject(&call.subject);
    let id = held.meta.output_id("dlq");
    let mut full = headers(agent, call, held, reason);
    let payload = match claim(link, call, held, &id, &mut full).await? {
        true => Bytes::new(),
        false => call.payload.clone(),
    };
    match link
        .store(&subject, &id, full.clone(), payload.clone())
        .await
    {
        Err(TransportError::TooLarge(_)) => {}
        stored => return stored,
    }
    // The list of attempts is ours, and the only thing that may be missing.
    full.remove(ATTEMPT_LOG);
    link.store(&subject, &id, full, payload).await
}

/// Leaves a payload that is too large for a letter, or that was fetched for the message, in the object
/// store, and says so in the headers; otherwise the letter is to hold it.
async fn claim(
    link: &Link,
    call: &Call,
    held: &Held,
    id: &str,
    headers: &mut Headers,
) -> Result<bool, TransportError> {
    if let Some(claimed) = &held.claimed {
        claimed.stamp(headers);
        return Ok(true);
    }
    if call.payload.is_empty() || link.takes(headers, call.payload.len()) {
        return Ok(false);
    }
    // For the original subject: that is where it is sent again.
    let claim = link.claim(&call.subject, id, &call.payload).await?;
    claim.stamp(call.payload.len(), headers);
    Ok(true)
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
        "attempts": held.tries.begun(),
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

fn headers(agent: Option<&AgentId>, call: &Call, held: &Held, reason: &Reason) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in call.headers.iter() {
        let lower = name.to_ascii_lowercase();
        // What made the server act on the original must not act again, and the reasons are ours.
        if !lower.starts_with("nats-") && !lower.starts_with("x-dlq-") {
            // A name may have several values. What came as a header can be one again.
            let _ = headers.append(name, value);
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
    headers.set(ATTEMPTS, &held.tries.begun().to_string());
    headers.set(ATTEMPT_LOG, &attempt_log(held, reason));
    headers.set(KIND, &reason.kind);
    headers.set(ERROR, &one_line(&reason.message));
    if let Some(agent) = agent {
        headers.set(AGENT, agent.as_str());
    }
    headers.set(AT, &now());
    headers
}

/// The attempts, in the letters of ASCII: some clients drop a header that has others.
fn attempt_log(held: &Held, reason: &Reason) -> String {
    let running = held.tries.running();
    let running = running.map(|attempt| attempt.failed(reason));
    let all = held.tries.listed().iter().chain(&running);
    let list: Vec<Value> = all
        .map(|attempt| {
            json!({
                "at": attempt.at,
                "agent_id": attempt.agent_id,
                "delivery": attempt.delivery,
                "kind": attempt.kind,
                "error": attempt.error.as_deref().map(one_line),
            })
        })
        .collect();
    ascii(&Value::from(list).to_string())
}

/// JSON with everything beyond ASCII written as `\u….`.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
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
    fn a_log_of_attempts_is_ascii_and_still_json() {
        let text = json!(["é😀\n", "plain"]).to_string();
        let plain = ascii(&text);
        assert!(plain.is_ascii(), "{plain}");
        let read: Value = serde_json::from_str(&plain).unwrap_or_default();
        assert_eq!(read, json!(["é😀\n", "plain"]));
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
