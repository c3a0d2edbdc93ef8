//! Cuts a text into normalised sentences and their words: the second stage of the pipeline
//! `extract → preprocess → analyze → summarize`.
//!
//! Takes what `extract` gives, of which only `paragraphs` must be there, or plain text. Gives:
//!
//! ```json
//! {"name": "README.md", "title": "MisterSmith", "words": 812, "truncated": false,
//!  "sentences": [{"text": "It runs agents.", "words": 3, "terms": ["runs", "agents"]}]}
//! ```
//!
//! `terms` are the words that say what a sentence is about: in lower case, without stop words and
//! bare numbers. A document of more than `[config] sentences` is cut, and `truncated` says so.

mod sentences;
mod terms;

use mistersmith_sdk::{Agent, Error, Message, Reply, Result, Stage, context, export_agent};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Preprocess {
    /// Most sentences that are given on.
    #[serde(default = "thousand")]
    sentences: usize,
}

fn thousand() -> usize {
    1000
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    paragraphs: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    title: String,
    /// Words of all sentences that are given on, stop words included.
    words: usize,
    truncated: bool,
    sentences: Vec<Sentence>,
}

#[derive(Serialize)]
struct Sentence {
    text: String,
    words: usize,
    terms: Vec<String>,
}

impl Agent for Preprocess {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.execute(input)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let input = read(message)?;
        let mut all = input
            .paragraphs
            .iter()
            .flat_map(|paragraph| sentences::split(&sentences::normal(paragraph)))
            .map(|text| Sentence {
                words: terms::words(&text).count(),
                terms: terms::terms(&text),
                text,
            })
            .filter(|sentence| sentence.words > 0);
        let sentences: Vec<Sentence> = all.by_ref().take(self.sentences).collect();
        if sentences.is_empty() {
            return Err(Error::reject("there is no sentence in the text"));
        }
        Reply::json(&Output {
            name: input.name,
            title: input.title,
            words: sentences.iter().map(|sentence| sentence.words).sum(),
            truncated: all.next().is_some(),
            sentences,
        })
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

fn read(message: &Message) -> Result<Input> {
    if message.is_json() {
        return message.json();
    }
    Ok(Input {
        name: String::new(),
        title: String::new(),
        paragraphs: message.text()?.split("\n\n").map(str::to_owned).collect(),
    })
}

export_agent!(Preprocess);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::Bus;

    const SUBJECT: &str = "pipeline.doc-1.02.preprocess";

    #[test]
    fn sentences_with_their_terms() {
        let mut agent = Bus::new().start::<Preprocess>().unwrap();
        let input = json!({
            "name": "a.md", "title": "T", "headings": [], "format": "markdown",
            "paragraphs": ["The host  runs “agents”. It is 1 process!", "…"],
        });
        let expected = json!({
            "name": "a.md", "title": "T", "words": 8, "truncated": false,
            "sentences": [
                {"text": "The host runs \"agents\".", "words": 4, "terms": ["host", "runs", "agents"]},
                {"text": "It is 1 process!", "words": 4, "terms": ["process"]},
            ],
        });
        assert_eq!(agent.stage(SUBJECT, input).unwrap().to_value(), expected);
        let plain = agent.stage(SUBJECT, "One day.\n\nAnother day.").unwrap();
        assert_eq!(plain.to_value()["sentences"][1]["text"], "Another day.");
    }

    #[test]
    fn a_long_text_is_cut() {
        let bus = Bus::new().with_config(json!({"sentences": 2}));
        let mut agent = bus.start::<Preprocess>().unwrap();
        let reply = agent.stage(SUBJECT, "One. Two. Three.").unwrap().to_value();
        assert_eq!(reply["sentences"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&reply["truncated"], &reply["words"]),
            (&json!(true), &json!(2))
        );
        agent.configure(json!({}));
        let reply = agent.stage(SUBJECT, "One. Two. Three.").unwrap().to_value();
        assert_eq!(reply["truncated"], false);
    }

    #[test]
    fn rejects_what_has_no_sentence() {
        let mut agent = Bus::new().start::<Preprocess>().unwrap();
        for bad in [
            &b""[..],
            b"{}",
            br#"{"paragraphs": []}"#,
            b"{",
            b"\xff",
            b"...",
        ] {
            assert!(agent.stage(SUBJECT, bad).unwrap_err().is_reject());
        }
    }
}
