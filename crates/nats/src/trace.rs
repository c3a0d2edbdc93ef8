//! Request, trace and span ids: read from the headers of a message, and written to those of the
//! next.
//!
//! A trace of the sender is continued, from our headers or from W3C's. An id that could not stand
//! in a subject is never taken over.

mod lines;
mod numbers;
mod request;

use std::sync::Arc;

use super::Headers;
use lines::Lines;
use mistersmith_core::names::{AgentId, ForeignId, Priority};
use numbers::{hex, hex64, hex128, random_span, random_trace, text};

pub(super) use numbers::push_hex;

pub use request::RequestId;

/// Room for what is written of a trace, as a rule, in bytes.
const LINES: usize = 320;
/// Longest `tracestate` that is passed on, in bytes, as W3C demands at least.
const MAX_STATE: usize = 512;

/// Names of the headers.
pub mod header {
    pub use mistersmith_core::names::headers::{
        AGENT_ID, PRIORITY, REQUEST_ID, SPAN_ID, TIMEOUT, TRACE_ID, TRACEPARENT, TRACESTATE,
    };
}

/// W3C's flags of a trace that nobody records. A sender that records it sets a flag in
/// `traceparent`, and its flags are kept. Without need the flag is dear: a server since 2.11 makes
/// a map of all headers of each message that has it.
const NOT_SAMPLED: u8 = 0;

/// Where a message stands in a trace. Cheap to make and to clone: a trace that nobody sent
/// allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// How urgent the work is that this belongs to; none outside of work.
    pub priority: Option<Priority>,
    request: RequestId,
    w3c: u128,
    /// The sender's own id of the trace, where that is not W3C's id in lower case.
    name: Option<Arc<str>>,
    span: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

impl Trace {
    /// A new trace, for what the host begins by itself.
    pub fn begin(request: impl Into<RequestId>) -> Self {
        Self {
            priority: None,
            request: request.into(),
            w3c: random_trace(),
            name: None,
            span: random_span(),
            flags: NOT_SAMPLED,
            state: None,
        }
    }

    /// Continues the trace of a received message in a span of its own. Without a usable
    /// `X-Request-ID` the request is what `fallback` makes.
    pub fn received<R: Into<RequestId>>(headers: &Headers, fallback: impl FnOnce() -> R) -> Self {
        if headers.is_empty() {
            return Self::begin(fallback());
        }
        let found = Found::among(headers);
        let parent = found.parent.and_then(parse_traceparent);
        let sender = found.trace.filter(|id| is_id(id));
        let (w3c, flags) = match (parent, sender.and_then(parse_trace)) {
            (Some(parent), _) => parent,
            (None, Some(id)) => (id, NOT_SAMPLED),
            (None, None) => (random_trace(), NOT_SAMPLED),
        };
        let request = found.request.filter(|id| is_id(id));
        Self {
            priority: found.priority.and_then(|text| text.parse().ok()),
            request: request.map_or_else(|| fallback().into(), RequestId::from),
            w3c,
            name: sender
                .filter(|id| *id != text(hex(w3c.to_be_bytes()).as_flattened()))
                .map(Arc::from),
            span: random_span(),
            flags,
            state: found
                .state
                .filter(|state| parent.is_some() && state.len() <= MAX_STATE)
                .map(Arc::from),
        }
    }

    /// The trace: 32 hexadecimal digits, or what the sender used.
    pub fn trace_id(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => hex128(self.w3c),
        }
    }

    /// This span: 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex64(self.span)
    }

    /// The request; a valid token of a subject.
    pub fn request_id(&self) -> &str {
        self.request.as_str()
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
            span: random_span(),
            ..self.clone()
        }
    }

    /// Writes all trace headers, and `X-Agent-ID` when an agent sends, over whatever stood there.
    pub fn stamp(&self, agent: Option<&AgentId>, headers: &mut Headers) {
        if !headers.is_empty() {
            headers.forget(|name| self.writes(agent, name));
        }
        headers.reserve(LINES);
        headers.line(header::REQUEST_ID, |line| line.push_str(self.request_id()));
        let lines = Lines::of(self.w3c, self.span, self.flags);
        match &self.name {
            Some(name) => {
                headers.line(header::TRACE_ID, |line| line.push_str(name));
                headers.lines(lines.but_the_name());
            }
            None => headers.lines(lines.all()),
        }
        if let Some(state) = &self.state {
            headers.line(header::TRACESTATE, |line| line.push_str(state));
        }
        if let Some(priority) = self.priority {
            headers.line(header::PRIORITY, |line| line.push_str(priority.as_str()));
        }
        if let Some(agent) = agent {
            headers.line(header::AGENT_ID, |line| line.push_str(agent.as_str()));
        }
    }

    /// Whether [`Trace::stamp`] writes a header of this name.
    fn writes(&self, agent: Option<&AgentId>, name: &str) -> bool {
        let always = [
            header::REQUEST_ID,
            header::TRACE_ID,
            header::SPAN_ID,
            header::TRACEPARENT,
        ];
        let is = |ours: &str| ours.eq_ignore_ascii_case(name);
        always.into_iter().any(is)
            || (self.state.is_some() && is(header::TRACESTATE))
            || (self.priority.is_some() && is(header::PRIORITY))
            || (agent.is_some() && is(header::AGENT_ID))
    }

    /// The headers that a message begins with: the trace, and who sends. What is added to them
    /// afterwards must not have their names.
    pub fn stamped(&self, agent: Option<&AgentId>) -> Headers {
        let mut headers = Headers::new();
        self.stamp(agent, &mut headers);
        headers
    }

    /// The headers of an event or an answer that the host makes as JSON: as [`Trace::stamped`], and
    /// the content type.
    pub fn stamped_json(&self, agent: Option<&AgentId>) -> Headers {
        let mut headers = self.stamped(agent);
        headers.set_json();
        headers
    }
}

/// The trace headers of a message.
#[derive(Default)]
struct Found<'a> {
    request: Option<&'a str>,
    trace: Option<&'a str>,
    parent: Option<&'a str>,
    state: Option<&'a str>,
    priority: Option<&'a str>,
}

impl<'a> Found<'a> {
    /// The first value of each, in one look at all headers.
    fn among(headers: &'a Headers) -> Self {
        let mut found = Self::default();
        for (name, value) in headers.iter() {
            let is = |ours: &str| ours.eq_ignore_ascii_case(name);
            let place = if is(header::REQUEST_ID) {
                &mut found.request
            } else if is(header::TRACE_ID) {
                &mut found.trace
            } else if is(header::TRACEPARENT) {
                &mut found.parent
            } else if is(header::TRACESTATE) {
                &mut found.state
            } else if is(header::PRIORITY) {
                &mut found.priority
            } else {
                continue;
            };
            place.get_or_insert(value);
        }
        found
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
fn parse_traceparent(text: &str) -> Option<(u128, u8)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |text: &str| !text.bytes().any(|b| b.is_ascii_uppercase());
    let good = version.len() == 2
        && version != "ff"
        && u8::from_str_radix(version, 16).is_ok()
        && is_hex(span, 16)
        && lower(text)
        && flags.len() == 2
        && (version != "00" || parts.next().is_none());
    let trace = parse_trace(trace)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    good.then_some((trace, flags))
}

/// 32 hexadecimal digits in either case.
fn parse_trace(text: &str) -> Option<u128> {
    is_hex(text, 32).then(|| u128::from_str_radix(text, 16).ok())?
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
            || "r",
        );
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span_id(), "00f067aa0ba902b7");
        let mut sent = Headers::new();
        trace.stamp(Some(&"echo-001".parse().unwrap()), &mut sent);
        assert_eq!(
            sent.get("X-Trace-ID"),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        assert_eq!(sent.get("X-Agent-ID"), Some("echo-001"));
        assert_eq!(sent.get("X-Request-ID"), Some("r"));
        assert_eq!(sent.get("tracestate"), Some("a=b"));
        assert!(sent.get("traceparent").unwrap().ends_with("-01"));
        let again = Trace::received(&sent, || "other");
        assert_eq!(
            (again.trace_id(), again.request_id()),
            (trace.trace_id(), trace.request_id())
        );
        assert_ne!(again.span_id(), trace.span_id());
    }

    #[test]
    fn an_event_has_its_trace_its_agent_and_the_type_of_its_payload() {
        let headers = Trace::begin("r").stamped_json(Some(&"echo-001".parse().unwrap()));
        assert_eq!(headers.get("X-Request-ID"), Some("r"));
        assert_eq!(headers.get("X-Agent-ID"), Some("echo-001"));
        assert_eq!(headers.get("Content-Type"), Some("application/json"));
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn a_trace_that_a_host_begins_is_not_sampled() {
        let named = headers(&[("X-Trace-ID", "4bf92f3577b34da6a3ce929d0e0e4736")]);
        for trace in [
            Trace::begin("r"),
            Trace::received(&named, || "r"),
            Trace::received(&headers(&[("X-A", "1")]), || "r"),
        ] {
            let mut sent = Headers::new();
            trace.child().stamp(None, &mut sent);
            assert!(sent.get("traceparent").unwrap().ends_with("-00"));
        }
    }

    #[test]
    fn a_sender_may_use_ids_of_its_own() {
        let trace = Trace::received(
            &headers(&[("x-trace-id", "order_7"), ("X-Request-ID", "req-1")]),
            || "r",
        );
        assert_eq!(trace.trace_id(), "order_7");
        assert_eq!(trace.request_id(), "req-1");
        let mut sent = Headers::new();
        trace.child().stamp(None, &mut sent);
        let parent = sent.get("traceparent").unwrap();
        assert!(parse_traceparent(parent).is_some(), "{parent}");
        assert_eq!(sent.get("X-Trace-ID"), Some("order_7"));
    }

    #[test]
    fn ids_that_could_not_stand_in_a_subject_are_not_taken_over() {
        let long = "x".repeat(mistersmith_core::limits::MAX_FOREIGN_ID + 1);
        for bad in ["", "a.b", "a b", "*", ">", "caf\u{e9}", &long] {
            let trace = Trace::received(
                &headers(&[("X-Request-ID", bad), ("X-Trace-ID", bad)]),
                || "wq-7",
            );
            assert_eq!(trace.request_id(), "wq-7", "{bad:?}");
            assert!(is_hex(&trace.trace_id(), 32), "{bad:?}");
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
