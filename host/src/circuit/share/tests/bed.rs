//! Hosts that share a circuit in memory, and what a test does with them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::super::super::{CallResult, Pass};
use super::*;
use crate::kv_key::memory::{Bucket, MemoryKey};

pub(super) const KEY: &str = "nlp";
pub(super) const RESET: Duration = Duration::from_secs(30);
pub(super) const FAILURES: u32 = 3;
/// The time a change takes to reach a host that watches.
pub(super) const SOON: Duration = Duration::from_millis(20);

/// The states that were published, by all hosts.
pub(super) type Events = Arc<Mutex<Vec<String>>>;

pub(super) struct MemoryStore {
    key: MemoryKey,
    changes: watch::Receiver<u64>,
    events: Events,
}

impl CircuitStore for MemoryStore {
    type Key = MemoryKey;

    fn key(&self) -> &MemoryKey {
        &self.key
    }

    async fn listen(&mut self) {
        self.changes.borrow_and_update();
    }

    async fn changed(&mut self) {
        let _ = self.changes.changed().await;
        tokio::time::sleep(SOON / 2).await;
    }

    async fn publish(&self, subject: &str, _body: String) {
        self.events.lock().push(subject.to_owned());
    }
}

pub(super) struct Bed {
    pub(super) bucket: Bucket,
    pub(super) events: Events,
}

pub(super) struct Host {
    pub(super) gate: Arc<Gate>,
    pub(super) key: MemoryKey,
    pub(super) task: JoinHandle<()>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            bucket: Bucket::new(Duration::MAX),
            events: Events::default(),
        }
    }

    pub(super) async fn host(&self, name: &str) -> Host {
        let spec = CircuitSpec {
            service: KEY.parse().unwrap(),
            failures: FAILURES,
            reset: RESET,
        };
        let gate = Arc::new(Gate::default());
        gate.configure(Some(spec.clone()));
        let key = self.bucket.key(KEY);
        let store = MemoryStore {
            key: key.clone(),
            changes: self.bucket.changes(),
            events: self.events.clone(),
        };
        let takers = Takers {
            gate: gate.clone(),
            exist: Box::new(|| true),
        };
        let shared = Shared::new(spec, takers, store, name.to_owned());
        let (looked, has_looked) = oneshot::channel();
        let task = tokio::spawn(shared.run(looked, CancellationToken::new()));
        let _ = has_looked.await;
        Host { gate, key, task }
    }

    pub(super) async fn hosts(&self, count: usize) -> Vec<Host> {
        let mut hosts = Vec::new();
        for number in 0..count {
            hosts.push(self.host(&format!("h{number}")).await);
        }
        hosts
    }

    pub(super) fn state(&self) -> Option<CircuitState> {
        let entry = self.bucket.newest(KEY)?;
        Record::read(&entry.value).map(|record| record.state)
    }

    /// How often a change to this state was published.
    pub(super) fn count(&self, state: &str) -> usize {
        let subject = format!("circuit.{KEY}.{state}");
        self.events
            .lock()
            .iter()
            .filter(|on| **on == subject)
            .count()
    }
}

impl Host {
    pub(super) fn state(&self) -> CircuitState {
        self.gate.state_of(KEY).unwrap()
    }

    pub(super) fn lets_through(&self) -> bool {
        self.gate.lets_through()
    }

    pub(super) fn begin(&self) -> Pass {
        self.gate.begin().unwrap()
    }

    /// Runs calls with this outcome, one after another.
    pub(super) fn calls(&self, count: u32, call_result: CallResult) {
        for _ in 0..count {
            self.begin().ended("a-001", call_result, Some("it broke"));
        }
    }

    pub(super) fn opens(&self) {
        self.calls(FAILURES, CallResult::Failed);
        assert!(!self.lets_through(), "at once");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Opens the circuit at the first host; returns the host that gets the probe after `reset`.
pub(super) async fn half_open(hosts: &[Host]) -> usize {
    hosts[0].opens();
    sleep(RESET - SOON).await;
    probing(hosts, SOON * 4).await
}

/// Waits until one of the hosts may probe, and returns it.
pub(super) async fn probing(hosts: &[Host], within: Duration) -> usize {
    let begun = clock();
    loop {
        let let_through = (0..hosts.len()).filter(|at| hosts[*at].lets_through());
        let let_through: Vec<usize> = let_through.collect();
        assert!(let_through.len() < 2, "two probes: {let_through:?}");
        if let Some(one) = let_through.first() {
            return *one;
        }
        assert!(clock() - begun <= within, "no probe within {within:?}");
        sleep(SOON / 2).await;
    }
}
