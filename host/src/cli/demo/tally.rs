//! The tally of a demonstration: results, dead letters, and the lifecycle events of the agents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::feed::Ids;
use mistersmith_nats::Message;

/// All observations, in the order of arrival.
#[derive(Debug)]
pub(super) struct Tally {
    begun: Instant,
    ids: Ids,
    /// Request ids with a result.
    done: BTreeSet<String>,
    /// Finished pieces of the workflow: agent and piece.
    pieces: BTreeSet<(String, String)>,
    /// The report, once it has arrived.
    pub(super) report: Option<Bytes>,
    /// Leaders: domain, agent, term.
    pub(super) leaders: Vec<(String, String, u64)>,
    /// Subject, agent and reason of every dead letter.
    pub(super) letters: Vec<[String; 3]>,
    /// Results, stages and answers per agent.
    pub(super) load: BTreeMap<String, u64>,
    /// Number of results and the sum of their positions, per priority.
    pub(super) priorities: BTreeMap<String, Rank>,
    /// Labels of the scored paragraphs.
    pub(super) labels: BTreeMap<String, u64>,
    /// Events with their time.
    pub(super) timeline: Vec<(Duration, String)>,
    /// Whether the poison item became a dead letter.
    pub(super) buried: bool,
    /// The newest totals published by the word counters.
    pub(super) totals: Option<Value>,
}

/// How soon the items of one priority were finished.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    /// Number of items.
    pub(super) items: u64,
    /// The sum of their positions in the order of all results.
    pub(super) places: u64,
}

impl Tally {
    pub(super) fn new(begun: Instant, ids: Ids) -> Self {
        Self {
            begun,
            ids,
            done: BTreeSet::new(),
            pieces: BTreeSet::new(),
            report: None,
            leaders: Vec::new(),
            letters: Vec::new(),
            load: BTreeMap::new(),
            priorities: BTreeMap::new(),
            labels: BTreeMap::new(),
            timeline: Vec::new(),
            buried: false,
            totals: None,
        }
    }

    /// Number of different items with a result.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    /// Number of finished pieces of the workflow.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Adds a line to the timeline.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.timeline.push((self.begun.elapsed(), text.into()));
    }

    /// Adds an event that happened before the subscriptions existed.
    pub(super) fn note_earlier(&mut self, at: Duration, text: String) {
        self.timeline.push((at, text));
    }

    /// Counts a message of the demonstration's subscriptions.
    pub(super) fn hear(&mut self, message: &Message) {
        let tokens: Vec<&str> = message.subject.split('.').collect();
        match tokens.as_slice() {
            ["agent", id, "resp", request] if *request == self.ids.report() => {
                self.piece(id, message);
                if id.starts_with("coordinator-") {
                    self.report = Some(message.payload.clone());
                }
            }
            ["agent", id, "resp", request] => self.result(id, request, message),
            // The coordinator publishes the input of a first stage.
            ["pipeline", _, "01", _] => {}
            ["pipeline", ..] | ["gather", ..] => self.made(message),
            ["dlq", ..] => self.dead_letter(message),
            ["agent", id, step] => self.step(id, step, message),
            _ => {}
        }
    }

    /// Counts the output of a stage or an answer, if it belongs to the workflow.
    fn made(&mut self, message: &Message) {
        let header = |name| message.headers.get(name).map(str::to_owned);
        if header("X-Request-ID").is_some_and(|request| self.ids.has(&request))
            && let Some(agent) = header("X-Agent-ID")
        {
            self.piece(&agent, message);
        }
    }

    /// At least once: the same piece may arrive twice.
    fn piece(&mut self, agent: &str, message: &Message) {
        let id = message.headers.get("Nats-Msg-Id").map(str::to_owned);
        let piece = (
            agent.to_owned(),
            id.unwrap_or_else(|| message.subject.to_string()),
        );
        if self.pieces.insert(piece) {
            *self.load.entry(agent.to_owned()).or_default() += 1;
        }
    }

    fn result(&mut self, agent: &str, request: &str, message: &Message) {
        // At least once: the same result may arrive twice.
        if !self.ids.has(request) || !self.done.insert(request.to_owned()) {
            return;
        }
        let place = self.done.len() as u64;
        if place == 1 {
            self.note(format!("{agent} returns the first result"));
        } else if place.is_multiple_of(500) {
            self.note(format!("{place} results"));
        }
        *self.load.entry(agent.to_owned()).or_default() += 1;
        let priority = message.headers.get("X-Priority").unwrap_or("?").to_owned();
        let rank = self.priorities.entry(priority).or_default();
        rank.items += 1;
        rank.places += place;
        let Ok(body) = serde_json::from_slice::<Value>(&message.payload) else {
            return;
        };
        if let Some(label) = body.get("label").and_then(Value::as_str) {
            *self.labels.entry(label.to_owned()).or_default() += 1;
        }
        if let Some(totals) = body.get("totals") {
            let texts = |totals: &Value| totals.get("texts").and_then(Value::as_u64).unwrap_or(0);
            if self
                .totals
                .as_ref()
                .is_none_or(|old| texts(old) < texts(totals))
            {
                self.totals = Some(totals.clone());
            }
        }
    }

    fn dead_letter(&mut self, message: &Message) {
        let header = |name: &str| message.headers.text(name).unwrap_or_default().into_owned();
        if header("X-Request-ID") != self.ids.poison() {
            return;
        }
        // At least once: it may become a dead letter twice, under one id.
        if std::mem::replace(&mut self.buried, true) {
            return;
        }
        let agent = header("X-DLQ-Agent-ID");
        let reason = format!("{}: {}", header("X-DLQ-Error-Kind"), header("X-DLQ-Error"));
        self.note(format!("{agent} gives an item up"));
        self.letters
            .push([message.subject.to_string(), agent, reason]);
    }

    fn step(&mut self, agent: &str, step: &str, message: &Message) {
        let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let text = |key: &str| {
            body.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match step {
            "ready" => self.note(format!("{agent} is ready")),
            "stopped" => self.note(format!("{agent} has stopped ({})", text("reason"))),
            "error" => self.note(format!("{agent} failed: {}", text("message"))),
            _ => {}
        }
    }
}
