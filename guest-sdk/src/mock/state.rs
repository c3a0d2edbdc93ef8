//! The state of a mock bus: its configuration, buckets, streams and records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::check::matches;
use super::record::{Call, LogLine, Responder, Sent, Subscribed};
use super::workflows::Workflows;
use crate::error::{CallError, Result};
use crate::kv::Entry;
use crate::messaging::Stored;

/// The state behind a bus.
pub(super) struct State {
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) config: Value,
    pub(super) remaining: Duration,
    pub(super) answers: Vec<(String, Responder)>,
    pub(super) denied: Vec<String>,
    pub(super) denied_keys: Vec<(String, String)>,
    pub(super) failures: Vec<(Call, CallError)>,
    pub(super) published: Vec<Sent>,
    pub(super) requests: Vec<Sent>,
    pub(super) subscriptions: Vec<Subscribed>,
    pub(super) logs: Vec<LogLine>,
    pub(super) workflows: Workflows,
    streams: Vec<Stream>,
    buckets: BTreeMap<String, Bucket>,
    agents: u32,
    deliveries: u64,
    last_subscription: u64,
}

struct Stream {
    name: String,
    pattern: String,
    last: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            plugin: "mock".to_owned(),
            version: "0.0.0".to_owned(),
            config: json!({}),
            remaining: Duration::from_secs(5),
            answers: Vec::new(),
            denied: Vec::new(),
            denied_keys: Vec::new(),
            failures: Vec::new(),
            published: Vec::new(),
            requests: Vec::new(),
            subscriptions: Vec::new(),
            logs: Vec::new(),
            workflows: Workflows::default(),
            streams: Vec::new(),
            buckets: BTreeMap::new(),
            agents: 0,
            deliveries: 0,
            last_subscription: 0,
        }
    }
}

impl State {
    pub(super) fn next_agent_id(&mut self) -> String {
        self.agents += 1;
        format!("{}-{:03}", self.plugin, self.agents)
    }

    pub(super) fn next_delivery(&mut self) -> u64 {
        self.deliveries += 1;
        self.deliveries
    }

    /// The failure that is due for this kind of call, if any.
    pub(super) fn failure(&mut self, call: Call) -> Result<(), CallError> {
        match self.failures.iter().position(|(kind, _)| *kind == call) {
            Some(index) => Err(self.failures.remove(index).1),
            None => Ok(()),
        }
    }

    pub(super) fn allowed(&self, subject: &str) -> Result<(), CallError> {
        if self.denied.iter().any(|pattern| matches(pattern, subject)) {
            return Err(CallError::Denied(format!(
                "the mock bus denies `{subject}`"
            )));
        }
        Ok(())
    }

    pub(super) fn key_allowed(&self, bucket: &str, key: &str) -> Result<(), CallError> {
        let denies = |(name, pattern): &(String, String)| name == bucket && matches(pattern, key);
        if self.denied_keys.iter().any(denies) {
            return Err(CallError::Denied(format!(
                "the mock bus denies `{key}` in `{bucket}`"
            )));
        }
        Ok(())
    }

    pub(super) fn add_stream(&mut self, name: &str, pattern: &str) {
        self.streams.push(Stream {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            last: 0,
        });
    }

    pub(super) fn store(&mut self, mut message: Sent) -> Result<Stored, CallError> {
        let captures = |stream: &&mut Stream| matches(&stream.pattern, &message.subject);
        let Some(stream) = self.streams.iter_mut().find(captures) else {
            return Err(CallError::NotFound(format!(
                "no stream captures `{}`; `Bus::with_stream` adds one",
                message.subject
            )));
        };
        stream.last += 1;
        let stored = Stored {
            stream: stream.name.clone(),
            sequence: stream.last,
            duplicate: false,
        };
        message.stream = Some(stored.stream.clone());
        self.published.push(message);
        Ok(stored)
    }

    pub(super) fn answer_to(&self, subject: &str) -> Option<Responder> {
        let answers = |(pattern, _): &&(String, Responder)| matches(pattern, subject);
        let (_, answer) = self.answers.iter().rev().find(answers)?;
        Some(Arc::clone(answer))
    }

    pub(super) fn subscribe(&mut self, agent: &str, subject: &str, queue: Option<&str>) -> u64 {
        self.last_subscription += 1;
        self.subscriptions.push(Subscribed {
            agent: agent.to_owned(),
            id: self.last_subscription,
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
        });
        self.last_subscription
    }

    /// The run-time subscription of this agent through which a message would come.
    pub(super) fn subscription_of(&self, agent: &str, subject: &str) -> Option<u64> {
        let hears = |s: &&Subscribed| s.agent == agent && matches(&s.subject, subject);
        self.subscriptions.iter().find(hears).map(|s| s.id)
    }

    pub(super) fn bucket(&mut self, name: &str) -> &mut Bucket {
        self.buckets.entry(name.to_owned()).or_default()
    }
}

/// A bucket; as in NATS a revision counts the writes of the bucket, deletions included.
#[derive(Default)]
pub(super) struct Bucket {
    last: u64,
    /// The newest write of each key: its revision, and none for a deletion.
    keys: BTreeMap<String, (u64, Option<Vec<u8>>)>,
}

impl Bucket {
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        let (revision, value) = self.keys.get(key)?;
        Some(Entry {
            value: value.clone()?,
            revision: *revision,
        })
    }

    pub(super) fn put(&mut self, key: &str, value: &[u8]) -> u64 {
        self.write(key, Some(value.to_vec()))
    }

    pub(super) fn create(&mut self, key: &str, value: &[u8]) -> Result<u64, CallError> {
        match self.get(key) {
            Some(_) => Err(CallError::Conflict),
            None => Ok(self.put(key, value)),
        }
    }

    pub(super) fn update(
        &mut self,
        key: &str,
        value: &[u8],
        revision: u64,
    ) -> Result<u64, CallError> {
        self.expect(key, revision)?;
        Ok(self.put(key, value))
    }

    pub(super) fn delete(&mut self, key: &str, revision: Option<u64>) -> Result<(), CallError> {
        if let Some(revision) = revision {
            self.expect(key, revision)?;
        }
        self.write(key, None);
        Ok(())
    }

    pub(super) fn keys(&self, pattern: &str) -> Vec<String> {
        self.keys
            .iter()
            .filter(|(key, (_, value))| value.is_some() && matches(pattern, key))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn expect(&self, key: &str, revision: u64) -> Result<(), CallError> {
        let newest = self.keys.get(key).map_or(0, |(newest, _)| *newest);
        if newest == revision {
            Ok(())
        } else {
            Err(CallError::Conflict)
        }
    }

    fn write(&mut self, key: &str, value: Option<Vec<u8>>) -> u64 {
        self.last += 1;
        self.keys.insert(key.to_owned(), (self.last, value));
        self.last
    }
}
