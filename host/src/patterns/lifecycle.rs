//! What an agent's life looks like from outside: `agent.<id>.<event>`, its results, and the value
//! in AGENT_STATE. Shapes only; who publishes them, and when, is the agent's own matter.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::names::AgentId;
use crate::names::headers::RETRY_COUNT;
use crate::runtime::{Call, Kind, Reply};
use crate::status::AgentSnapshot;
use crate::transport::Headers;

use super::disposition::Reason;

/// A step of an agent's life, each published as `agent.<id>.<step>`.
#[derive(Debug, Clone)]
pub enum Step {
    /// The id is claimed; nothing runs yet.
    Created,
    /// The component is instantiated.
    Started,
    /// Its `start` returned; it takes messages.
    Ready,
    /// It ended.
    Stopped {
        /// `shutdown`, `drain`, `removed`, `lease-lost`.
        reason: String,
    },
    /// A call, or the start, failed in a way that is the agent's own fault.
    Error(Reason),
}

impl Step {
    /// The last token of the subject.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Created => "created",
            Step::Started => "started",
            Step::Ready => "ready",
            Step::Stopped { .. } => "stopped",
            Step::Error(_) => "error",
        }
    }

    /// The subject on which an agent's step is published.
    pub fn subject(&self, agent: &AgentId) -> String {
        format!("agent.{agent}.{}", self.name())
    }

    /// The payload: `{agent_id, plugin, version, host, at}`, and what the step adds.
    pub fn body(&self, agent: &AgentId, plugin: &str, version: &str, host: &str) -> Value {
        let mut body = Map::new();
        body.insert("agent_id".into(), json!(agent.as_str()));
        body.insert("plugin".into(), json!(plugin));
        body.insert("version".into(), json!(version));
        body.insert("host".into(), json!(host));
        body.insert("at".into(), json!(now()));
        match self {
            Step::Stopped { reason } => {
                body.insert("reason".into(), json!(reason));
            }
            Step::Error(reason) => {
                body.insert("kind".into(), json!(reason.kind));
                body.insert("message".into(), json!(reason.message));
            }
            Step::Created | Step::Started | Step::Ready => {}
        }
        Value::Object(body)
    }
}

/// Where the result of a request goes that has no reply subject.
pub fn result_subject(agent: &AgentId, request_id: &str) -> String {
    ["agent.", agent.as_str(), ".resp.", request_id].concat()
}

/// The headers of what a handler returned.
pub fn reply_headers(agent: &AgentId, call: &Call, reply: &Reply) -> Headers {
    // What an agent sets was checked: none of it has the name of one of the host's headers.
    let mut headers = call.trace.stamped(Some(agent));
    for (name, value) in &reply.headers {
        headers.set(name, value);
    }
    if let Some(content_type) = &reply.content_type {
        headers.set("Content-Type", content_type);
    }
    if let Kind::Work { retries, .. } = &call.kind {
        // The priority is part of the trace.
        headers.set(RETRY_COUNT, &retries.to_string());
    }
    headers
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
    if !agent.pull_errors.is_empty() {
        metadata.insert("pull_errors".into(), json!(agent.pull_errors));
    }
    state
}

/// The answer to a health check.
pub fn health(agent: &AgentSnapshot) -> Value {
    json!({
        "agent_id": agent.agent_id,
        "status": agent.status.as_str(),
        "uptime_seconds": agent.uptime.as_secs(),
        "current_load": (f64::from(agent.load) * 1000.0).round() / 1000.0,
        "capabilities": agent.capabilities,
        "last_error": agent.last_error,
        "healthy": agent.healthy,
        "detail": agent.detail,
    })
}

/// A request id for what nobody gave one: unique, and a valid token of a subject.
pub fn new_request_id() -> String {
    nuid::next().to_string()
}

/// The time, as every payload gives it: RFC 3339, UTC.
pub fn now() -> String {
    // Formatting fails only for years beyond 9999.
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}
