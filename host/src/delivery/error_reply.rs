//! Error replies: a JSON body, and the `Nats-Service-Error` headers of a failed micro service.

use serde_json::{Value, json};

use mistersmith_nats::{Connection, Headers, Trace};

use super::reason::Reason;
use mistersmith_core::names::AgentId;

/// Sends `{ok: false, agent_id, kind, error}` with the headers of a failed micro service.
pub async fn send_error(
    connection: &Connection,
    reply: &str,
    agent: &AgentId,
    trace: &Trace,
    reason: &Reason,
) {
    let mut headers = json_headers(trace, agent);
    service_error(&mut headers, reason);
    let body = error_body(agent.as_str(), reason);
    if let Err(error) = connection
        .publish(reply, None, headers, body.to_string().into())
        .await
    {
        tracing::debug!(%agent, %error, "refusal not sent");
    }
}

/// `{ok: false, agent_id, kind, error}`.
pub fn error_body(agent: &str, reason: &Reason) -> Value {
    json!({"ok": false, "agent_id": agent, "kind": reason.kind, "error": reason.message})
}

/// Adds `Nats-Service-Error` and `Nats-Service-Error-Code`, as micro services do.
pub fn service_error(headers: &mut Headers, reason: &Reason) {
    headers.set_text("Nats-Service-Error", &reason.message);
    headers.set("Nats-Service-Error-Code", reason.kind.service_code());
}

/// The headers of an agent's JSON answer.
pub fn json_headers(trace: &Trace, agent: &AgentId) -> Headers {
    trace.stamped_json(Some(agent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::reason::ReasonKind;
    use mistersmith_runtime::ExitKind;

    #[test]
    fn a_failure_has_the_code_of_its_kind() {
        for (kind, code) in [
            (ReasonKind::Rejected, "400"),
            (ReasonKind::Exited(ExitKind::Timeout), "408"),
            (ReasonKind::TooLarge, "413"),
            (ReasonKind::Busy, "429"),
            (ReasonKind::Exited(ExitKind::Trap), "500"),
            (ReasonKind::Paused, "503"),
        ] {
            let mut headers = Headers::default();
            service_error(&mut headers, &Reason::new(kind, "x"));
            assert_eq!(headers.get("Nats-Service-Error-Code"), Some(code), "{kind}");
        }
    }
}
