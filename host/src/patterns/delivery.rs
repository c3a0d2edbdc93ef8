//! One message on its way through an agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Schema;
use crate::limits;
use crate::permissions::reserved::{may_answer, may_reply_to};
use crate::runtime::{Call, Kind};
use crate::transport::trace::header;
use crate::transport::{Charge, Fate, Headers, Link, Message, Meta, Trace, TransportError};

use super::attempts::Tries;
use super::claims::Claimed;
use super::disposition::Reason;
use super::keeper::Kept;
use super::pipeline::StageRun;

/// What an agent is handed: the call to make, and who waits for its outcome.
#[derive(Debug)]
pub struct Delivery {
    /// What the component is called with.
    pub call: Box<Call>,
    /// Where the outcome goes.
    pub answer: Answer,
    /// The room that it takes in the mailbox of an agent.
    pub weight: Option<Charge>,
    /// The rest of its batch, each with an answer of its own; none: it is handed over by itself.
    pub rest: Option<Vec<Delivery>>,
}

impl Delivery {
    /// Each message of its batch by itself, this one first.
    pub fn each(mut self) -> impl Iterator<Item = Self> {
        let rest = self.rest.take().unwrap_or_default();
        std::iter::once(self).chain(rest)
    }

    /// What it counts with while it waits for any agent of the plugin, with its batch, in bytes. What a
    /// stream holds is not counted: it is fetched for agents that are free.
    pub(super) fn waiting_bytes(&self) -> usize {
        let own = match &self.answer {
            Answer::Held(_) => 0,
            _ => waiting_bytes(self.call.bytes()),
        };
        let rest = self.rest.iter().flatten();
        rest.map(Self::waiting_bytes)
            .fold(own, usize::saturating_add)
    }
}

/// The room that a call takes whose parts have so many bytes.
pub(super) fn waiting_bytes(bytes: usize) -> usize {
    // An empty message costs its bookkeeping too.
    bytes.saturating_add(limits::MESSAGE_OVERHEAD)
}

/// What a component is called with for a message that has just arrived.
pub fn call(kind: Kind, message: Message, trace: Trace) -> Box<Call> {
    let asked = match &kind {
        Kind::Execute => message.reply.is_some(),
        Kind::Subscription { wants_reply, .. } => *wants_reply,
        Kind::Scatter { .. } => true,
        // What is stored is done whoever waits.
        _ => false,
    };
    let until = waits_until(&message.headers, asked);
    call_until(kind, message, trace, until)
}

/// As [`call`], for a message whose sender waits until then. It goes through several hands: so it is a
/// pointer.
pub(super) fn call_until(
    kind: Kind,
    message: Message,
    trace: Trace,
    until: Option<Instant>,
) -> Box<Call> {
    Box::new(Call {
        kind,
        subject: message.subject,
        payload: message.payload,
        headers: message.headers.into(),
        trace,
        waits_until: until,
    })
}

/// Until when whoever sent a message that arrives now waits for the answer, if an answer is waited for and
/// its headers say so.
pub(super) fn waits_until(headers: &Headers, asked: bool) -> Option<Instant> {
    let wait = headers.get(header::TIMEOUT).filter(|_| asked);
    wait.and_then(wait_of).map(|wait| Instant::now() + wait)
}

/// Reads `X-Timeout-Ms`; none for what is no number of milliseconds, or more than a call may ever take.
fn wait_of(value: &str) -> Option<Duration> {
    let wait = Duration::from_millis(value.parse().ok()?);
    (wait <= limits::TIMEOUT.max && !wait.is_zero()).then_some(wait)
}

/// Where an answer to a message may go: its reply subject, unless the host must not be made to
/// publish there. The sender may lack the right to; the host has it nearly everywhere.
pub fn reply_subject(message: &Message) -> Option<&str> {
    message.reply.as_deref().filter(|reply| may_reply_to(reply))
}

/// [`reply_subject`], for what a plugin answers to a message that it subscribed to: never in the
/// host's place, and never where a stream answers too.
pub fn plugin_reply_subject(message: &Message) -> Option<&str> {
    reply_subject(message).filter(|_| may_answer(&message.subject))
}

/// How a message of a subscription is handed over: by the number of the subscription, if it has one,
/// and with an answer to its sender, if it may have one, which `may_answer` tells of its subject. The
/// reply subject is taken out of the message.
pub fn subscribed(
    id: Option<u64>,
    message: &mut Message,
    may_answer: bool,
    link: &Link,
) -> (Kind, Answer) {
    let reply = message.reply.take();
    let reply = reply.filter(|reply| may_answer && may_reply_to(reply));
    let wants_reply = reply.is_some();
    let answer = reply.map_or(Answer::Nobody, |to| Answer::Reply {
        to,
        link: link.clone(),
    });
    (Kind::Subscription { id, wants_reply }, answer)
}

/// Whether a payload may wake the plugin: no larger than `most` bytes, and as its schema wants it.
///
/// # Errors
/// Why not: `too-large` or `schema`.
pub fn admit(payload: &[u8], most: usize, schema: Option<&Schema>) -> Result<(), Reason> {
    let size = payload.len();
    if size > most {
        let text = format!("the payload has {size} bytes, [limits] payload allows {most}");
        return Err(Reason::new("too-large", text));
    }
    schema.map_or(Ok(()), |schema| {
        schema
            .check(payload)
            .map_err(|text| Reason::new("schema", text))
    })
}

/// Where the outcome of a call goes.
#[derive(Debug)]
pub enum Answer {
    /// Nobody waits: an event.
    Nobody,
    /// The sender waits on a reply subject, on this connection.
    Reply {
        /// The reply subject.
        to: String,
        /// The connection that the message came by.
        link: Link,
    },
    /// A question to many: an answer goes there, and no answer nowhere.
    Gather {
        /// The subject on which answers are gathered.
        to: String,
        /// The connection that the question came by.
        link: Link,
    },
    /// A command without a reply subject: the result is stored under `agent.<id>.resp.<request-id>`.
    Stored,
    /// A message of a stream: its output is stored, and only then it is acknowledged.
    Held(Box<Held>),
}

/// A message of a stream that this host holds: it must end in exactly one act of
/// [`disposition`](super::disposition), or it is delivered again after the ack wait.
#[derive(Debug)]
pub struct Held {
    /// How to ack, nak or term it.
    pub fate: Fate,
    /// Where it stands in its stream.
    pub meta: Meta,
    /// How often and when it is tried again.
    pub rule: Arc<RetryRule>,
    /// The attempts at it so far.
    pub tries: Tries,
    /// Keeps the server from delivering it again while it is held.
    pub kept: Kept,
    /// What is made of it when it was handled.
    pub output: Output,
    /// The payload that was fetched for it: it is removed once the message is acknowledged.
    pub claimed: Option<Claimed>,
    /// Under this key its result is recorded, before it is stored, so that it is not handled twice.
    pub record: Option<String>,
}

impl Held {
    /// How often it was begun before.
    pub(super) fn retries(&self) -> u32 {
        self.tries.begun()
    }

    /// Whether the workflow that it belongs to is cancelled; waits until that can be told.
    pub(super) async fn is_cancelled(&self) -> Result<bool, TransportError> {
        match &self.output {
            Output::Stage(run) => run.is_cancelled().await,
            Output::Result | Output::Nothing => Ok(false),
        }
    }
}

/// What is stored, before the message is acknowledged, when a held message was handled.
#[derive(Debug)]
pub enum Output {
    /// A work item's: the result, on `agent.<id>.resp.<request-id>`.
    Result,
    /// The input of a stage: the inputs of the next stages, or the result of the workflow.
    Stage(Box<StageRun>),
    /// What never gets as far as being handled.
    Nothing,
}

/// How often a message is tried, and how long the host waits between tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRule {
    /// The attempt after which a failure is final, from 1.
    pub max_deliver: u32,
    /// The wait after the first, second, … failure; the last one repeats. Never empty in a parsed manifest.
    pub backoff: Vec<Duration>,
}

impl RetryRule {
    /// The wait before the try that follows attempt number `attempts`.
    pub fn delay(&self, attempts: u32) -> Duration {
        let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.backoff
            .get(step)
            .or(self.backoff.last())
            .copied()
            .unwrap_or(Duration::from_secs(1))
    }
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

    #[test]
    fn the_last_wait_repeats() {
        let rule = RetryRule {
            max_deliver: 9,
            backoff: vec![Duration::from_secs(1), Duration::from_secs(5)],
        };
        let waits: Vec<u64> = (1..5).map(|n| rule.delay(n).as_secs()).collect();
        assert_eq!(waits, [1, 5, 5, 5]);
    }
}
