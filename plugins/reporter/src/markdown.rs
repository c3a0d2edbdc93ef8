//! The report as Markdown.

use std::fmt::Write as _;

use crate::report::{Document, Question, Report};

/// Writes a report as Markdown.
pub(crate) fn write(report: &Report) -> String {
    let mut out = format!("# {}\n", report.title);
    for each in &report.documents {
        let _ = writeln!(out, "\n{}", document(each));
    }
    if !report.questions.is_empty() {
        out.push_str("\n## Questions\n");
        for each in &report.questions {
            let _ = writeln!(out, "\n{}", question(each));
        }
    }
    out.push_str("\n## Who did the work\n\n");
    for (agent, results) in &report.workers {
        let _ = writeln!(out, "- {agent}: {results}");
    }
    if !report.complete {
        let _ = writeln!(out, "\nMissing: {}", report.missing.join(", "));
    }
    out
}

fn document(document: &Document) -> String {
    let mut out = format!("## {}\n\n", document.name);
    match &document.summary {
        Some(summary) => {
            let _ = writeln!(out, "{}\n", summary.summary.join(" "));
            let _ = writeln!(out, "- about: {}", summary.keywords.join(", "));
            if let Some(score) = summary.readability {
                let _ = writeln!(out, "- reading ease: {score:.0}");
            }
        }
        None => out.push_str("There is no summary.\n\n"),
    }
    if let Some(words) = document.words {
        let _ = writeln!(out, "- words: {words}");
    }
    let felt = &document.sentiment;
    let _ = write!(
        out,
        "- paragraphs: {} positive, {} neutral, {} negative",
        felt.positive, felt.neutral, felt.negative
    );
    out
}

fn question(question: &Question) -> String {
    let (answer, from) = if question.answer.is_empty() {
        ("Nobody knows.", String::new())
    } else {
        (
            &*question.answer,
            format!(" ({})", question.sources.join(", ")),
        )
    };
    format!("**{}** {answer}{from}", question.question)
}
