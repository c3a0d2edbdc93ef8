//! Rebuilds a timeline from messages: pure.
//!
//! The storage time of an input is known even when the input is gone, because the id of each output
//! that a host makes contains it: `<stream>:<sequence>:<stored at, ns>:<output>`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::gather::Event;
use crate::settle::dead_letter as letter;
use mistersmith_nats::trace::header;
use mistersmith_nats::{CLAIM_SIZE, MESSAGE_ID, StoredMessage};

/// The events, in order of time.
#[derive(Debug, Default)]
pub(in crate::cli) struct Timeline {
    lines: Vec<Line>,
    /// The traces of the messages.
    pub(super) traces: BTreeSet<String>,
}

/// One event of a timeline.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::cli) struct Line {
    /// Its time, RFC 3339.
    pub(super) at: String,
    /// Milliseconds since the first line.
    pub(super) ms: f64,
    /// Its kind, in a word or two.
    pub(super) what: &'static str,
    /// Its subject, where known.
    pub(super) subject: Option<String>,
    /// The stream that holds its message.
    pub(super) stream: String,
    /// The sequence in that stream.
    pub(super) sequence: u64,
    /// The agent that caused it.
    pub(super) agent_id: Option<String>,
    /// Number of earlier attempts at the input.
    pub(super) retries: Option<u64>,
    /// The input that it resulted from, as `<stream>:<sequence>`.
    pub(super) input: Option<String>,
    /// Milliseconds from the storing of the input to the storing of this message.
    pub(super) took_ms: Option<f64>,
    /// The part of it until an agent began, where a stage reported that.
    pub(super) waited_ms: Option<f64>,
    /// Bytes of its payload; none when the message is gone.
    pub(super) bytes: Option<usize>,
    /// Further details.
    pub(super) detail: String,
    #[serde(skip)]
    pub(super) ns: i128,
}

/// The input that an output resulted from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    stream: String,
    sequence: u64,
    stored_at: i128,
}

impl Timeline {
    /// Sorts messages by time and connects outputs with their inputs.
    pub(in crate::cli) fn of(events: &[Event]) -> Timeline {
        let present: BTreeSet<(&str, u64)> = events
            .iter()
            .map(|event| (event.stream, event.message.sequence))
            .collect();
        let mut begun: BTreeMap<Input, i128> = BTreeMap::new();
        let mut gone: BTreeMap<Input, Option<String>> = BTreeMap::new();
        for Event { message, .. } in events {
            let Some((input, output)) = origin(message) else {
                continue;
            };
            if output.ends_with(".ready") {
                begun.insert(input.clone(), nanos(&message.stored_at));
            }
            if !present.contains(&(input.stream.as_str(), input.sequence)) {
                let subject = message.headers.text(letter::SUBJECT);
                let subject = subject.map(Cow::into_owned);
                let known = gone.entry(input).or_default();
                *known = known.take().or(subject);
            }
        }
        let mut lines: Vec<Line> = events.iter().map(|event| line(event, &begun)).collect();
        lines.extend(
            gone.into_iter()
                .map(|(input, subject)| missing(&input, subject)),
        );
        lines.sort_by(|a, b| (a.ns, &a.stream, a.sequence).cmp(&(b.ns, &b.stream, b.sequence)));
        let first = lines.first().map_or(0, |line| line.ns);
        for line in &mut lines {
            line.ms = millis(line.ns - first);
        }
        let trace = |event: &Event| {
            event
                .message
                .headers
                .get(header::TRACE_ID)
                .map(str::to_owned)
        };
        Timeline {
            lines,
            traces: events.iter().filter_map(trace).collect(),
        }
    }

    /// Whether no message was found.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The events, in order of time.
    pub(in crate::cli) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn line(event: &Event, begun: &BTreeMap<Input, i128>) -> Line {
    let message = &event.message;
    let header = |name: &str| message.headers.get(name).map(str::to_owned);
    let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    let (what, detail) = describe(event, &body);
    let ns = nanos(&message.stored_at);
    let input = origin(message).map(|(input, _)| input);
    let agent = || {
        body.get("agent_id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let claimed = header(CLAIM_SIZE).and_then(|size| size.parse().ok());
    let since = |start: i128| Some(millis(ns - start));
    Line {
        at: message.stored_at.clone(),
        what,
        subject: Some(message.subject.clone()),
        stream: event.stream.to_owned(),
        sequence: message.sequence,
        agent_id: header(letter::AGENT)
            .or_else(|| header(header::AGENT_ID))
            .or_else(agent),
        retries: header("X-Retry-Count")
            .or_else(|| header(letter::DELIVERIES).and_then(|text| before(&text)))
            .and_then(|text| text.parse().ok()),
        took_ms: input.as_ref().and_then(|input| since(input.stored_at)),
        waited_ms: input.as_ref().and_then(|input| {
            let start = begun.get(input)?;
            Some(millis(start - input.stored_at))
        }),
        input: input.map(|input| format!("{}:{}", input.stream, input.sequence)),
        bytes: Some(claimed.unwrap_or(message.payload.len())),
        detail,
        ns,
        ..Line::default()
    }
}

/// Number of attempts before the last of `deliveries`.
fn before(deliveries: &str) -> Option<String> {
    let deliveries: u64 = deliveries.parse().ok()?;
    Some(deliveries.saturating_sub(1).to_string())
}

/// The line of an input that is gone, from the ids of its outputs.
fn missing(input: &Input, subject: Option<String>) -> Line {
    let at = OffsetDateTime::from_unix_timestamp_nanos(input.stored_at).ok();
    Line {
        at: at
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_default(),
        what: "stored",
        subject,
        stream: input.stream.clone(),
        sequence: input.sequence,
        detail: "gone since".to_owned(),
        ns: input.stored_at,
        ..Line::default()
    }
}

/// The kind of an event, and its details.
fn describe(event: &Event, body: &Value) -> (&'static str, String) {
    let message = &event.message;
    let text = |name: &str| match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(value) => value.to_string(),
    };
    let header = |name: &str| message.headers.text(name).unwrap_or_default();
    let tokens: Vec<&str> = message.subject.split('.').collect();
    match (event.stream, tokens.as_slice()) {
        ("WORK_QUEUE", _) => ("waits", replayed(message)),
        ("RESULTS", _) => ("result", String::new()),
        ("DLQ", _) => {
            let (kind, error) = (header(letter::KIND), header(letter::ERROR));
            ("dead letter", format!("{kind}: {error}"))
        }
        ("AUDIT", _) => ("audit", text("kind")),
        (_, ["pipeline", _, "complete"]) => ("workflow complete", String::new()),
        (_, ["pipeline", _, number, stage @ ..]) => {
            ("stage", format!("{number} {}", stage.join(".")))
        }
        (_, ["coord", _, "cancel"]) => ("workflow cancelled", String::new()),
        (_, ["coord", _, event]) => {
            let what = match *event {
                "ready" => "stage begun",
                "complete" => "stage complete",
                "error" => "stage failed",
                _ => return ("event", (*event).to_owned()),
            };
            let parts = [text("n"), text("stage"), text("kind"), text("error")];
            let parts: Vec<String> = parts.into_iter().filter(|text| !text.is_empty()).collect();
            (what, parts.join(" "))
        }
        (_, ["scatter", ..]) => ("task", String::new()),
        (_, ["gather", _, "complete"]) => {
            let number = |name: &str| body.get(name).and_then(Value::as_array).map_or(0, Vec::len);
            let (results, missing) = (number("results"), number("missing"));
            let status = text("status");
            (
                "gathered",
                format!("{status}: {results} results, {missing} missing"),
            )
        }
        (_, ["gather", ..]) => ("answer", String::new()),
        _ => ("stored", String::new()),
    }
}

/// Describes the original of a message that a person sent again.
fn replayed(message: &StoredMessage) -> String {
    let id = message.headers.get(MESSAGE_ID).unwrap_or_default();
    let letter = id
        .strip_prefix("DLQ:")
        .and_then(|rest| rest.split(':').next());
    letter
        .filter(|_| id.ends_with(":replay"))
        .map_or_else(String::new, |number| {
            format!("dead letter {number}, sent again")
        })
}

/// The input of a message made by a host, and the name of the output.
fn origin(message: &StoredMessage) -> Option<(Input, &str)> {
    let id = message.headers.get(MESSAGE_ID)?;
    let mut parts = id.splitn(4, ':');
    let input = Input {
        stream: parts.next()?.to_owned(),
        sequence: parts.next()?.parse().ok()?,
        // Smaller than the type, so that no difference of two overflows.
        stored_at: parts.next()?.parse::<u64>().ok()?.into(),
    };
    let known = ["WORK_QUEUE", "COORDINATION"].contains(&input.stream.as_str());
    parts.next().filter(|_| known).map(|output| (input, output))
}

fn nanos(at: &str) -> i128 {
    OffsetDateTime::parse(at, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp_nanos)
}

fn millis(ns: i128) -> f64 {
    // Microseconds are precise enough.
    (ns / 1000) as f64 / 1000.0
}
