//! One message through an agent: call, then hand the outcome to whoever waits for it.

use std::time::Instant;

use bytes::Bytes;

use crate::names::AgentId;
use crate::patterns::disposition::{Reason, Settler};
use crate::patterns::failure::{error_body, send_error, service_error};
use crate::patterns::lifecycle::{new_request_id, reply_headers, result_subject};
use crate::patterns::{AgentPort, Answer};
use crate::runtime::{Call, Outcome, Reply};
use crate::transport::{Headers, Link};

/// Sends the outcome of a call where it belongs.
pub(super) async fn answer(
    port: &AgentPort,
    settler: &Settler,
    work: &Link,
    call: Box<Call>,
    answer: Answer,
    outcome: Outcome,
) {
    if matches!(outcome, Outcome::Done(_)) && !matches!(answer, Answer::Nobody) {
        port.cell.counters.sent.add_one();
    }
    match answer {
        Answer::Nobody => {}
        Answer::Held(held) => Box::pin(settler.settle(&port.id, call, held, outcome)).await,
        Answer::Reply { to, link } => reply(port, &link, &to, &call, outcome).await,
        Answer::Gather { .. } if matches!(outcome, Outcome::Done(None)) => {}
        Answer::Gather { to, link } => Box::pin(reply(port, &link, &to, &call, outcome)).await,
        Answer::Stored => Box::pin(store(&port.id, work, &call, outcome)).await,
    }
}

/// Whether nobody waits for the answer any longer.
pub(super) fn is_overdue(call: &Call) -> bool {
    call.waits_until
        .is_some_and(|until| until <= Instant::now())
}

/// Says that a call was not begun because its time was over.
pub(super) async fn tell_overdue(port: &AgentPort, call: &Call, answer: Answer) {
    if let Answer::Reply { to, link } = answer {
        let reason = Reason::new(
            "timeout",
            format!(
                "the time of the request was over before agent `{}` was free",
                port.id
            ),
        );
        send_error(&link, &to, port, &call.trace, &reason).await;
    }
}

async fn reply(port: &AgentPort, link: &Link, to: &str, call: &Call, outcome: Outcome) {
    if let Some(reason) = Reason::of(&outcome) {
        return Box::pin(send_error(link, to, port, &call.trace, &reason)).await;
    }
    let Outcome::Done(reply) = outcome else {
        return;
    };
    let reply = reply.unwrap_or_default();
    let headers = reply_headers(&port.id, call, &reply);
    if let Err(error) = link.publish(to, None, headers, reply.payload).await {
        tracing::warn!(agent = %port.id, %error, "reply not sent");
        // A reply that is too large for the server can at least be said to be so.
        let reason = Reason::new("too-large", format!("the reply was not sent: {error}"));
        Box::pin(send_error(link, to, port, &call.trace, &reason)).await;
    }
}

/// A command without a reply subject: what the handler returned, or why not, goes into RESULTS.
async fn store(agent: &AgentId, work: &Link, call: &Call, outcome: Outcome) {
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
            let mut headers = Headers::default();
            headers.set("Content-Type", "application/json");
            call.trace.stamp(Some(agent), &mut headers);
            service_error(&mut headers, &reason);
            (
                headers,
                Bytes::from(error_body(agent.as_str(), &reason).to_string()),
            )
        }
    };
    // The command came by core NATS, which promises nothing; its result is stored if it can be.
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
