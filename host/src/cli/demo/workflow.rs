//! The workflow of the demonstration: one request, and the report that many agents make of it.
//!
//! A coordinator distributes work, workers do it, a reporter collects it.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Deserialize;
use serde_json::json;

use super::documents::Document;
use super::feed::{self, Ids, Item};
use super::seen::Seen;
use crate::cli::output::{self, one_line};
use crate::cli::timeline;
use mistersmith_nats::Connection;

/// Number of documents in the report.
pub(super) const DOCUMENTS: usize = 2;

/// The questions to the librarians.
const QUESTIONS: [&str; 2] = [
    "How does a queue group balance the load?",
    "What happens to a message that nobody could handle?",
];

/// How long the workflow may continue without a visible event.
const SILENCE: Duration = Duration::from_secs(60);

/// Messages of each stream that the timeline searches.
const LOOKED_THROUGH: usize = 1000;

/// Widest line of the report, in characters.
const WIDTH: usize = 150;

/// A report, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    /// The ids of the missing parts.
    missing: Vec<String>,
    documents: Vec<Reported>,
    questions: Vec<Question>,
}

#[derive(Debug, Deserialize)]
struct Reported {
    name: String,
    words: Option<u64>,
    sentiment: Sentiment,
    summary: Option<Summary>,
}

#[derive(Debug, Deserialize)]
struct Sentiment {
    positive: u32,
    neutral: u32,
    negative: u32,
}

#[derive(Debug, Deserialize)]
struct Summary {
    summary: Vec<String>,
    keywords: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Question {
    question: String,
    answer: String,
    sources: Vec<String>,
}

/// Requests a report, waits for it, and prints its content and its timeline.
pub(super) async fn run(
    connection: &Connection,
    seen: &mut Seen,
    ids: &Ids,
    documents: &[Document],
) -> anyhow::Result<()> {
    let names: Vec<&str> = documents.iter().map(|document| &*document.name).collect();
    output::line(&format!(
        "a report on {} and {} questions is requested: a coordinator gives out the work",
        names.join(", "),
        QUESTIONS.len()
    ))?;
    seen.tally.note("a report is requested");
    feed::store(connection, request(ids, documents)?).await?;
    let report = wait(seen).await?;
    seen.tally.note("the report is there");
    output::line(&format!("\nThe report\n{}", report.text()))?;
    // Later messages would push it out of the part of the streams that is searched.
    let (timeline, _) = timeline::of(connection, &ids.report(), LOOKED_THROUGH).await?;
    output::line(&format!(
        "\nTimeline of its workflow\n{}\n",
        timeline.text(&ids.report(), output::is_terminal())
    ))
}

fn request(ids: &Ids, documents: &[Document]) -> anyhow::Result<Item> {
    let wanted = json!({
        "title": "What lies about on this machine",
        "documents": documents,
        "questions": QUESTIONS,
    });
    Ok(Item {
        subject: "work.reports.high.workflow".to_owned(),
        id: ids.report(),
        payload: Bytes::from(serde_json::to_vec(&wanted)?),
        content_type: "application/json",
    })
}

/// Waits for the report that the coordinator returns.
async fn wait(seen: &mut Seen) -> anyhow::Result<Report> {
    let progress = ProgressBar::new_spinner().with_prefix("report");
    progress.set_draw_target(if output::is_watched() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    loop {
        if let Some(report) = seen.tally.report.take() {
            progress.finish_and_clear();
            return serde_json::from_slice(&report).context("the report is none");
        }
        if !seen.hear(SILENCE).await {
            bail!(
                "nothing is heard of the report for {} s; look at the log above",
                SILENCE.as_secs()
            );
        }
        progress.set_message(format!("{} pieces of work are done", seen.tally.pieces()));
        progress.tick();
    }
}

impl Report {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for document in &self.documents {
            let felt = &document.sentiment;
            lines.push(format!(
                "  {}: {} words; {} positive, {} neutral, {} negative paragraphs",
                one_line(&document.name, WIDTH),
                document
                    .words
                    .map_or("?".to_owned(), |words| words.to_string()),
                felt.positive,
                felt.neutral,
                felt.negative
            ));
            if let Some(summary) = &document.summary {
                lines.push(format!(
                    "    about: {}",
                    one_line(&summary.keywords.join(", "), WIDTH)
                ));
                let sentences = summary.summary.iter();
                lines.extend(sentences.map(|one| format!("    {}", one_line(one, WIDTH))));
            }
        }
        for question in &self.questions {
            lines.push(format!("  {}", one_line(&question.question, WIDTH)));
            lines.push(format!("    {}", one_line(&question.answer, WIDTH)));
            lines.push(format!(
                "    so say {}",
                one_line(&question.sources.join(", "), WIDTH)
            ));
        }
        if !self.missing.is_empty() {
            lines.push(format!(
                "  missing: {}",
                one_line(&self.missing.join(", "), WIDTH)
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_is_shown_on_few_lines() {
        let report: Report = serde_json::from_value(json!({
            "report": "r-0", "title": "T", "term": 1, "complete": false, "missing": ["summary/2"],
            "documents": [
                {"name": "a.md", "words": 9, "sentiment": {"positive": 1, "neutral": 2, "negative": 0},
                 "summary": {"title": "A", "summary": ["One."], "keywords": ["k", "l"], "readability": 60.0}},
                {"name": "b.md", "words": null, "sentiment": {"positive": 0, "neutral": 0, "negative": 0},
                 "summary": null},
            ],
            "questions": [{"question": "why?", "answer": "So.", "sources": ["librarian-001"]}],
            "workers": {}, "markdown": "",
        }))
        .unwrap();
        let expected = "  a.md: 9 words; 1 positive, 2 neutral, 0 negative paragraphs
    about: k, l
    One.
  b.md: ? words; 0 positive, 0 neutral, 0 negative paragraphs
  why?
    So.
    so say librarian-001
  missing: summary/2";
        assert_eq!(report.text(), expected);
    }

    #[test]
    fn the_request_is_work_for_the_coordinator() {
        let ids = Ids::new();
        let item = request(&ids, &[]).unwrap();
        assert_eq!(item.id, ids.report());
        assert!(ids.has(&item.id));
    }
}
