//! Construction of calls: builds a component's call from a message, and decides whether it may be
//! answered.

use std::time::{Duration, Instant};

use mistersmith_core::limits;
use mistersmith_core::permissions::reserved::{may_answer, may_reply_to};
use mistersmith_nats::trace::header;
use mistersmith_nats::{Connection, Headers, Message, Trace};
use mistersmith_runtime::{Call, Kind};

use super::Destination;

/// The call for a message that has just arrived.
pub fn call(kind: Kind, message: Message, trace: Trace) -> Box<Call> {
    let asked = match &kind {
        Kind::Execute => message.reply.is_some(),
        Kind::Subscription { wants_reply, .. } => *wants_reply,
        Kind::Scatter { .. } => true,
        // A stored message has no waiting sender.
        _ => false,
    };
    let until = waits_until(&message.headers, asked);
    call_until(kind, message, trace, until)
}

/// As [`call`], for a message whose sender waits until `until`. Boxed, because it is moved often.
pub fn call_until(kind: Kind, message: Message, trace: Trace, until: Option<Instant>) -> Box<Call> {
    Box::new(Call {
        kind,
        subject: message.subject,
        payload: message.payload,
        headers: message.headers.into(),
        trace,
        waits_until: until,
    })
}

/// When the sender's timeout ends, for a message that arrives now; none if no answer is expected or
/// the headers name no timeout.
pub fn waits_until(headers: &Headers, asked: bool) -> Option<Instant> {
    let wait = headers.get(header::TIMEOUT).filter(|_| asked);
    wait.and_then(wait_of).map(|wait| Instant::now() + wait)
}

/// Parses `X-Timeout-Ms`; none for anything but a number of milliseconds within the longest
/// possible call.
fn wait_of(value: &str) -> Option<Duration> {
    let wait = Duration::from_millis(value.parse().ok()?);
    (wait <= limits::TIMEOUT.max && !wait.is_zero()).then_some(wait)
}

/// The reply subject of a message, unless the host must not publish there: the sender may lack the
/// permission to, and the host has it nearly everywhere.
pub fn reply_subject(message: &Message) -> Option<&str> {
    message.reply.as_deref().filter(|reply| may_reply_to(reply))
}

/// [`reply_subject`] for the answer of a plugin to a subscribed message; none for a message that
/// the host or a stream answers.
pub fn plugin_reply_subject(message: &Message) -> Option<&str> {
    reply_subject(message).filter(|_| may_answer(&message.subject))
}

/// The kind of call and the answer for a message of a subscription. `id` is the number of a
/// run-time subscription; `may_answer` decides by the subject whether the sender gets an answer.
/// Takes the reply subject out of the message.
pub fn subscribed(
    id: Option<u64>,
    message: &mut Message,
    may_answer: bool,
    connection: &Connection,
) -> (Kind, Destination) {
    let reply = message.reply.take();
    let reply = reply.filter(|reply| may_answer && may_reply_to(reply));
    let wants_reply = reply.is_some();
    let destination = reply.map_or(Destination::Nobody, |to| Destination::Reply {
        to,
        connection: connection.clone(),
    });
    (Kind::Subscription { id, wants_reply }, destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_asker_waits_is_read_or_ignored() {
        for (value, read) in [
            ("1", Some(1)),
            ("3600000", Some(3_600_000)),
            ("3600001", None),
            ("0", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(wait_of(value), read.map(Duration::from_millis), "{value:?}");
        }
    }
}
