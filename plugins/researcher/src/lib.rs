//! Researches a question: scatters it to every librarian, gathers their answers, and merges them.
//!
//! Takes work in the domain `research`, task `question`: `{"question": "…", "id": "q/1"}`, where
//! `id` may be missing and comes back. Replies what all of them know together, the best first:
//!
//! ```json
//! {"id": "q/1", "question": "Why are messages stored?", "status": "complete",
//!  "answer": "JetStream stores messages in streams …", "answered": ["librarian-001", "librarian-002"],
//!  "sources": [{"agent": "librarian-002", "shelf": "durability", "text": "…", "score": 0.67}]}
//! ```
//!
//! It waits for `[config] answers` of them; when fewer have answered in time, the status is
//! `partial`, and when nobody has, the question is tried again later.

mod merge;

use std::time::Duration;

use merge::{Found, Source};
use mistersmith_sdk::coordination::{self, Gathered};
use mistersmith_sdk::{Agent, Error, Reply, Result, Work, context, export_agent, log};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Researcher {
    /// How many answers are enough.
    #[serde(default = "three_answers")]
    answers: u32,
    /// Milliseconds for all of them together.
    #[serde(default = "five_seconds")]
    wait: u64,
    /// How many passages to merge at most.
    #[serde(default = "three")]
    passages: usize,
}

fn five_seconds() -> u64 {
    5000
}

fn three_answers() -> u32 {
    3
}

fn three() -> usize {
    3
}

#[derive(Deserialize)]
struct Input {
    question: String,
    id: Option<String>,
}

#[derive(Serialize)]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    question: String,
    /// `complete` or `partial`.
    status: &'static str,
    /// What is best known, in one paragraph; empty when nobody knows anything.
    answer: String,
    sources: Vec<Source>,
    /// Who has answered.
    answered: Vec<String>,
}

impl Agent for Researcher {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    fn work(&mut self, item: &Work) -> Result<Reply> {
        let input: Input = item.json()?;
        let gathered = self.ask(&input.question)?;
        if gathered.answers().is_empty() {
            return Err(Error::retry("no librarian has answered"));
        }
        let sources = merge::merge(found(&gathered), self.passages);
        Reply::json(&Output {
            status: if gathered.is_complete() {
                "complete"
            } else {
                "partial"
            },
            answer: merge::paragraph(&sources),
            answered: answered(&gathered),
            id: input.id,
            question: input.question,
            sources,
        })
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

impl Researcher {
    fn ask(&self, question: &str) -> Result<Gathered> {
        let asked = coordination::scatter(&mistersmith_sdk::json!({"question": question}))
            .timeout(Duration::from_millis(self.wait))
            .min(self.answers);
        Ok(asked.gather()?)
    }
}

/// In an order that does not change with the order of the answers.
fn answered(gathered: &Gathered) -> Vec<String> {
    let answers = gathered.answers().iter();
    let mut agents: Vec<String> = answers.map(|answer| answer.agent_id().to_owned()).collect();
    agents.sort();
    agents
}

/// What can be read of the answers; what cannot is left out, and told in the log.
fn found(gathered: &Gathered) -> Vec<(String, Found)> {
    let mut found = Vec::new();
    for answer in gathered.answers() {
        match answer.json() {
            Ok(passages) => found.push((answer.agent_id().to_owned(), passages)),
            Err(error) => log::warn!("an answer is left out: {error}"),
        }
    }
    found
}

export_agent!(Researcher);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::mock::Bus;
    use mistersmith_sdk::serde_json::Value;
    use mistersmith_sdk::{CallError, json};

    const SUBJECT: &str = "work.research.high.question";

    fn bus() -> Bus {
        let bus = Bus::new().with_config(json!({"answers": 2}));
        bus.answer_scatter("librarian-001", |question| {
            assert_eq!(
                question.json::<Value>().unwrap(),
                json!({"question": "why?"})
            );
            Ok(json!({"shelf": "a", "passages": [{"text": "Low.", "score": 0.2}]}).into())
        });
        bus
    }
    #[test]
    fn answers_of_several_are_merged() {
        let bus = bus();
        bus.answer_scatter("librarian-002", |_| {
            Ok(json!({"shelf": "b", "passages": [{"text": "High.", "score": 0.9}]}).into())
        });
        let mut agent = bus.start::<Researcher>().unwrap();
        let reply = agent.work(SUBJECT, json!({"question": "why?", "id": "q/1"}));
        let expected = json!({
            "id": "q/1", "question": "why?", "status": "complete", "answer": "High. Low.",
            "sources": [
                {"agent": "librarian-002", "shelf": "b", "text": "High.", "score": 0.9},
                {"agent": "librarian-001", "shelf": "a", "text": "Low.", "score": 0.2},
            ],
            "answered": ["librarian-001", "librarian-002"],
        });
        assert_eq!(reply.unwrap().to_value(), expected);
    }

    #[test]
    fn too_few_answers_are_a_part() {
        let bus = bus();
        let mut agent = bus.start::<Researcher>().unwrap();
        let reply = agent
            .work(SUBJECT, json!({"question": "why?"}))
            .unwrap()
            .to_value();
        assert_eq!(reply["status"], "partial");
        assert_eq!(reply["answered"], json!(["librarian-001"]));
        assert_eq!(reply["answer"], "Low.");
        bus.answer_scatter("librarian-002", |_| Ok("what?".into()));
        let reply = agent
            .work(SUBJECT, json!({"question": "why?"}))
            .unwrap()
            .to_value();
        assert_eq!(reply["answer"], "Low.");
        assert!(
            bus.logs()
                .iter()
                .any(|line| line.message.contains("librarian-002"))
        );
    }

    #[test]
    fn without_any_answer_it_is_tried_again() {
        let bus = Bus::new();
        let mut agent = bus.start::<Researcher>().unwrap();
        let question = json!({"question": "why?"});
        assert!(
            !agent
                .work(SUBJECT, question.clone())
                .unwrap_err()
                .is_reject()
        );
        bus.answer_scatter("librarian-001", |_| Err(CallError::Other("ill".into())));
        assert!(!agent.work(SUBJECT, question).unwrap_err().is_reject());
        assert!(agent.work(SUBJECT, "why?").unwrap_err().is_reject());
    }
}
