//! The reply of a handler as a message: its subject and headers.

use mistersmith_core::names::AgentId;
use mistersmith_core::names::headers::RETRY_COUNT;
use mistersmith_nats::Headers;
use mistersmith_runtime::{Call, Kind, Reply};

/// The subject for the result of a request without a reply subject.
pub fn result_subject(agent: &AgentId, request_id: &str) -> String {
    ["agent.", agent.as_str(), ".resp.", request_id].concat()
}

/// The headers of a handler's reply.
pub fn reply_headers(agent: &AgentId, call: &Call, reply: &Reply) -> Headers {
    // The runtime has checked that no header of an agent has the name of a host header.
    let mut headers = call.trace.stamped(Some(agent));
    for (name, value) in &reply.headers {
        headers.set(name, value);
    }
    if let Some(content_type) = &reply.content_type {
        headers.set("Content-Type", content_type);
    }
    if let Kind::Work { retries, .. } = &call.kind {
        // The trace already carries the priority.
        headers.set(RETRY_COUNT, &retries.to_string());
    }
    headers
}

/// A request id for a message without one: unique, and a valid subject token.
pub fn new_request_id() -> String {
    nuid::next().to_string()
}
