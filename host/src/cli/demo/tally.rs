//! What was seen while the demonstration ran: results, dead letters, and the lives of the agents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::feed::Ids;
use crate::transport::Message;

/// Everything that was seen, in the order in which it was.
#[derive(Debug)]
pub(super) struct Tally {
    begun: Instant,
    ids: Ids,
    /// Request ids whose result came.
    done: BTreeSet<String>,
    /// Pieces of the workflow that were done: who did what.
    pieces: BTreeSet<(String, String)>,
    /// The report, once it is there.
    pub(super) report: Option<Bytes>,
    /// Who leads: domain, agent, term.
    pub(super) leaders: Vec<(String, String, u64)>,
    /// Subject, agent and reason of every dead letter.
    pub(super) letters: Vec<[String; 3]>,
    /// Results, stages and answers per agent.
    pub(super) load: BTreeMap<String, u64>,
    /// Results and the sum of their places in line, per priority.
    pub(super) priorities: BTreeMap<String, Rank>,
    /// Labels of the scored paragraphs.
    pub(super) labels: BTreeMap<String, u64>,
    /// What happened, and when.
    pub(super) timeline: Vec<(Duration, String)>,
    /// The poison became a dead letter.
    pub(super) buried: bool,
    /// The newest totals that the word counters told.
    pub(super) totals: Option<Value>,
}

/// How soon the items of one priority were done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    /// How many there were.
    pub(super) items: u64,
    /// The sum of their places in the order of all results.
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

    /// How many different items have a result.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    /// How many pieces of the workflow are done.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Adds a line to the timeline.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.timeline.push((self.begun.elapsed(), text.into()));
    }

    /// Adds what happened before anybody listened.
    pub(super) fn note_earlier(&mut self, at: Duration, text: String) {
        self.timeline.push((at, text));
    }

    /// A message that the demonstration subscribed to.
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
            // The input of a first stage is what the coordinator publishes.
            ["pipeline", _, "01", _] => {}
            ["pipeline", ..] | ["gather", ..] => self.made(message),
            ["dlq", ..] => self.dead_letter(message),
            ["agent", id, step] => self.step(id, step, message),
            _ => {}
        }
    }

    /// The output of a stage or an answer, if it belongs to the workflow.
    fn made(&mut self, message: &Message) {
        let header = |name| message.headers.get(name).map(str::to_owned);
        if header("X-Request-ID").is_some_and(|request| self.ids.has(&request))
            && let Some(agent) = header("X-Agent-ID")
        {
            self.piece(&agent, message);
        }
    }

    /// At least once: the same piece may come twice.
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
        // At least once: the same result may come twice.
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
        let header = |name: &str| message.headers.get(name).unwrap_or_default().to_owned();
        if header("X-Request-ID") != self.ids.poison() {
            return;
        }
        // At least once: it may be buried twice, under one id.
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
