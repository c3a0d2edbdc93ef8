//! Dead letters: `dlq.<original subject>`, the original payload, and headers with the reason.

use bytes::Bytes;
use serde_json::{Value, json};

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, Subject};
use mistersmith_nats::{CLAIM, Connection, Headers, Stored, Trace, TransportError, Unreadable};
use mistersmith_runtime::Call;

use crate::clock::now;
use crate::delivery::{FinalFailure, HeldMessage, Reason, ReasonKind};

pub use mistersmith_core::names::headers::{
    DLQ_AGENT as AGENT, DLQ_AT as AT, DLQ_ATTEMPT_LOG as ATTEMPT_LOG, DLQ_ATTEMPTS as ATTEMPTS,
    DLQ_DELIVERIES as DELIVERIES, DLQ_ERROR as ERROR, DLQ_KIND as KIND, DLQ_SEQUENCE as SEQUENCE,
    DLQ_STREAM as STREAM, DLQ_SUBJECT as SUBJECT,
};

/// The kind of a message that the client library cannot parse.
const UNREADABLE: &str = ReasonKind::Unreadable.as_str();

/// Stores the dead letter of a held message. The letter id is derived from the message, so that the
/// stream recognises a repetition after a crash.
///
/// # Errors
/// Also if the letter could not hold everything of the original, which must stay then.
pub async fn store(
    connection: &Connection,
    failure: FinalFailure<'_>,
) -> Result<Stored, TransportError> {
    let FinalFailure { call, held, .. } = failure;
    let subject = subject(&call.subject);
    let id = held.info.output_id("dlq");
    let mut full = headers(failure);
    let payload = match claim(connection, call, held, &id, &mut full).await? {
        true => Bytes::new(),
        false => call.payload.clone(),
    };
    match connection
        .store(&subject, &id, full.clone(), payload.clone())
        .await
    {
        Err(TransportError::TooLarge(_)) => {}
        stored => return stored,
    }
    // The attempt list is the host's own, and the only part that may be dropped.
    full.remove(ATTEMPT_LOG);
    connection.store(&subject, &id, full, payload).await
}

/// Keeps a payload that is too large for a letter, or that was fetched for the message, in the
/// object store, with its location in the headers; otherwise the letter holds the payload.
async fn claim(
    connection: &Connection,
    call: &Call,
    held: &HeldMessage,
    id: &str,
    headers: &mut Headers,
) -> Result<bool, TransportError> {
    if let Some(claimed) = &held.claimed {
        claimed.stamp(headers);
        return Ok(true);
    }
    if call.payload.is_empty() || connection.takes(headers, call.payload.len()) {
        return Ok(false);
    }
    // For the original subject, on which a redrive publishes it again.
    let claim = connection.claim(&call.subject, id, &call.payload).await?;
    claim.stamp(call.payload.len(), headers);
    Ok(true)
}

/// Stores the dead letter of a message that cannot be delivered to this host at all.
pub async fn store_unreadable(
    connection: &Connection,
    found: &Unreadable,
) -> Result<Stored, TransportError> {
    let mut headers = Headers::default();
    Trace::begin(format!("wq-{}", found.info.stream_sequence)).stamp(None, &mut headers);
    headers.set_text(SUBJECT, &found.subject);
    headers.set(STREAM, &found.info.stream);
    headers.set(SEQUENCE, &found.info.stream_sequence.to_string());
    headers.set(KIND, UNREADABLE);
    headers.set(ERROR, found.problem);
    headers.set(AT, &now());
    let (subject, id) = (subject(&found.subject), found.info.output_id("dlq"));
    connection
        .store(&subject, &id, headers, found.payload.clone())
        .await
}

/// The audit entry of an unreadable message.
pub fn audit_unreadable(found: &Unreadable, letter: &Stored) -> Value {
    json!({
        "subject": found.subject,
        "stream": found.info.stream,
        "sequence": found.info.stream_sequence,
        "error_kind": UNREADABLE,
        "error": found.problem,
        "dlq_sequence": letter.sequence,
    })
}

/// The audit entry of a dead letter.
pub fn audit(failure: FinalFailure<'_>, letter: &Stored) -> Value {
    let FinalFailure {
        agent,
        call,
        held,
        reason,
    } = failure;
    json!({
        "subject": &*call.subject,
        "stream": held.info.stream,
        "sequence": held.info.stream_sequence,
        "deliveries": held.info.deliveries,
        "attempts": held.tries.begun(),
        "agent_id": agent.map(AgentId::as_str),
        "error_kind": reason.kind,
        "error": reason.message,
        "dlq_sequence": letter.sequence,
        "trace_id": call.trace.trace_id(),
        "request_id": call.trace.request_id(),
    })
}

/// The subject of the letter. An original subject that is too long, or that others may publish and
/// the host may not, still gets a place in the tree.
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

fn headers(failure: FinalFailure<'_>) -> Headers {
    let FinalFailure {
        agent,
        call,
        held,
        reason,
    } = failure;
    let mut headers = Headers::default();
    for (name, value) in call.headers.iter() {
        let lower = name.to_ascii_lowercase();
        // Headers that made the server act on the original must not act again; `X-Dlq-*` are the
        // host's.
        if !lower.starts_with("nats-") && !lower.starts_with("x-dlq-") {
            // A name may have several values. A header that arrived is valid, so `append` does not
            // fail.
            let _ = headers.append(name, value);
        }
    }
    // The header of a claim that was not fetched: without it the letter would be empty.
    if let Some(claim) = call.headers.get(CLAIM) {
        headers.set(CLAIM, claim);
    }
    call.trace.stamp(agent, &mut headers);
    headers.set_text(SUBJECT, &call.subject);
    headers.set(STREAM, &held.info.stream);
    headers.set(SEQUENCE, &held.info.stream_sequence.to_string());
    headers.set(DELIVERIES, &held.info.deliveries.to_string());
    headers.set(ATTEMPTS, &held.tries.begun().to_string());
    headers.set(ATTEMPT_LOG, &attempt_log(held, reason));
    headers.set(KIND, reason.kind.as_str());
    headers.set_text(ERROR, &one_line(&reason.message));
    if let Some(agent) = agent {
        headers.set(AGENT, agent.as_str());
    }
    headers.set(AT, &now());
    headers
}

/// The attempts in ASCII: some clients drop a header with other characters.
fn attempt_log(held: &HeldMessage, reason: &Reason) -> String {
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

/// JSON with every character beyond ASCII escaped as `\u….`.
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

/// Replaces control characters, because a header is one line and an error text may come from a
/// guest.
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
