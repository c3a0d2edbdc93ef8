//! Messages on subjects. Each call needs a grant in the manifest.
//!
//! ```no_run
//! # fn main() -> mistersmith_sdk::Result<()> {
//! # use std::time::Duration;
//! use mistersmith_sdk::messaging;
//!
//! messaging::publish("results.nlp.done", "text or bytes")?;
//! let found: Vec<String> = messaging::request_json("tools.search", &"needle")?;
//! // Headers, a content type and a time limit:
//! let answer = messaging::to("tools.search")
//!     .text("needle")
//!     .header("X-Depth", "2")
//!     .request_within(Duration::from_millis(500))?;
//! # Ok(()) }
//! ```
//!
//! The host adds `X-Agent-ID`, `X-Request-ID`, `X-Trace-ID`, `X-Span-ID` and `traceparent` to what
//! is sent. A payload is bounded by `limits.payload` of the manifest (1 MiB), a subject by 255
//! bytes.

mod answer;
mod draft;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, Result};
use crate::imports;

pub use answer::{Answer, Stored};
pub use draft::Draft;

/// Publishes text or bytes. Returns when the host has taken the message over: a broken connection
/// can still lose it. Use [`publish_stored`] for what must not be lost.
///
/// # Errors
/// Needs `[permissions] publish`: [`Denied`](CallError::Denied). [`Invalid`](CallError::Invalid)
/// for a subject with wildcards, spaces or control characters; [`TooLarge`](CallError::TooLarge),
/// [`RateLimited`](CallError::RateLimited), [`Unavailable`](CallError::Unavailable).
pub fn publish(subject: &str, payload: impl AsRef<[u8]>) -> Result<(), CallError> {
    imports::publish(subject, payload.as_ref(), &[])
}

/// Publishes JSON.
///
/// # Errors
/// As [`publish`], and [`Json`](CallError::Json) when `value` does not become JSON.
pub fn publish_json<T: Serialize + ?Sized>(subject: &str, value: &T) -> Result<(), CallError> {
    to(subject).json(value)?.publish()
}

/// Publishes text or bytes and waits until a JetStream stream has stored the message.
///
/// # Errors
/// As [`publish`]; [`NotFound`](CallError::NotFound) when no stream captures the subject,
/// [`Full`](CallError::Full) when the stream refuses more, [`Timeout`](CallError::Timeout).
pub fn publish_stored(subject: &str, payload: impl AsRef<[u8]>) -> Result<Stored, CallError> {
    imports::publish_stored(subject, payload.as_ref(), &[])
}

/// Publishes text or bytes and waits for one answer, at most as long as the current call may last.
///
/// # Errors
/// Needs `[permissions] request`. As [`publish`]; [`NoResponders`](CallError::NoResponders) when
/// nobody listens, [`Timeout`](CallError::Timeout), [`Exhausted`](CallError::Exhausted) when too
/// many requests of this plugin are in flight.
pub fn request(subject: &str, payload: impl AsRef<[u8]>) -> Result<Answer, CallError> {
    imports::request(subject, payload.as_ref(), &[], None)
}

/// Publishes JSON and waits for one answer in JSON.
///
/// # Errors
/// As [`request`], and [`Json`](CallError::Json) when `value` does not become JSON, or the answer
/// is not of the shape wanted.
pub fn request_json<T: DeserializeOwned>(
    subject: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<T, CallError> {
    to(subject).json(value)?.request()?.json()
}

/// Begins a message with headers, a content type, or a time limit.
pub fn to(subject: impl Into<String>) -> Draft {
    Draft::new(subject.into())
}

/// Subscribes this agent to `subject`, which may have wildcards. The messages arrive at
/// [`Agent::message`](crate::Agent::message). Returns a number for [`unsubscribe`]. The
/// subscription ends with the agent's instance: make it in [`Agent::start`](crate::Agent::start),
/// and it is back after a reload or a panic.
///
/// # Errors
/// Needs `[permissions] subscribe`, where one grant covers everything that the subject can match:
/// [`Denied`](CallError::Denied), [`Invalid`](CallError::Invalid),
/// [`RateLimited`](CallError::RateLimited), since it counts as a publish,
/// [`Exhausted`](CallError::Exhausted) beyond `limits.subscriptions` (1000),
/// [`Unavailable`](CallError::Unavailable).
pub fn subscribe(subject: &str) -> Result<u64, CallError> {
    imports::subscribe(subject, None)
}

/// Subscribes this agent as one of the queue group `queue`: each message reaches one of the group.
///
/// # Errors
/// As [`subscribe`].
pub fn subscribe_queue(subject: &str, queue: &str) -> Result<u64, CallError> {
    imports::subscribe(subject, Some(queue))
}

/// Ends a subscription of this agent. Messages that are already waiting are dropped.
///
/// # Errors
/// [`NotFound`](CallError::NotFound).
pub fn unsubscribe(subscription: u64) -> Result<(), CallError> {
    imports::unsubscribe(subscription)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::time::Duration;

    use super::*;
    use crate::mock::Bus;
    use crate::{Agent, Message, Reply, json};
    use serde_json::Value;

    #[test]
    fn what_is_published_can_be_seen() {
        let bus = Bus::new();
        bus.run(|| {
            publish("a.b", "text").unwrap();
            publish("a.c", [1, 2]).unwrap();
            publish_json("a.d", &[3]).unwrap();
            to("a.e").text("t").header("X-A", "1").publish().unwrap();
        });
        let published = bus.published();
        let seen: Vec<_> = published
            .iter()
            .map(|m| {
                (
                    m.subject.as_str(),
                    m.payload.as_slice(),
                    m.header("content-type"),
                )
            })
            .collect();
        let expected: [(&str, &[u8], Option<&str>); 4] = [
            ("a.b", b"text", None),
            ("a.c", &[1, 2], None),
            ("a.d", b"[3]", Some("application/json")),
            ("a.e", b"t", Some("text/plain")),
        ];
        assert_eq!(seen, expected);
        assert_eq!(published[3].header("X-A"), Some("1"));
    }

    #[test]
    fn a_stored_message_has_a_sequence_where_a_stream_captures_it() {
        let bus = Bus::new().with_stream("ORDERS", "orders.>");
        let stored = |sequence| Stored {
            stream: "ORDERS".into(),
            sequence,
            duplicate: false,
        };
        bus.run(|| {
            assert_eq!(publish_stored("orders.a", "1").unwrap(), stored(1));
            let draft = to("orders.b").json(&2).unwrap();
            assert_eq!(draft.publish_stored().unwrap(), stored(2));
            let error = publish_stored("other", "3").unwrap_err();
            assert_eq!(error.kind(), "not-found");
        });
        let stored: Vec<_> = bus.published().iter().map(|m| m.stream.clone()).collect();
        assert_eq!(stored, [Some("ORDERS".into()), Some("ORDERS".into())]);
    }

    #[test]
    fn requests_are_answered_or_nobody_listens() {
        let bus = Bus::new();
        bus.answer("tools.*", |request| match request.subject.as_str() {
            "tools.slow" => Err(CallError::Timeout),
            "tools.text" => Ok(Reply::from("plain").with_header("X-A", "1")),
            _ => Ok(json!({"got": request.json::<Value>()?}).into()),
        });
        bus.run(|| {
            let got: Value = request_json("tools.echo", &[1]).unwrap();
            assert_eq!(got, json!({"got": [1]}));
            let answer = request("tools.text", "x").unwrap();
            assert_eq!(answer.text(), Ok("plain"));
            assert_eq!(answer.header("x-a"), Some("1"));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert_eq!(answer.headers().len(), 2);
            assert!(answer.subject().starts_with("_INBOX."));
            assert_eq!(answer.json::<Value>().unwrap_err().kind(), "json");
            assert_eq!(request("tools.slow", ""), Err(CallError::Timeout));
            assert_eq!(request("nobody", ""), Err(CallError::NoResponders));
            let quick = to("tools.text").request_within(Duration::from_millis(5));
            assert!(quick.is_ok());
        });
        let requests = bus.requests();
        let subjects: Vec<_> = requests.iter().map(|m| m.subject.as_str()).collect();
        let expected = [
            "tools.echo",
            "tools.text",
            "tools.slow",
            "nobody",
            "tools.text",
        ];
        assert_eq!(subjects, expected);
        assert_eq!(requests[4].timeout, Some(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_no_json_is_not_sent() {
        let bus = Bus::new();
        bus.run(|| {
            let lists = std::collections::BTreeMap::from([(vec![1], 2)]);
            assert_eq!(publish_json("a", &lists).unwrap_err().kind(), "json");
        });
        assert!(bus.published().is_empty());
    }

    #[test]
    fn subscriptions_have_numbers_and_end() {
        struct Listens(u64);
        impl Agent for Listens {
            fn start() -> crate::Result<Self> {
                subscribe_queue("jobs.*", "workers")?;
                Ok(Self(subscribe("news.>")?))
            }
            fn message(&mut self, message: &Message) -> crate::Result<Reply> {
                assert_eq!(message.subscription(), Some(self.0));
                unsubscribe(self.0)?;
                assert_eq!(unsubscribe(self.0).unwrap_err().kind(), "not-found");
                Ok(Reply::none())
            }
        }
        let bus = Bus::new();
        let mut agent = bus.start::<Listens>().unwrap();
        let subscriptions = bus.subscriptions();
        assert_eq!(subscriptions.len(), 2);
        assert_eq!(subscriptions[0].subject, "jobs.*");
        assert_eq!(subscriptions[0].queue.as_deref(), Some("workers"));
        agent.message("news.today", "").unwrap();
        assert_eq!(bus.subscriptions().len(), 1);
    }
}
