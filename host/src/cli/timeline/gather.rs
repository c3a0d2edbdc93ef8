//! Search for the messages of an id.
//!
//! Searches by subject where subjects contain the id, otherwise by header in the newest messages of
//! each stream.

use std::collections::BTreeMap;

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;

use mistersmith_nats::trace::header;
use mistersmith_nats::{Connection, StoredMessage, StreamView, TransportError};

/// The streams, and the subjects in which they contain an id.
const STREAMS: [(&str, &[&str]); 4] = [
    (
        "COORDINATION",
        &["pipeline.{}.>", "coord.{}.>", "scatter.{}.>", "gather.{}.>"],
    ),
    ("RESULTS", &["agent.*.resp.{}"]),
    ("WORK_QUEUE", &[]),
    ("DLQ", &[]),
];
/// The stream whose entries name their messages by stream and sequence.
const AUDIT: &str = "AUDIT";
/// Number of concurrent requests for messages.
const AT_ONCE: usize = 16;
/// Most bytes of one stream that are searched: some streams hold large messages.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A message, and the stream that holds it.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Event {
    /// The stream.
    pub(in crate::cli) stream: &'static str,
    /// The message.
    pub(in crate::cli) message: StoredMessage,
}

/// The messages found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: Vec<Event>,
    /// Streams with more messages than were searched.
    pub(super) cut: Vec<&'static str>,
}

/// The messages of an id. At most `limit` per subject pattern, and of the `limit` newest of each
/// stream.
pub(super) async fn events(
    connection: &Connection,
    id: &str,
    limit: usize,
) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for (stream, patterns) in STREAMS {
        let view = connection.stream(stream)?;
        let mut messages = BTreeMap::new();
        let mut whole = true;
        for pattern in patterns {
            let pattern = pattern.replace("{}", id);
            whole &= named(&view, &pattern, limit, &mut messages).await?;
        }
        let wanted = |message: &StoredMessage| belongs(message, stream, id);
        whole &= newest(&view, limit, wanted, &mut messages).await?;
        found.add(stream, messages, whole);
    }
    let mut messages = BTreeMap::new();
    let about = found.places();
    let wanted = |entry: &StoredMessage| belongs(entry, AUDIT, id) || is_about(entry, &about);
    let whole = newest(&connection.stream(AUDIT)?, limit, wanted, &mut messages).await?;
    found.add(AUDIT, messages, whole);
    Ok(found)
}

impl Found {
    fn add(&mut self, stream: &'static str, messages: BTreeMap<u64, StoredMessage>, whole: bool) {
        let event = |message| Event { stream, message };
        self.events.extend(messages.into_values().map(event));
        if !whole {
            self.cut.push(stream);
        }
    }

    /// The dead letters, in the form in which entries of the audit trail name them.
    fn places(&self) -> Vec<u64> {
        let letters = self.events.iter().filter(|event| event.stream == "DLQ");
        letters.map(|event| event.message.sequence).collect()
    }
}

/// Adds the messages on a subject pattern; returns whether these were all.
async fn named(
    view: &StreamView,
    pattern: &str,
    limit: usize,
    messages: &mut BTreeMap<u64, StoredMessage>,
) -> anyhow::Result<bool> {
    let mut from = 1;
    for _ in 0..limit {
        let next = match view.next(from, pattern).await {
            Err(TransportError::NotFound(_)) | Ok(None) => return Ok(true),
            next => next.with_context(|| format!("cannot read {pattern:?}"))?,
        };
        if let Some(message) = next {
            from = message.sequence.saturating_add(1);
            messages.insert(message.sequence, message);
        }
    }
    Ok(false)
}

/// Adds the `wanted` ones of the newest messages; returns whether the stream holds no others.
async fn newest(
    view: &StreamView,
    limit: usize,
    wanted: impl Fn(&StoredMessage) -> bool,
    messages: &mut BTreeMap<u64, StoredMessage>,
) -> anyhow::Result<bool> {
    let facts = match view.facts().await {
        Err(TransportError::NotFound(_)) => return Ok(true),
        facts => facts.context("cannot read a stream")?,
    };
    if facts.messages == 0 {
        return Ok(true);
    }
    let count = u64::try_from(limit).unwrap_or(u64::MAX);
    if facts.messages <= count && facts.last.saturating_sub(facts.first) >= count {
        // A work queue holds few messages, far apart: read one after the other.
        return sparse(view, limit, wanted, messages).await;
    }
    let lowest = facts.first.max(facts.last.saturating_sub(count) + 1).max(1);
    let sequences = (lowest..=facts.last).rev();
    let mut read = futures_util::stream::iter(sequences)
        .map(|sequence| view.message(sequence))
        .buffered(AT_ONCE);
    let mut bytes = 0;
    while let Some(message) = read.next().await {
        let Some(message) = message.context("cannot read a message")? else {
            continue;
        };
        bytes += message.payload.len();
        if bytes > MOST_BYTES {
            return Ok(false);
        }
        if wanted(&message) {
            messages.insert(message.sequence, message);
        }
    }
    Ok(lowest <= facts.first)
}

async fn sparse(
    view: &StreamView,
    limit: usize,
    wanted: impl Fn(&StoredMessage) -> bool,
    messages: &mut BTreeMap<u64, StoredMessage>,
) -> anyhow::Result<bool> {
    let (mut from, mut bytes) = (1, 0);
    for _ in 0..limit {
        let next = view
            .next(from, ">")
            .await
            .context("cannot read a message")?;
        let Some(message) = next else {
            return Ok(true);
        };
        bytes += message.payload.len();
        if bytes > MOST_BYTES {
            return Ok(false);
        }
        from = message.sequence.saturating_add(1);
        if wanted(&message) {
            messages.insert(message.sequence, message);
        }
    }
    Ok(view.next(from, ">").await?.is_none())
}

/// Whether the headers of a message name an id.
fn belongs(message: &StoredMessage, stream: &str, id: &str) -> bool {
    let header = |name: &str| message.headers.get(name);
    let w3c = header(header::TRACEPARENT).and_then(|parent| parent.split('-').nth(1));
    match header(header::REQUEST_ID) {
        Some(request) if request == id => return true,
        // The id that a host gives to an item without one.
        None if stream == "WORK_QUEUE" && id == format!("wq-{}", message.sequence) => return true,
        _ => {}
    }
    header(header::TRACE_ID) == Some(id) || w3c == Some(id)
}

/// Whether an entry of the audit trail is about one of these dead letters.
fn is_about(entry: &StoredMessage, letters: &[u64]) -> bool {
    if letters.is_empty() {
        return false;
    }
    let body: Value = serde_json::from_slice(&entry.payload).unwrap_or_default();
    let number = body.get("dlq_sequence").and_then(Value::as_u64);
    number.is_some_and(|number| letters.contains(&number))
}
