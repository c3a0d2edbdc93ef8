//! Answers questions from the shelf it keeps: `scatter.<request>.task`, where every librarian is
//! asked, or `cmd.execute`. The number in its id selects the shelf that it keeps, so that three
//! librarians together know everything; more of them share the shelves.
//!
//! Takes plain text or `{"question": "…"}`, answers the passages that fit best, or none:
//!
//! ```json
//! {"shelf": "messaging", "passages": [{"text": "Core NATS delivers at most once: …", "score": 0.75}]}
//! ```

mod shelf;

use mistersmith_sdk::{Agent, Message, Question, Reply, Result, context, export_agent};
use serde::{Deserialize, Serialize};
use shelf::{Passage, Shelf};

struct Librarian {
    shelf: Shelf,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    /// How many passages to answer at most.
    #[serde(default = "three")]
    passages: usize,
}

fn three() -> usize {
    3
}

#[derive(Deserialize)]
struct Input {
    question: String,
}

#[derive(Serialize)]
struct Output<'a> {
    shelf: &'a str,
    passages: Vec<Passage<'a>>,
}

impl Agent for Librarian {
    fn start() -> Result<Self> {
        let id = context::agent_id();
        let number = id.rsplit('-').next().and_then(|number| number.parse().ok());
        Ok(Self {
            shelf: Shelf::of(number.unwrap_or(1)),
            config: context::config()?,
        })
    }

    fn scatter(&mut self, question: &Question) -> Result<Reply> {
        self.execute(question)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let question = if message.is_json() {
            message.json::<Input>()?.question
        } else {
            message.text()?.to_owned()
        };
        Reply::json(&Output {
            shelf: self.shelf.name,
            passages: self.shelf.look_up(&question, self.config.passages),
        })
    }

    fn configuration(&mut self) -> Result<()> {
        self.config = context::config()?;
        Ok(())
    }
}

export_agent!(Librarian);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::Bus;

    #[test]
    fn each_answers_from_a_shelf_of_its_own() {
        let bus = Bus::new().with_plugin("librarian", "0.1.0");
        let mut librarians: Vec<_> = (0..4).map(|_| bus.start::<Librarian>().unwrap()).collect();
        let shelves: Vec<String> = librarians
            .iter_mut()
            .map(|librarian| librarian.scatter("r1", "what?").unwrap().to_value())
            .map(|answer| answer["shelf"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            shelves,
            ["messaging", "durability", "coordination", "messaging"]
        );
    }

    #[test]
    fn the_best_passage_comes_first() {
        let bus = Bus::new().with_config(json!({"passages": 1}));
        let mut librarian = bus.start::<Librarian>().unwrap();
        for question in [
            librarian.scatter("r1", "How does a queue group balance the load?"),
            librarian.execute(json!({"question": "queue groups"})),
        ] {
            let answer = question.unwrap().to_value();
            assert_eq!(answer["passages"].as_array().unwrap().len(), 1);
            let text = answer["passages"][0]["text"].as_str().unwrap();
            assert!(text.contains("with a queue group"), "{text}");
        }
        librarian.configure(json!({"passages": 0}));
        let answer = librarian.scatter("r1", "queue").unwrap().to_value();
        assert_eq!(answer["passages"], json!([]));
    }

    #[test]
    fn rejects_what_is_no_question() {
        let mut librarian = Bus::new().start::<Librarian>().unwrap();
        for bad in [&b"{}"[..], b"{", b"\xff"] {
            assert!(librarian.scatter("r1", bad).unwrap_err().is_reject());
        }
    }
}
