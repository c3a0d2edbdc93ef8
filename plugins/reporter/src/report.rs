//! The fields of a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// The report as Markdown.
    pub(crate) markdown: String,
}

/// The results of one document.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Document {
    pub(crate) name: String,
    /// The result of its pipeline; none when there is none.
    pub(crate) summary: Option<Summary>,
    /// How many words were counted.
    pub(crate) words: Option<u64>,
    pub(crate) sentiment: Sentiment,
}

/// The result of the pipeline of a document, as far as the report shows it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) title: String,
    pub(crate) summary: Vec<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) readability: Option<f64>,
}

/// The numbers of paragraphs by sentiment.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sentiment {
    pub(crate) positive: u32,
    pub(crate) neutral: u32,
    pub(crate) negative: u32,
}

/// A question and its answer.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) question: String,
    /// Empty when nobody knows anything, or the answer has not come.
    pub(crate) answer: String,
    /// Who contributed to it.
    pub(crate) sources: Vec<String>,
}
