//! Replies to messages that are not held: a reply on the reply subject, a result stored in RESULTS,
//! or an error reply.
//!
//! Such messages came by core NATS, so nothing is retried: a reply that cannot be sent is logged.

use std::time::Instant;

use bytes::Bytes;

use super::directory::AgentHandle;
use crate::delivery::error_reply::{error_body, send_error, service_error};
use crate::delivery::reply::{new_request_id, reply_headers, result_subject};
use crate::delivery::{Destination, Reason, ReasonKind};
use mistersmith_core::names::AgentId;
use mistersmith_nats::Connection;
use mistersmith_runtime::{Call, ExitKind, Outcome, Reply};

/// Whether the sender's timeout has passed.
pub(super) fn is_overdue(call: &Call) -> bool {
    call.waits_until
        .is_some_and(|until| until <= Instant::now())
}

/// Replies that the call did not begin because the request had timed out.
pub(super) async fn reply_overdue(handle: &AgentHandle, call: &Call, destination: Destination) {
    if let Destination::Reply { to, connection } = destination {
        let reason = Reason::new(
            ExitKind::Timeout,
            format!(
                "the time of the request was over before agent `{}` was free",
                handle.id
            ),
        );
        send_error(&connection, &to, &handle.id, &call.trace, &reason).await;
    }
}

/// Publishes the outcome of a call on a reply subject, over the connection that delivered the
/// message.
pub(super) async fn reply(
    handle: &AgentHandle,
    (connection, to): (&Connection, &str),
    call: &Call,
    outcome: Outcome,
) {
    if let Some(reason) = Reason::of(&outcome) {
        return Box::pin(send_error(connection, to, &handle.id, &call.trace, &reason)).await;
    }
    let Outcome::Done(reply) = outcome else {
        return;
    };
    let reply = reply.unwrap_or_default();
    let headers = reply_headers(&handle.id, call, &reply);
    if let Err(error) = connection.publish(to, None, headers, reply.payload).await {
        tracing::warn!(agent = %handle.id, %error, "reply not sent");
        // The usual cause is a reply above the server's maximum payload; the error reply says so.
        let reason = Reason::new(
            ReasonKind::TooLarge,
            format!("the reply was not sent: {error}"),
        );
        Box::pin(send_error(connection, to, &handle.id, &call.trace, &reason)).await;
    }
}

/// Stores the outcome of a command without a reply subject in RESULTS.
pub(super) async fn store(agent: &AgentId, work: &Connection, call: &Call, outcome: Outcome) {
    let subject = result_subject(agent, call.trace.request_id());
    let (headers, payload) = match Reason::of(&outcome) {
        None => {
            let Outcome::Done(reply) = outcome else {
                return;
            };
            let reply: Reply = reply.unwrap_or_default();
            (reply_headers(agent, call, &reply), reply.payload)
        }
        Some(reason) => {
            let mut headers = call.trace.stamped_json(Some(agent));
            service_error(&mut headers, &reason);
            (
                headers,
                Bytes::from(error_body(agent.as_str(), &reason).to_string()),
            )
        }
    };
    // One try only: the command came by core NATS, which guarantees no delivery either.
    if payload.len() > work.claim_over() {
        let id = new_request_id();
        if let Err(error) = work.store_any(&subject, &id, headers, payload).await {
            tracing::warn!(%agent, %error, %subject, "result of a command not stored");
        }
        return;
    }
    if let Err(error) = work.publish(&subject, None, headers, payload).await {
        tracing::warn!(%agent, %error, %subject, "result of a command not sent");
    }
}
