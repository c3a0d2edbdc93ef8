//! The shapes of an agent's published state: `agent.<id>.<event>`, its results, and its value in
//! AGENT_STATE.
//!
//! Pure: the agent decides when to publish.

use serde_json::{Map, Value, json};

use crate::clock::now;
use crate::status::{AgentSnapshot, StopReason};
use mistersmith_core::names::AgentId;

use crate::delivery::Reason;

/// A step of an agent's life, published as `agent.<id>.<step>`.
#[derive(Debug, Clone)]
pub enum LifecycleEvent {
    /// The id is claimed; nothing runs yet.
    Created,
    /// The component is instantiated.
    Started,
    /// Its `start` returned; it takes messages.
    Ready,
    /// It ended.
    Stopped {
        /// The reason.
        reason: StopReason,
    },
    /// A call or `start` failed through the agent's own fault.
    Error(Reason),
}

impl LifecycleEvent {
    /// The last token of the subject.
    pub fn name(&self) -> &'static str {
        match self {
            LifecycleEvent::Created => "created",
            LifecycleEvent::Started => "started",
            LifecycleEvent::Ready => "ready",
            LifecycleEvent::Stopped { .. } => "stopped",
            LifecycleEvent::Error(_) => "error",
        }
    }

    /// The subject on which an agent's step is published.
    pub fn subject(&self, agent: &AgentId) -> String {
        format!("agent.{agent}.{}", self.name())
    }

    /// The payload: `{agent_id, plugin, version, host, at}` and the fields of the step.
    pub fn body(&self, agent: &AgentId, plugin: &str, version: &str, host: &str) -> Value {
        let mut body = Map::new();
        body.insert("agent_id".into(), json!(agent.as_str()));
        body.insert("plugin".into(), json!(plugin));
        body.insert("version".into(), json!(version));
        body.insert("host".into(), json!(host));
        body.insert("at".into(), json!(now()));
        match self {
            LifecycleEvent::Stopped { reason } => {
                body.insert("reason".into(), json!(reason.as_str()));
            }
            LifecycleEvent::Error(reason) => {
                body.insert("kind".into(), json!(reason.kind));
                body.insert("message".into(), json!(reason.message));
            }
            LifecycleEvent::Created | LifecycleEvent::Started | LifecycleEvent::Ready => {}
        }
        Value::Object(body)
    }
}

/// The value of key `agent.<id>` in AGENT_STATE, and the payload of a heartbeat.
pub fn state(agent: &AgentSnapshot) -> Value {
    let mut state = json!({
        "agent_id": agent.agent_id,
        "status": agent.status.as_str(),
        "capabilities": agent.capabilities,
        "current_load": (f64::from(agent.load) * 1000.0).round() / 1000.0,
        "last_heartbeat": now(),
        "metadata": {
            "plugin": agent.plugin,
            "version": agent.version,
            "host": agent.host,
            "host_id": agent.host_id,
            "handled": agent.handled,
            "failed": agent.failed,
        },
    });
    let Some(metadata) = state
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    else {
        return state;
    };
    if let Some((domain, term)) = &agent.leads {
        metadata.insert("leads".into(), json!({"domain": domain, "term": term}));
    }
    if !agent.denied.is_empty() {
        metadata.insert("denied".into(), json!(agent.denied));
    }
    if !agent.pull_errors.is_empty() {
        metadata.insert("pull_errors".into(), json!(agent.pull_errors));
    }
    state
}

/// The reply to a health check. An agent is unhealthy if the server denies it a subject of its
/// manifest.
pub fn health(agent: &AgentSnapshot) -> Value {
    let deaf = (!agent.denied.is_empty()).then(|| {
        format!(
            "the NATS server denies the subscription to `{}`",
            agent.denied.join("`, `")
        )
    });
    json!({
        "agent_id": agent.agent_id,
        "status": agent.status.as_str(),
        "uptime_seconds": agent.uptime.as_secs(),
        "current_load": (f64::from(agent.load) * 1000.0).round() / 1000.0,
        "capabilities": agent.capabilities,
        "last_error": agent.last_error,
        "healthy": agent.healthy && deaf.is_none(),
        "detail": deaf.as_ref().or(agent.detail.as_ref()),
    })
}
