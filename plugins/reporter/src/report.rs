//! From the parts to the report.

use std::collections::BTreeMap;

use mistersmith_sdk::serde_json::Value;
use serde::{Deserialize, Serialize};

use crate::markdown;
use crate::open::Collection;

/// A report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The id of the attempt that made it.
    pub(crate) report: String,
    pub(crate) title: String,
    /// The term of the leader that made it: of two reports the one with the higher term counts.
    pub(crate) term: u64,
    /// Every part has come.
    pub(crate) complete: bool,
    /// The ids of those that have not.
    pub(crate) missing: Vec<String>,
    pub(crate) documents: Vec<Document>,
    pub(crate) questions: Vec<Question>,
    /// How many results came from each agent.
    pub(crate) workers: BTreeMap<String, u32>,
    /// All of this for a person.
    pub(crate) markdown: String,
}

/// What is known of one document.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Document {
    pub(crate) name: String,
    /// What the pipeline made of it; none when it did not.
    pub(crate) summary: Option<Summary>,
    /// How many words were counted.
    pub(crate) words: Option<u64>,
    pub(crate) sentiment: Sentiment,
}

/// What the pipeline makes of a document, as far as the report shows it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) title: String,
    pub(crate) summary: Vec<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) readability: Option<f64>,
}

/// How many paragraphs express what.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sentiment {
    pub(crate) positive: u32,
    pub(crate) neutral: u32,
    pub(crate) negative: u32,
}

/// A question and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) question: String,
    /// Empty when nobody knows anything, or the answer has not come.
    pub(crate) answer: String,
    /// Who contributed to it.
    pub(crate) sources: Vec<String>,
}

impl Report {
    /// The report of what has come so far.
    pub(crate) fn of(collection: &Collection) -> Self {
        let opening = &collection.opening;
        let missing = collection.not_there();
        let document = |(place, name): (usize, &String)| document(collection, place + 1, name);
        let question = |(place, asked): (usize, &String)| question(collection, place + 1, asked);
        let mut report = Self {
            report: opening.report.clone(),
            title: opening.title.clone(),
            term: collection.term,
            complete: missing.is_empty(),
            missing,
            documents: opening.documents.iter().enumerate().map(document).collect(),
            questions: opening.questions.iter().enumerate().map(question).collect(),
            workers: workers(collection),
            markdown: String::new(),
        };
        report.markdown = markdown::write(&report);
        report
    }
}

impl Collection {
    fn not_there(&self) -> Vec<String> {
        let there = |id: &&String| self.value(id).is_none();
        self.wanted().iter().filter(there).cloned().collect()
    }

    fn value(&self, id: &str) -> Option<&Value> {
        let (_, value) = self.parts.get(id)?;
        Some(value).filter(|value| !value.is_null())
    }
}

fn document(collection: &Collection, number: usize, name: &str) -> Document {
    let summary = collection.value(&format!("summary/{number}"));
    let words = collection.value(&format!("words/{number}"));
    let mut sentiment = Sentiment::default();
    let prefix = format!("sentiment/{number}/");
    for (id, (_, value)) in &collection.parts {
        if id.starts_with(&prefix) {
            match value.get("label").and_then(Value::as_str) {
                Some("positive") => sentiment.positive += 1,
                Some("negative") => sentiment.negative += 1,
                Some("neutral") => sentiment.neutral += 1,
                _ => {}
            }
        }
    }
    Document {
        name: name.to_owned(),
        summary: summary.and_then(|value| Summary::deserialize(value).ok()),
        words: words.and_then(|value| value.get("words")?.as_u64()),
        sentiment,
    }
}

fn question(collection: &Collection, number: usize, asked: &str) -> Question {
    #[derive(Default, Deserialize)]
    struct Answer {
        answer: String,
        sources: Vec<Source>,
    }
    #[derive(Deserialize)]
    struct Source {
        agent: String,
    }
    let answer = collection.value(&format!("answer/{number}"));
    let answer = answer
        .and_then(|value| Answer::deserialize(value).ok())
        .unwrap_or_default();
    let mut sources: Vec<String> = answer
        .sources
        .into_iter()
        .map(|source| source.agent)
        .collect();
    sources.sort();
    sources.dedup();
    Question {
        question: asked.to_owned(),
        answer: answer.answer,
        sources,
    }
}

fn workers(collection: &Collection) -> BTreeMap<String, u32> {
    let mut workers = BTreeMap::new();
    for agent in collection
        .parts
        .values()
        .filter_map(|(agent, _)| agent.clone())
    {
        *workers.entry(agent).or_default() += 1;
    }
    workers
}
