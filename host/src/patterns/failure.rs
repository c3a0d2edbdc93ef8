//! What whoever waits for an answer is told when there is none: a body for people and programs, and
//! the headers of a failed micro service.

use serde_json::{Value, json};

use crate::transport::{Headers, Link, Trace};

use super::directory::AgentPort;
use super::disposition::Reason;

/// Answers `{ok: false, agent_id, error}` with the headers of a failed micro service.
pub async fn send_error(
    link: &Link,
    reply: &str,
    port: &AgentPort,
    trace: &Trace,
    reason: &Reason,
) {
    let mut headers = json_headers(trace, port);
    service_error(&mut headers, reason);
    let body = error_body(port.id.as_str(), reason);
    if let Err(error) = link
        .publish(reply, None, headers, body.to_string().into())
        .await
    {
        tracing::debug!(agent = %port.id, %error, "refusal not sent");
    }
}

/// `{ok: false, agent_id, kind, error}`.
pub fn error_body(agent: &str, reason: &Reason) -> Value {
    json!({"ok": false, "agent_id": agent, "kind": reason.kind, "error": reason.message})
}

/// Adds `Nats-Service-Error` and `Nats-Service-Error-Code`, as micro services do.
pub fn service_error(headers: &mut Headers, reason: &Reason) {
    let code = match reason.kind.as_str() {
        "rejected" | "schema" | "invalid" => "400",
        "too-large" => "413",
        "timeout" | "cpu" => "408",
        "busy" => "429",
        "paused" | "stopped" | "circuit-open" | "unavailable" | "retry" => "503",
        _ => "500",
    };
    headers.set("Nats-Service-Error", &reason.message);
    headers.set("Nats-Service-Error-Code", code);
}

/// The headers of a JSON answer of an agent.
pub fn json_headers(trace: &Trace, port: &AgentPort) -> Headers {
    let mut headers = Headers::default();
    headers.set("Content-Type", "application/json");
    trace.stamp(Some(&port.id), &mut headers);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_service_code() {
        for (kind, code) in [
            ("rejected", "400"),
            ("trap", "500"),
            ("busy", "429"),
            ("timeout", "408"),
        ] {
            let mut headers = Headers::default();
            service_error(&mut headers, &Reason::new(kind, "x"));
            assert_eq!(headers.get("Nats-Service-Error-Code"), Some(code), "{kind}");
        }
    }
}
