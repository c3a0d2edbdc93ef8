//! What was seen while the demonstration ran: results, dead letters, and the lives of the agents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

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
    /// Results per agent.
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
            ["agent", id, "resp", request] => self.result(id, request, message),
            ["dlq", ..] => self.dead_letter(message),
            ["agent", id, step] => self.step(id, step, message),
            _ => {}
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
        self.buried = true;
        self.note(format!(
            "{} gives an item up ({}: {}); it is stored as {}",
            header("X-DLQ-Agent-ID"),
            header("X-DLQ-Error-Kind"),
            header("X-DLQ-Error"),
            message.subject
        ));
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
