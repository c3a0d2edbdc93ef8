//! Scatter-gather, the answering side.
//!
//! Turns `scatter.<request>.task` into a call of an agent, and names the subject of the answer.

use crate::delivery::Destination;
use mistersmith_core::names::{AgentId, ForeignId};
use mistersmith_nats::trace::header;
use mistersmith_nats::{Connection, Headers, Message};
use mistersmith_runtime::Kind;

/// The subject that the agents of all hosts subscribe to.
pub const QUESTIONS: &str = "scatter.*.task";

/// Whether this agent asked the question, by its headers.
pub fn asks(agent: &AgentId, headers: &Headers) -> bool {
    headers.get(header::AGENT_ID) == Some(agent.as_str())
}

/// The request id of a question; none for other messages, which any client can publish there.
fn request(message: &Message) -> Option<&str> {
    let mut tokens = message.subject.split('.');
    let id = tokens.nth(1)?;
    ForeignId::check(id).is_ok().then_some(id)
}

/// The subject for answers to a message, if it is a question. Never its reply subject: the stream
/// that stores the question acknowledges it there.
pub fn result_subject(message: &Message) -> Option<String> {
    request(message).map(|id| format!("gather.{id}.result"))
}

/// The agent's call for a question, and where its answer goes.
pub fn asked(message: &Message, connection: &Connection) -> Option<(Kind, Destination)> {
    let to = result_subject(message)?;
    let kind = Kind::Scatter(request(message)?.to_owned());
    let connection = connection.clone();
    Some((kind, Destination::Gather { to, connection }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn message(subject: &str) -> Message {
        Message {
            subject: subject.to_owned(),
            reply: Some("_INBOX.x".to_owned()),
            headers: Headers::new(),
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn answers_go_where_they_are_gathered() {
        let question = message("scatter.r-1.task");
        assert_eq!(result_subject(&question).unwrap(), "gather.r-1.result");
        let long = format!("scatter.{}.task", "x".repeat(97));
        for forged in [
            "scatter.*.task",
            "scatter.$JS.task",
            "scatter.a=b.task",
            &long,
        ] {
            assert_eq!(result_subject(&message(forged)), None, "{forged}");
        }
    }

    #[test]
    fn whoever_asks_is_known_by_its_header() {
        let agent: AgentId = "a-001".parse().unwrap();
        let mut headers = Headers::new();
        assert!(!asks(&agent, &headers));
        headers.insert("x-agent-id", "a-001").unwrap();
        assert!(asks(&agent, &headers));
    }
}
