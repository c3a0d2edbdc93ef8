//! What is known about one agent: its state, its configuration, its numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::config::{PluginSpec, Schema};
use crate::limits;
use crate::names::{AgentId, PluginName};
use crate::runtime::{Counters, Health, Kind, SharedConfig};
use crate::status::{AgentSnapshot, AgentStatus};
use crate::transport::{Budget, Charge};

use super::disposition::Reason;
use super::election::{Office, Seat};
use super::micro::Executed;
use super::{delivery, lifecycle};

/// What is known about an agent: written by itself and by commands, read by everybody.
#[derive(Debug)]
pub struct AgentCell {
    host: String,
    host_id: String,
    since: Instant,
    /// The same moment on the clock of the wall, for people.
    started: String,
    paused: AtomicBool,
    /// It takes messages; it alone says so.
    takes: AtomicBool,
    /// Told when `paused` changed, or its leadership.
    pub turned: Notify,
    /// Its part in elections.
    pub seat: Seat,
    /// Bytes that wait in its mailbox and came as commands.
    commanded: Budget,
    handled: AtomicU64,
    failed: AtomicU64,
    busy_ns: AtomicU64,
    /// Since when a message is being handled, in nanoseconds since `since`; 0 when none is.
    busy_since: AtomicU64,
    /// What its instances did, all of them together.
    pub counters: Arc<Counters>,
    /// Its commands `execute`.
    pub executed: Executed,
    dirty: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    version: String,
    plugin: String,
    description: String,
    capabilities: Vec<String>,
    execute_schema: Option<Schema>,
    payload: usize,
    status: AgentStatus,
    load: f32,
    load_since: Instant,
    load_busy_ns: u64,
    last_error: Option<String>,
    health: Health,
    /// What the instance that runs reads as its configuration.
    config: Arc<SharedConfig>,
    /// `[config]` of the manifest, and what commands put over it.
    base: Map<String, Value>,
    overrides: Map<String, Value>,
}

impl AgentCell {
    /// The cell of an agent that was just created.
    pub fn new(host: &str, host_id: &str, plugin: &PluginName) -> Self {
        let now = Instant::now();
        let inner = Inner {
            version: String::new(),
            plugin: plugin.as_str().to_owned(),
            description: String::new(),
            capabilities: Vec::new(),
            execute_schema: None,
            payload: 0,
            status: AgentStatus::Error,
            load: 0.0,
            load_since: now,
            load_busy_ns: 0,
            last_error: None,
            health: Health {
                ok: true,
                detail: None,
                load: None,
            },
            config: Arc::new(SharedConfig::new(Map::new())),
            base: Map::new(),
            overrides: Map::new(),
        };
        Self {
            host: host.to_owned(),
            host_id: host_id.to_owned(),
            since: now,
            started: lifecycle::now(),
            paused: AtomicBool::new(false),
            takes: AtomicBool::new(false),
            turned: Notify::new(),
            seat: Seat::default(),
            commanded: Budget::new(limits::MAX_WAITING_BYTES),
            handled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            counters: Arc::default(),
            executed: Executed::default(),
            dirty: AtomicBool::new(true),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which version of the plugin runs now.
    pub fn runs(&self, spec: &PluginSpec) {
        let mut inner = self.inner();
        inner.version = spec.version.clone();
        inner.description.clone_from(&spec.description);
        inner.capabilities = spec.capabilities.clone();
        inner.execute_schema = spec.execute_schema.clone();
        inner.payload = spec.limits.payload;
        inner.base = spec.config.clone();
        drop(inner);
        self.mark_dirty();
    }

    /// The configuration of an instance of this version, which may never come to run.
    pub fn config_of(&self, spec: &PluginSpec) -> Arc<SharedConfig> {
        let config = override_config(&spec.config, &self.inner().overrides);
        Arc::new(SharedConfig::new(config))
    }

    /// Tells what the instance that runs from here on reads. What commands changed since it was made
    /// is in it.
    pub fn reads(&self, config: Arc<SharedConfig>) {
        let mut inner = self.inner();
        config.replace(override_config(&inner.base, &inner.overrides));
        inner.config = config;
    }

    /// Tells what commands put over the manifest's `[config]`.
    pub fn set_overrides(&self, overrides: Map<String, Value>) {
        let mut inner = self.inner();
        inner.overrides = overrides;
        let config = override_config(&inner.base, &inner.overrides);
        inner.config.replace(config);
    }

    /// There is something worth telling.
    pub fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether the payload of a `cmd.execute` may wake the plugin.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, payload: &[u8]) -> Result<(), Reason> {
        let inner = self.inner();
        let (most, schema) = (inner.payload, inner.execute_schema.clone());
        // The check of a large payload must not hold up those who ask how the agent is.
        drop(inner);
        delivery::admit(payload, most, schema.as_ref())
    }

    /// Room for a command of so many bytes until it is handled; none when too much waits already.
    pub fn weigh(&self, bytes: usize) -> Option<Charge> {
        self.commanded.take(delivery::waiting_bytes(bytes))
    }

    /// Lets the agent take messages, or keeps it from it. A message in hand is finished.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if paused {
            self.seat.vacate();
        }
        self.nudge();
    }

    /// Has the agent look at what changed.
    pub fn nudge(&self) {
        self.dirty.store(true, Ordering::Release);
        self.turned.notify_waiters();
        // The agent may be between its look and its wait.
        self.turned.notify_one();
    }

    /// Whether it may lead: it takes messages, and no command keeps it from them.
    pub fn stands(&self) -> bool {
        self.seat.stands() && !self.is_paused()
    }

    /// The agent leads from here on; false when it does not stand any more.
    pub fn lead(&self, office: Office) -> bool {
        let took = self.seat.take(office);
        // A pause sets its flag before it vacates: one of the two sees the other.
        if self.is_paused() {
            self.seat.vacate();
            return false;
        }
        took
    }

    /// The agent's own word on whether it takes messages.
    pub fn set_takes(&self, takes: bool) {
        if self.takes.swap(takes, Ordering::AcqRel) != takes {
            self.seat.stand(takes);
        }
    }

    /// A pause has come into force: the agent takes nothing new.
    pub fn has_let_go(&self) -> bool {
        !self.takes.load(Ordering::Acquire) || self.busy_since().is_some()
    }

    /// A command keeps it from taking messages.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// The agent's own word on how it is.
    pub fn set_status(&self, status: AgentStatus) {
        let mut inner = self.inner();
        if inner.status == status {
            return;
        }
        inner.status = status;
        drop(inner);
        self.mark_dirty();
    }

    /// A message is being handled.
    pub fn begin(&self, at: Instant) {
        let since = nanos(at.saturating_duration_since(self.since));
        self.busy_since.store(since.max(1), Ordering::Release);
        self.mark_dirty();
    }

    /// Since when a message is being handled.
    fn busy_since(&self) -> Option<Instant> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| self.since + Duration::from_nanos(since))
    }

    /// It was handled; `error` says why not well.
    pub fn end(&self, kind: &Kind, took: Duration, error: Option<String>) {
        if *kind == Kind::Execute {
            self.executed.add(took, error.as_deref());
        }
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.busy_ns.fetch_add(nanos(took), Ordering::Relaxed);
        self.busy_since.store(0, Ordering::Release);
        if let Some(error) = error {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.inner().last_error = Some(error);
        }
        self.mark_dirty();
    }

    /// Something other than a message failed.
    pub fn failed(&self, error: String) {
        self.inner().last_error = Some(error);
        self.dirty.store(true, Ordering::Release);
    }

    /// What the plugin said of its health.
    pub fn set_health(&self, health: Health) {
        self.inner().health = health;
    }

    /// What its plugin is for, in a line.
    pub fn description(&self) -> String {
        self.inner().description.clone()
    }

    /// When it was created, RFC 3339.
    pub fn started(&self) -> &str {
        &self.started
    }

    /// Whether something worth telling changed since the last call.
    pub fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// Ends a span of load measurement: the part of it in which the agent was busy.
    pub fn measure_load(&self) {
        let now = Instant::now();
        let mut inner = self.inner();
        let running = self
            .busy_since()
            .map_or(0, |since| nanos(now - since.max(inner.load_since)));
        let busy = self.busy_ns.load(Ordering::Relaxed);
        let span = nanos(now - inner.load_since).max(1);
        let part = (busy
            .saturating_sub(inner.load_busy_ns)
            .saturating_add(running)) as f64
            / span as f64;
        inner.load = part.min(1.0) as f32;
        inner.load_since = now;
        inner.load_busy_ns = busy;
    }

    /// What it said of itself last, or that it handles a message.
    pub fn status(&self) -> AgentStatus {
        self.status_of(&self.inner())
    }

    fn status_of(&self, inner: &Inner) -> AgentStatus {
        match inner.status {
            AgentStatus::Ready if self.busy_since().is_some() => AgentStatus::Busy,
            status => status,
        }
    }

    /// How the agent is now.
    pub fn snapshot(&self, id: &AgentId) -> AgentSnapshot {
        let inner = self.inner();
        let status = match self.status_of(&inner) {
            AgentStatus::Ready if self.is_paused() => AgentStatus::Paused,
            status => status,
        };
        AgentSnapshot {
            agent_id: id.as_str().to_owned(),
            plugin: inner.plugin.clone(),
            version: inner.version.clone(),
            host: self.host.clone(),
            host_id: self.host_id.clone(),
            status,
            capabilities: inner.capabilities.clone(),
            load: inner
                .health
                .load
                .map_or(inner.load, |load| load.clamp(0.0, 1.0)),
            uptime: self.since.elapsed(),
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            last_error: inner.last_error.clone(),
            leads: self
                .seat
                .office(Instant::now())
                .map(|o| (o.domain.to_string(), o.term)),
            healthy: inner.health.ok,
            detail: inner.health.detail.clone(),
            pull_errors: std::collections::BTreeMap::new(),
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Puts values over those at the top of a configuration.
fn override_config(base: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut config = base.clone();
    config.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    config
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_agent_is_busy_while_it_handles_a_message() {
        let cell = AgentCell::new("h1", "id", &"probe".parse().unwrap());
        let shown = || cell.snapshot(&"probe-001".parse().unwrap()).status;
        cell.set_status(AgentStatus::Ready);
        cell.pause(true);
        assert_eq!(shown(), AgentStatus::Paused);
        cell.begin(Instant::now());
        assert_eq!(
            (cell.status(), shown()),
            (AgentStatus::Busy, AgentStatus::Busy)
        );
        cell.end(&Kind::Execute, Duration::from_millis(1), None);
        assert_eq!(shown(), AgentStatus::Paused);
        cell.begin(Instant::now());
        cell.set_status(AgentStatus::Stopped);
        assert_eq!(shown(), AgentStatus::Stopped, "cut off in the middle");
    }
}
