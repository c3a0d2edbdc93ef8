//! Questions, seen from who is asked: `scatter.<request>.task` becomes a call of an agent, and where its
//! answer goes.

use crate::names::{AgentId, ForeignId};
use crate::patterns::Answer;
use crate::runtime::Kind;
use crate::transport::trace::header;
use crate::transport::{Headers, Link, Message};

/// What the agents of all hosts hear.
pub const QUESTIONS: &str = "scatter.*.task";

/// Whether this agent asks, going by the headers of the question.
pub fn asks(agent: &AgentId, headers: &Headers) -> bool {
    headers.get(header::AGENT_ID) == Some(agent.as_str())
}

/// The id of a question; none for what is none: others can publish there too.
fn request(message: &Message) -> Option<&str> {
    let mut tokens = message.subject.split('.');
    let id = tokens.nth(1)?;
    ForeignId::check(id).is_ok().then_some(id)
}

/// Where answers to a message go, if it is a question. Never to its reply subject: the stream that
/// stores the question acknowledges it there.
pub fn result_subject(message: &Message) -> Option<String> {
    request(message).map(|id| format!("gather.{id}.result"))
}

/// What an agent is called with for a question, and where its answer goes.
pub fn asked(message: &Message, link: &Link) -> Option<(Kind, Answer)> {
    let to = result_subject(message)?;
    let kind = Kind::Scatter(request(message)?.to_owned());
    let link = link.clone();
    Some((kind, Answer::Gather { to, link }))
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
