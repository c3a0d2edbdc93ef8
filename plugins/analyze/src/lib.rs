//! Finds the keywords of a document, weighs its sentences, and measures how easily it reads: the
//! third stage of the pipeline `extract → preprocess → analyze → summarize`.
//!
//! Takes what `preprocess` gives. Gives:
//!
//! ```json
//! {"name": "README.md", "title": "MisterSmith", "words": 812,
//!  "keywords": [{"word": "agent", "count": 14, "weight": 1.0}],
//!  "readability": {"score": 62.4, "words_per_sentence": 15.3, "syllables_per_word": 1.5},
//!  "sentences": [{"text": "It runs agents.", "score": 0.61, "terms": ["runs", "agents"]}]}
//! ```
//!
//! The readability score is Flesch's reading ease: about 100 for a children's book, 60 for plain
//! English, below 30 for a law.

mod keywords;
mod readability;
mod weigh;

use keywords::{Frequencies, Keyword};
use mistersmith_sdk::{Agent, Error, Message, Reply, Result, Stage, context, export_agent};
use readability::Readability;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Analyze {
    /// How many keywords to return.
    #[serde(default = "eight")]
    keywords: usize,
}

fn eight() -> usize {
    8
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    terms: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    title: String,
    words: usize,
    keywords: Vec<Keyword>,
    readability: Readability,
    sentences: Vec<Weighed>,
}

#[derive(Serialize)]
struct Weighed {
    text: String,
    /// 0 to 1, the best sentence of the document.
    score: f64,
    terms: Vec<String>,
}

impl Agent for Analyze {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.execute(input)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let input: Input = message.json()?;
        if input.sentences.is_empty() {
            return Err(Error::reject("there is no sentence to analyze"));
        }
        let frequencies = Frequencies::count(&input.sentences);
        let scores = weigh::scores(&input.sentences, &input.title, &frequencies);
        let readability = readability::measure(&input.sentences);
        Reply::json(&Output {
            name: input.name,
            title: input.title,
            words: readability.words,
            keywords: frequencies.keywords(self.keywords),
            readability,
            sentences: input
                .sentences
                .into_iter()
                .zip(scores)
                .map(|(sentence, score)| Weighed {
                    text: sentence.text,
                    score,
                    terms: sentence.terms,
                })
                .collect(),
        })
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

/// Four digits are enough for a person, and the same on every machine.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

export_agent!(Analyze);

#[cfg(test)]
fn sentence(text: &str, terms: &str) -> Sentence {
    Sentence {
        text: text.into(),
        terms: terms.split_whitespace().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::Bus;

    const SUBJECT: &str = "pipeline.doc-1.03.analyze";

    #[test]
    fn keywords_scores_and_readability() {
        let bus = Bus::new().with_config(json!({"keywords": 2}));
        let mut agent = bus.start::<Analyze>().unwrap();
        let input = json!({
            "name": "a.md", "title": "Agents", "words": 9, "truncated": false,
            "sentences": [
                {"text": "Nice to see you.", "words": 4, "terms": ["nice"]},
                {"text": "An agent hears other agents.", "words": 5, "terms": ["agent", "hears", "agents"]},
            ],
        });
        let output = agent.stage(SUBJECT, input).unwrap().to_value();
        let keywords = json!([
            {"word": "agent", "count": 2, "weight": 1.0}, {"word": "hears", "count": 1, "weight": 0.5},
        ]);
        assert_eq!(output["keywords"], keywords);
        assert_eq!(
            (&output["name"], &output["title"], &output["words"]),
            (&json!("a.md"), &json!("Agents"), &json!(9))
        );
        assert_eq!(output["sentences"][1]["score"], 1.0);
        assert!(output["sentences"][0]["score"].as_f64().unwrap() < 1.0);
        assert_eq!(output["sentences"][0]["terms"], json!(["nice"]));
        assert_eq!(output["readability"]["words_per_sentence"], 4.5);
    }

    #[test]
    fn rejects_what_has_no_sentences() {
        let mut agent = Bus::new().start::<Analyze>().unwrap();
        for bad in [&b"text"[..], b"{}", br#"{"sentences": []}"#] {
            assert!(agent.stage(SUBJECT, bad).unwrap_err().is_reject());
        }
    }
}
