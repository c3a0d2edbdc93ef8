//! The answers to one question so far, and whether they suffice: pure.

use std::collections::{BTreeMap, BTreeSet};

use mistersmith_core::limits::MAX_ANSWERS;
use mistersmith_core::names::AgentId;
use mistersmith_nats::Message;
use mistersmith_nats::trace::header;
use mistersmith_runtime::{GatherAnswer, GatherStatus, Gathered, Question};

/// Header that marks an answer as an error, as in NATS micro services.
const SERVICE_ERROR: &str = "Nats-Service-Error";
/// Longest reason of a failure that is kept, in characters.
const MAX_REASON: usize = mistersmith_core::limits::MAX_ERROR_CHARS;

/// The answers so far.
pub(super) struct Gathering {
    request: String,
    min: Option<usize>,
    /// Expected agents without an answer so far; none where any agent may answer.
    awaited: Option<BTreeSet<AgentId>>,
    answer_bytes: usize,
    room: usize,
    answered: BTreeSet<AgentId>,
    answers: Vec<GatherAnswer>,
    failed: BTreeMap<AgentId, String>,
    expected: Vec<AgentId>,
}

/// Reason why a message on the result subject did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It names no agent.
    Nameless,
    /// The agent has answered before.
    Repeated,
    /// The agent is not among the expected ones.
    Unexpected,
    /// The maximum number of answers is reached.
    TooMany,
}

impl Gathering {
    pub(super) fn new(question: &Question) -> Self {
        let expected: BTreeSet<AgentId> = question.expected.iter().cloned().collect();
        Self {
            request: question.request.clone(),
            min: question.min,
            expected: expected.iter().cloned().collect(),
            awaited: (!expected.is_empty()).then_some(expected),
            answer_bytes: question.answer_bytes,
            room: question.total_bytes,
            answered: BTreeSet::new(),
            answers: Vec::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Adds a message from the result subject, where any client can publish. Returns the agent
    /// whose answer counted.
    pub(super) fn take(&mut self, message: &Message) -> Result<AgentId, Dropped> {
        let name = message.headers.get(header::AGENT_ID);
        let agent: AgentId = name
            .and_then(|name| name.parse().ok())
            .ok_or(Dropped::Nameless)?;
        if self.answered.contains(&agent) {
            return Err(Dropped::Repeated);
        }
        if let Some(awaited) = &mut self.awaited
            && !awaited.remove(&agent)
        {
            return Err(Dropped::Unexpected);
        }
        if self.answered.len() >= MAX_ANSWERS {
            return Err(Dropped::TooMany);
        }
        self.answered.insert(agent.clone());
        if let Some(reason) = self.why_none(message) {
            self.failed.insert(agent.clone(), reason);
            return Ok(agent);
        }
        self.room -= message.payload.len();
        self.answers.push(GatherAnswer {
            agent: agent.clone(),
            payload: message.payload.clone(),
            content_type: message.headers.get("Content-Type").map(str::to_owned),
        });
        Ok(agent)
    }

    /// The reason why a message is no answer, if it is none.
    fn why_none(&self, message: &Message) -> Option<String> {
        if let Some(reason) = message.headers.text(SERVICE_ERROR) {
            return Some(reason.chars().take(MAX_REASON).collect());
        }
        let size = message.payload.len();
        if size > self.answer_bytes {
            let most = self.answer_bytes;
            return Some(format!("the answer has {size} bytes, and {most} are taken"));
        }
        (size > self.room)
            .then(|| "the answers together have more bytes than whoever asked can take".to_owned())
    }

    /// Whether no further answer could change the outcome.
    pub(super) fn is_over(&self) -> bool {
        let enough = self.min.is_some_and(|min| self.answers.len() >= min);
        enough || self.awaited.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn status(&self) -> GatherStatus {
        let wanted = match self.min {
            Some(min) => min,
            None => self.expected.len().max(1),
        };
        match self.answers.len() {
            0 => GatherStatus::Timeout,
            some if some >= wanted => GatherStatus::Complete,
            _ => GatherStatus::Partial,
        }
    }

    /// The outcome.
    pub(super) fn end(self) -> Gathered {
        let status = self.status();
        let answered: BTreeSet<&AgentId> = self.answers.iter().map(|a| &a.agent).collect();
        let missing = self
            .expected
            .iter()
            .filter(|agent| !answered.contains(agent))
            .cloned()
            .collect();
        Gathered {
            request: self.request,
            status,
            missing,
            failed: self.failed.into_iter().collect(),
            answers: self.answers,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use mistersmith_nats::Headers;

    fn gathering(min: Option<usize>, expected: &[&str]) -> Gathering {
        Gathering::new(&Question {
            request: "r".into(),
            payload: Bytes::new(),
            headers: Headers::new(),
            asking: None,
            until: Instant::now(),
            min,
            expected: expected.iter().map(|id| id.parse().unwrap()).collect(),
            answer_bytes: 10,
            total_bytes: 25,
        })
    }

    fn answer(headers: &[(&str, &str)], payload: &str) -> Message {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(name, value).unwrap();
        }
        Message {
            subject: "gather.r.result".into(),
            reply: None,
            headers: all,
            payload: Bytes::from(payload.to_owned()),
        }
    }

    fn of(agent: &str, payload: &str) -> Message {
        answer(&[("X-Agent-ID", agent)], payload)
    }

    fn missing(gathered: &Gathered) -> Vec<&str> {
        gathered.missing.iter().map(AgentId::as_str).collect()
    }

    #[test]
    fn whoever_answers_counts_once_when_nobody_is_expected() {
        let mut all = gathering(None, &[]);
        assert!(all.take(&of("a-001", "1")).is_ok());
        assert_eq!(all.take(&of("a-001", "2")), Err(Dropped::Repeated));
        for forged in ["", "a", "a-1", "a-000", "a-001.b"] {
            assert_eq!(
                all.take(&of(forged, "x")),
                Err(Dropped::Nameless),
                "{forged}"
            );
        }
        assert_eq!(all.take(&answer(&[], "x")), Err(Dropped::Nameless));
        assert!(!all.is_over());
        let end = all.end();
        assert_eq!(end.status, GatherStatus::Complete);
        assert_eq!(end.answers.len(), 1);
        assert_eq!(&end.answers[0].payload[..], b"1");
        assert_eq!(gathering(None, &[]).end().status, GatherStatus::Timeout);
    }

    #[test]
    fn as_many_as_are_wanted_are_enough() {
        let mut two = gathering(Some(2), &[]);
        two.take(&of("a-001", "1")).unwrap();
        assert!(!two.is_over());
        two.take(&of("b-001", "1")).unwrap();
        assert!(two.is_over());
        assert_eq!(two.end().status, GatherStatus::Complete);
        let mut one = gathering(Some(2), &[]);
        one.take(&of("a-001", "1")).unwrap();
        assert_eq!(one.end().status, GatherStatus::Partial);
    }

    #[test]
    fn the_expected_answer_or_are_missing() {
        let mut three = gathering(None, &["a-001", "a-002", "b-001"]);
        assert_eq!(three.take(&of("c-001", "1")), Err(Dropped::Unexpected));
        three.take(&of("a-002", "1")).unwrap();
        let failed = [("X-Agent-ID", "b-001"), ("nats-service-error", "no idea")];
        three.take(&answer(&failed, "{}")).unwrap();
        assert!(!three.is_over());
        let mut all = gathering(None, &["a-001"]);
        all.take(&of("a-001", "1")).unwrap();
        assert!(all.is_over());
        assert_eq!(all.end().status, GatherStatus::Complete);
        let end = three.end();
        assert_eq!(end.status, GatherStatus::Partial);
        assert_eq!(missing(&end), ["a-001", "b-001"]);
        assert_eq!(end.failed, [("b-001".parse().unwrap(), "no idea".into())]);
    }

    #[test]
    fn when_every_expected_agent_fails_nobody_waits_for_the_deadline() {
        let mut one = gathering(None, &["a-001"]);
        let failed = [("X-Agent-ID", "a-001"), ("Nats-Service-Error", "busy")];
        one.take(&answer(&failed, "")).unwrap();
        assert!(one.is_over());
        let end = one.end();
        assert_eq!(
            (end.status, missing(&end)),
            (GatherStatus::Timeout, vec!["a-001"])
        );
    }

    #[test]
    fn of_expected_agents_a_number_may_be_enough() {
        let mut two = gathering(Some(2), &["a-001", "a-002", "a-003"]);
        assert_eq!(two.take(&of("b-001", "1")), Err(Dropped::Unexpected));
        two.take(&of("a-001", "1")).unwrap();
        two.take(&of("a-003", "1")).unwrap();
        assert!(two.is_over());
        let end = two.end();
        assert_eq!(
            (end.status, missing(&end)),
            (GatherStatus::Complete, vec!["a-002"])
        );
    }

    #[test]
    fn bytes_are_bounded_one_by_one_and_together() {
        let mut all = gathering(None, &[]);
        all.take(&of("a-001", "12345678901")).unwrap();
        all.take(&of("a-002", "1234567890")).unwrap();
        all.take(&of("a-003", "1234567890")).unwrap();
        all.take(&of("a-004", "123456")).unwrap();
        all.take(&of("a-005", "12345")).unwrap();
        let end = all.end();
        assert_eq!(end.answers.len(), 3);
        let failed: Vec<&str> = end.failed.iter().map(|(agent, _)| agent.as_str()).collect();
        assert_eq!(failed, ["a-001", "a-004"]);
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let mut all = gathering(None, &[]);
        for n in 1..=MAX_ANSWERS {
            all.take(&of(&format!("a-{n:03}"), "")).unwrap();
        }
        assert_eq!(all.take(&of("b-001", "")), Err(Dropped::TooMany));
        assert_eq!(all.end().answers.len(), MAX_ANSWERS);
    }
}
