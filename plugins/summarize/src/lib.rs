//! Summarises a document by its best sentences: the last stage of the pipeline
//! `extract → preprocess → analyze → summarize`.
//!
//! Takes what `analyze` gives. Gives the result of the pipeline:
//!
//! ```json
//! {"name": "README.md", "title": "MisterSmith", "summary": ["It runs agents.", "…"],
//!  "keywords": ["agent", "host"], "words": 812, "sentences": 53, "readability": 62.4}
//! ```

mod select;

use mistersmith_sdk::{Agent, Error, Message, Reply, Result, Stage, context, export_agent};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Summarize {
    /// How many sentences a summary has.
    #[serde(default = "three")]
    sentences: usize,
}

fn three() -> usize {
    3
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    words: u64,
    #[serde(default)]
    keywords: Vec<Keyword>,
    readability: Option<Readability>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Keyword {
    word: String,
}

#[derive(Deserialize)]
struct Readability {
    score: f64,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    score: f64,
    terms: Vec<String>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    title: &'a str,
    /// The best sentences, in the order of the document.
    summary: Vec<&'a str>,
    keywords: Vec<&'a str>,
    words: u64,
    sentences: usize,
    /// None when nobody measured it.
    readability: Option<f64>,
}

impl Agent for Summarize {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.execute(input)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let input: Input = message.json()?;
        if input.sentences.is_empty() {
            return Err(Error::reject("there is no sentence to choose from"));
        }
        let chosen = select::best(&input.sentences, self.sentences);
        Reply::json(&Output {
            name: &input.name,
            title: &input.title,
            summary: chosen.iter().map(|sentence| &*sentence.text).collect(),
            keywords: input
                .keywords
                .iter()
                .map(|keyword| &*keyword.word)
                .collect(),
            words: input.words,
            sentences: input.sentences.len(),
            readability: input.readability.map(|readability| readability.score),
        })
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

export_agent!(Summarize);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::Bus;

    const SUBJECT: &str = "pipeline.doc-1.04.summarize";

    #[test]
    fn a_summary_in_the_order_of_the_document() {
        let bus = Bus::new().with_config(json!({"sentences": 2}));
        let mut agent = bus.start::<Summarize>().unwrap();
        let input = json!({
            "name": "a.md", "title": "T", "words": 12,
            "keywords": [{"word": "agent", "count": 2, "weight": 1.0}],
            "readability": {"score": 61.5, "words_per_sentence": 4.0, "syllables_per_word": 1.5},
            "sentences": [
                {"text": "Agents work.", "score": 0.7, "terms": ["agents", "work"]},
                {"text": "So it is.", "score": 0.1, "terms": []},
                {"text": "Hosts run them.", "score": 1.0, "terms": ["hosts", "run"]},
            ],
        });
        let expected = json!({
            "name": "a.md", "title": "T", "summary": ["Agents work.", "Hosts run them."],
            "keywords": ["agent"], "words": 12, "sentences": 3, "readability": 61.5,
        });
        assert_eq!(agent.stage(SUBJECT, input).unwrap().to_value(), expected);
    }

    #[test]
    fn rejects_what_has_no_sentences() {
        let mut agent = Bus::new().start::<Summarize>().unwrap();
        for bad in [&b"text"[..], b"{}", br#"{"sentences": []}"#] {
            assert!(agent.stage(SUBJECT, bad).unwrap_err().is_reject());
        }
    }
}
