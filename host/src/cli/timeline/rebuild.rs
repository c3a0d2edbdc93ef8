//! From messages to a timeline: pure.
//!
//! When an input was stored is known even when it is gone, because the id of each output that a host makes
//! says it: `<stream>:<sequence>:<stored at, ns>:<output>`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::gather::Event;
use crate::patterns::dead_letter as letter;
use crate::transport::trace::header;
use crate::transport::{CLAIM_SIZE, MESSAGE_ID, StoredMessage};

/// What happened, in order.
#[derive(Debug, Default)]
pub(in crate::cli) struct Timeline {
    lines: Vec<Line>,
    /// The traces that the messages belong to.
    pub(super) traces: BTreeSet<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::cli) struct Line {
    /// When, RFC 3339.
    pub(super) at: String,
    /// Milliseconds since the first line.
    pub(super) ms: f64,
    /// What, in a word or two.
    pub(super) what: &'static str,
    /// The subject, where it is known.
    pub(super) subject: Option<String>,
    /// The stream.
    pub(super) stream: String,
    /// The number in that stream.
    pub(super) sequence: u64,
    /// The agent that did it.
    pub(super) agent_id: Option<String>,
    /// How often the input was tried before.
    pub(super) retries: Option<u64>,
    /// The input that it came of, as `<stream>:<sequence>`.
    pub(super) input: Option<String>,
    /// From the storing of the input to the storing of this, in milliseconds.
    pub(super) took_ms: Option<f64>,
    /// Of that, until an agent began, where a stage has told.
    pub(super) waited_ms: Option<f64>,
    /// Bytes of its payload; none when it is gone.
    pub(super) bytes: Option<usize>,
    /// What else is to be told of it.
    pub(super) detail: String,
    #[serde(skip)]
    pub(super) ns: i128,
}

/// The input that an output came of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    stream: String,
    sequence: u64,
    stored_at: i128,
}

impl Timeline {
    /// Puts messages in order and connects them.
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
                let subject = message.headers.get(letter::SUBJECT).map(str::to_owned);
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

    /// No message was found.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What happened, in order of time.
    pub(in crate::cli) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn line(event: &Event, begun: &BTreeMap<Input, i128>) -> Line {
    let message = &event.message;
    let header = |name: &str| message.headers.get(name).map(str::to_owned);
    let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    let (what, detail) = told(event, &body);
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

/// How many tries were before the last of so many deliveries.
fn before(deliveries: &str) -> Option<String> {
    let deliveries: u64 = deliveries.parse().ok()?;
    Some(deliveries.saturating_sub(1).to_string())
}

/// An input that is gone, as its outputs remember it.
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

/// What a message means, and what it says.
fn told(event: &Event, body: &Value) -> (&'static str, String) {
    let message = &event.message;
    let text = |name: &str| match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(value) => value.to_string(),
    };
    let header = |name: &str| message.headers.get(name).unwrap_or_default();
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
            let told = [text("n"), text("stage"), text("kind"), text("error")];
            let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
            (what, told.join(" "))
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

/// Says of a message that a person has sent again what it was.
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

/// Which input a message came of, and as what, when a host has made it.
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
    // Microseconds are as fine as anybody reads.
    (ns / 1000) as f64 / 1000.0
}
