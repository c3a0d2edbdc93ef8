//! The state of one agent: status, configuration, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::status::{AgentSnapshot, AgentStatus};
use mistersmith_core::byte_budget::{ByteBudget, ByteCharge};
use mistersmith_core::config::{PluginSpec, Schema};
use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_runtime::{ConfigValues, Counters, Fence, Health, Kind, SharedConfig};

use super::candidate::{CandidateState, Leadership};
use super::executed::Executed;
use super::overrides::Overrides;
use crate::clock::now as timestamp;
use crate::delivery::{self, Reason};

/// The state of an agent, written by the agent and by commands, read by health checks and
/// heartbeats.
#[derive(Debug)]
pub struct AgentState {
    host: String,
    host_id: String,
    since: Instant,
    /// The moment of `since` in wall-clock time.
    started: String,
    paused: AtomicBool,
    /// Whether the agent takes messages; only the agent writes it.
    takes: AtomicBool,
    /// Notified when `paused` or the leadership changes.
    pub changed: Notify,
    /// Serialises read-modify-write changes of the agent's key in AGENT_CONFIG.
    pub change: tokio::sync::Mutex<()>,
    /// Its election state.
    pub candidate: CandidateState,
    /// Whether it still has the right to act under its id.
    pub fence: Fence,
    /// Bytes of commands that wait in its mailbox.
    commanded: ByteBudget,
    handled: AtomicU64,
    failed: AtomicU64,
    busy_ns: AtomicU64,
    /// When the current message began, in nanoseconds after `since`; 0 when idle.
    busy_since: AtomicU64,
    /// Counters of all its instances together.
    pub counters: Arc<Counters>,
    /// Statistics of its `execute` commands.
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
    /// Subjects that the server does not let its plugin subscribe to.
    denied: Vec<String>,
    /// The configuration that the running instance reads.
    config: Arc<SharedConfig>,
    /// `[config]` of the manifest, and the overrides set by commands.
    base: Arc<ConfigValues>,
    overrides: Arc<ConfigValues>,
}

impl AgentState {
    /// The state of a newly created agent.
    pub fn new(host: &str, host_id: &str, plugin: &PluginName, fence: Fence) -> Self {
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
            denied: Vec::new(),
            config: Arc::default(),
            base: Arc::default(),
            overrides: Arc::default(),
        };
        Self {
            host: host.to_owned(),
            host_id: host_id.to_owned(),
            since: now,
            started: timestamp(),
            paused: AtomicBool::new(false),
            takes: AtomicBool::new(false),
            changed: Notify::new(),
            change: tokio::sync::Mutex::default(),
            candidate: CandidateState::default(),
            fence,
            commanded: ByteBudget::new(limits::MAX_WAITING_BYTES),
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

    fn inner(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Sets the version of the plugin that runs now.
    pub fn set_running(&self, spec: &PluginSpec) {
        let mut inner = self.inner();
        inner.version = spec.version.clone();
        inner.description.clone_from(&spec.description);
        inner.capabilities = spec.capabilities.clone();
        inner.execute_schema = spec.execute_schema.clone();
        inner.payload = spec.limits.payload;
        inner.base = ConfigValues::of(&spec.config);
        drop(inner);
        self.mark_dirty();
    }

    /// The configuration for an instance of this version, which may fail to start.
    pub fn config_of(&self, spec: &PluginSpec) -> Arc<SharedConfig> {
        let config = ConfigValues::of(&spec.config).under(&self.inner().overrides);
        Arc::new(SharedConfig::new(config))
    }

    /// Sets the configuration that the running instance reads, and applies overrides that changed
    /// since it was created.
    pub fn set_config(&self, config: Arc<SharedConfig>) {
        let mut inner = self.inner();
        config.replace(inner.base.under(&inner.overrides));
        inner.config = config;
    }

    /// The overrides set by commands.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            paused: self.is_paused(),
            config: self.inner().overrides.values(),
        }
    }

    /// Replaces the overrides of the manifest's `[config]`.
    pub fn set_overrides(&self, overrides: Arc<ConfigValues>) {
        let mut inner = self.inner();
        inner.overrides = overrides;
        inner.config.replace(inner.base.under(&inner.overrides));
    }

    /// Marks the state as changed, so that it is published.
    pub fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Checks the payload of a `cmd.execute`.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn admit(&self, payload: &[u8]) -> Result<(), Reason> {
        let inner = self.inner();
        let (most, schema) = (inner.payload, inner.execute_schema.clone());
        // Unlocked: validating a large payload must not delay status readers.
        drop(inner);
        delivery::admit(payload, most, schema.as_ref())
    }

    /// Charges a command of `bytes` bytes until it is handled; none when the budget is used up.
    pub fn weigh(&self, bytes: usize) -> Option<ByteCharge> {
        self.commanded.take(delivery::waiting_bytes(bytes))
    }

    /// Pauses or resumes the agent. The current message is finished.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if paused {
            self.candidate.step_down();
        }
        self.nudge();
    }

    /// Makes the agent re-evaluate its conditions.
    pub fn nudge(&self) {
        self.dirty.store(true, Ordering::Release);
        self.changed.notify_waiters();
        // Stores a permit, because the agent may be between its check and its wait.
        self.changed.notify_one();
    }

    /// Whether the agent may lead: it takes messages and is not paused.
    pub fn stands(&self) -> bool {
        self.candidate.stands() && !self.is_paused()
    }

    /// Makes the agent leader; false when it is no longer a candidate.
    pub fn lead(&self, leadership: Leadership) -> bool {
        let took = self.candidate.take(leadership);
        // A pause sets its flag before it ends the leadership, so one of the two sees the other.
        if self.is_paused() {
            self.candidate.step_down();
            return false;
        }
        took
    }

    /// Sets whether the agent takes messages; called by the agent only.
    pub fn set_takes(&self, takes: bool) {
        if self.takes.swap(takes, Ordering::AcqRel) != takes {
            self.candidate.set_stands(takes);
        }
    }

    /// Whether a pause is in force: the agent takes nothing new.
    pub fn pause_in_force(&self) -> bool {
        !self.takes.load(Ordering::Acquire) || self.busy_since().is_some()
    }

    /// Whether a command has paused the agent.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Sets the agent's status; called by the agent only.
    pub fn set_status(&self, status: AgentStatus) {
        let mut inner = self.inner();
        if inner.status == status {
            return;
        }
        inner.status = status;
        drop(inner);
        self.mark_dirty();
    }

    /// Records that a message begins.
    pub fn begin(&self, at: Instant) {
        let since = nanos(at.saturating_duration_since(self.since));
        self.busy_since.store(since.max(1), Ordering::Release);
        self.mark_dirty();
    }

    /// When the current message began.
    fn busy_since(&self) -> Option<Instant> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| self.since + Duration::from_nanos(since))
    }

    /// Records the end of a message; `error` is its failure.
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

    /// Records a failure outside a message.
    pub fn failed(&self, error: String) {
        self.inner().last_error = Some(error);
        self.dirty.store(true, Ordering::Release);
    }

    /// Sets the result of the plugin's health function.
    pub fn set_health(&self, health: Health) {
        self.inner().health = health;
    }

    /// Sets the subjects that the NATS server does not let its plugin subscribe to.
    pub fn set_denied(&self, subjects: &[String]) {
        let mut inner = self.inner();
        if inner.denied != subjects {
            inner.denied = subjects.to_vec();
            self.mark_dirty();
        }
    }

    /// The plugin's one-line description.
    pub fn description(&self) -> String {
        self.inner().description.clone()
    }

    /// When the agent was created, RFC 3339.
    pub fn started(&self) -> &str {
        &self.started
    }

    /// Whether the state changed since the last call of this function.
    pub fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// Ends a span of load measurement: the load is the busy share of the span.
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

    /// Busy while a message is handled, else the status that the agent set last.
    pub fn status(&self) -> AgentStatus {
        self.status_of(&self.inner())
    }

    fn status_of(&self, inner: &Inner) -> AgentStatus {
        match inner.status {
            AgentStatus::Ready if self.busy_since().is_some() => AgentStatus::Busy,
            status => status,
        }
    }

    /// A copy of the state now.
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
                .candidate
                .leadership(Instant::now())
                .map(|o| (o.domain.to_string(), o.term)),
            healthy: inner.health.ok,
            detail: inner.health.detail.clone(),
            denied: inner.denied.clone(),
            pull_errors: std::collections::BTreeMap::new(),
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
