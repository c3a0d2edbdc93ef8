//! The ids that connect a message with what caused it, read from headers and written to them.
//!
//! Continues the sender's trace when there is one, in our headers or in W3C's. Never trusts an id that
//! could not stand in a subject.

use std::sync::Arc;

use rand::Rng as _;

use super::{Headers, TransportError};
use crate::names::{AgentId, ForeignId, Priority};

/// Longest `tracestate` that is passed on, in bytes, as W3C demands at least.
const MAX_STATE: usize = 512;

/// Names of the headers.
pub mod header {
    /// The agent that sends.
    pub const AGENT_ID: &str = "X-Agent-ID";
    /// The request that a message belongs to.
    pub const REQUEST_ID: &str = "X-Request-ID";
    /// The trace that a message belongs to.
    pub const TRACE_ID: &str = "X-Trace-ID";
    /// The span that sent it.
    pub const SPAN_ID: &str = "X-Span-ID";
    /// How urgent the work is that a message belongs to.
    pub const PRIORITY: &str = "X-Priority";
    /// How many milliseconds whoever asks still waits, counted from the arrival.
    pub const TIMEOUT: &str = "X-Timeout-Ms";
    /// W3C's form of trace and span.
    pub const TRACEPARENT: &str = "traceparent";
    /// What other tracing systems add to it.
    pub const TRACESTATE: &str = "tracestate";
}

/// Where a message stands in a trace. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits, or what the sender used.
    pub trace_id: Arc<str>,
    /// 16 hexadecimal digits: this span.
    pub span_id: Arc<str>,
    /// The request; a valid token of a subject.
    pub request_id: Arc<str>,
    /// How urgent the work is that this belongs to; none outside of work.
    pub priority: Option<Priority>,
    w3c: W3c,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct W3c {
    trace_id: Arc<str>,
    flags: u8,
    state: Option<Arc<str>>,
}

impl Trace {
    /// A new trace, for what the host begins by itself.
    pub fn begin(request_id: &str) -> Self {
        Self::received(&Headers::new(), request_id)
    }

    /// Continues the trace of a received message in a span of its own. Without a usable `X-Request-ID`
    /// the request is `fallback_request_id`.
    pub fn received(headers: &Headers, fallback_request_id: &str) -> Self {
        let parent = headers.get(header::TRACEPARENT).and_then(parse_traceparent);
        let sender = headers.get(header::TRACE_ID).filter(|id| is_id(id));
        let hex = sender.filter(|id| is_hex(id, 32));
        let (w3c_id, flags) = match (parent, hex) {
            (Some((id, flags)), _) => (id.into(), flags),
            (None, Some(id)) => (id.to_ascii_lowercase().into(), 1),
            (None, None) => (random_hex(16), 1),
        };
        let state = headers.get(header::TRACESTATE);
        Self {
            trace_id: sender.map_or_else(|| Arc::clone(&w3c_id), Arc::from),
            span_id: random_hex(8),
            request_id: headers
                .get(header::REQUEST_ID)
                .filter(|id| is_id(id))
                .unwrap_or(fallback_request_id)
                .into(),
            priority: headers
                .get(header::PRIORITY)
                .and_then(|text| text.parse().ok()),
            w3c: W3c {
                trace_id: w3c_id,
                flags,
                state: state
                    .filter(|state| parent.is_some() && state.len() <= MAX_STATE)
                    .map(Arc::from),
            },
        }
    }

    /// The same, for work of this priority.
    pub fn at(self, priority: Priority) -> Self {
        Self {
            priority: Some(priority),
            ..self
        }
    }

    /// The same trace and request in a new span.
    pub fn child(&self) -> Self {
        Self {
            span_id: random_hex(8),
            ..self.clone()
        }
    }

    /// Writes all trace headers, and `X-Agent-ID` when an agent sends, over whatever stood there.
    pub fn stamp(&self, agent: Option<&AgentId>, headers: &mut Headers) {
        let parent = format!(
            "00-{}-{}-{:02x}",
            self.w3c.trace_id, self.span_id, self.w3c.flags
        );
        let fresh = headers.is_empty();
        // Every value is hexadecimal or was checked: no insert can fail.
        let mut set = |name: &'static str, value: &str| -> Result<(), TransportError> {
            if fresh {
                headers.set_first(name, value);
                return Ok(());
            }
            headers.insert(name, value)
        };
        let _ = set(header::REQUEST_ID, &self.request_id);
        let _ = set(header::TRACE_ID, &self.trace_id);
        let _ = set(header::SPAN_ID, &self.span_id);
        let _ = set(header::TRACEPARENT, &parent);
        if let Some(state) = &self.w3c.state {
            let _ = set(header::TRACESTATE, state);
        }
        if let Some(priority) = self.priority {
            let _ = set(header::PRIORITY, priority.as_str());
        }
        if let Some(agent) = agent {
            let _ = set(header::AGENT_ID, agent.as_str());
        }
    }
}

/// Whether an id that others made may be used: one token of a subject, not too long.
fn is_id(text: &str) -> bool {
    ForeignId::check(text).is_ok()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && text.bytes().any(|b| b != b'0')
}

/// `00-<32 digits>-<16 digits>-<2 digits>`; newer versions may add fields behind.
fn parse_traceparent(text: &str) -> Option<(&str, u8)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |text: &str| !text.bytes().any(|b| b.is_ascii_uppercase());
    let good = version.len() == 2
        && version != "ff"
        && u8::from_str_radix(version, 16).is_ok()
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && lower(text)
        && flags.len() == 2
        && (version != "00" || parts.next().is_none());
    let flags = u8::from_str_radix(flags, 16).ok()?;
    good.then_some((trace, flags))
}

fn random_hex(bytes: usize) -> Arc<str> {
    let mut text = String::with_capacity(bytes * 2);
    let mut random = rand::rng();
    while text.len() < bytes * 2 {
        // Never all zeros, which W3C calls invalid.
        text.push_str(&format!("{:016x}", random.random_range(1..=u64::MAX)));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.insert(name, value).unwrap();
        }
        headers
    }

    #[test]
    fn a_trace_is_continued_in_both_forms() {
        let trace = Trace::received(
            &headers(&[("Traceparent", PARENT), ("tracestate", "a=b")]),
            "r",
        );
        assert_eq!(&*trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(&*trace.span_id, "00f067aa0ba902b7");
        let mut sent = Headers::new();
        trace.stamp(Some(&"echo-001".parse().unwrap()), &mut sent);
        assert_eq!(
            sent.get("X-Trace-ID"),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        assert_eq!(sent.get("X-Agent-ID"), Some("echo-001"));
        assert_eq!(sent.get("X-Request-ID"), Some("r"));
        assert_eq!(sent.get("tracestate"), Some("a=b"));
        let again = Trace::received(&sent, "other");
        assert_eq!(
            (&again.trace_id, &again.request_id),
            (&trace.trace_id, &trace.request_id)
        );
        assert_ne!(again.span_id, trace.span_id);
    }

    #[test]
    fn a_sender_may_use_ids_of_its_own() {
        let trace = Trace::received(
            &headers(&[("x-trace-id", "order_7"), ("X-Request-ID", "req-1")]),
            "r",
        );
        assert_eq!((&*trace.trace_id, &*trace.request_id), ("order_7", "req-1"));
        let mut sent = Headers::new();
        trace.child().stamp(None, &mut sent);
        let parent = sent.get("traceparent").unwrap();
        assert!(parse_traceparent(parent).is_some(), "{parent}");
        assert_eq!(sent.get("X-Trace-ID"), Some("order_7"));
    }

    #[test]
    fn ids_that_could_not_stand_in_a_subject_are_not_taken_over() {
        let long = "x".repeat(crate::limits::MAX_FOREIGN_ID + 1);
        for bad in ["", "a.b", "a b", "*", ">", "caf\u{e9}", &long] {
            let trace = Trace::received(
                &headers(&[("X-Request-ID", bad), ("X-Trace-ID", bad)]),
                "wq-7",
            );
            assert_eq!(&*trace.request_id, "wq-7", "{bad:?}");
            assert!(is_hex(&trace.trace_id, 32), "{bad:?}");
        }
        for bad in [
            "",
            "00-0-0-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &PARENT.to_uppercase(),
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad:?}");
        }
    }
}
