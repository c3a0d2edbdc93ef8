//! Composes a report of the parts that have arrived.

use std::collections::BTreeMap;

use mistersmith_sdk::serde_json::Value;
use serde::Deserialize;

use crate::markdown;
use crate::open::Collection;
use crate::report::{Document, Question, Report, Sentiment, Summary};

/// The report of the parts that have come so far.
pub(crate) fn report(collection: &Collection) -> Report {
    let opening = &collection.opening;
    let missing = collection.not_there();
    let document = |(place, name): (usize, &String)| document(collection, place + 1, name);
    let question = |(place, asked): (usize, &String)| question(collection, place + 1, asked);
    let mut report = Report {
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
