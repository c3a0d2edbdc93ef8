//! The plan of a report: its work items and its parts.

use mistersmith_sdk::json;
use mistersmith_sdk::serde_json::Value;
use serde::{Deserialize, Serialize};

/// Shorter paragraphs are headings and list items, without a sentiment.
const SHORTEST: usize = 60;

/// The request for a report.
#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) title: String,
    pub(crate) documents: Vec<Document>,
    #[serde(default)]
    pub(crate) questions: Vec<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Work to be published, and every part that will come: of the work, and of the pipelines.
pub(crate) struct Plan {
    pub(crate) tasks: Vec<Task>,
    pub(crate) parts: Vec<String>,
}

/// One work item. Its payload has the id of its part, and the result repeats it.
#[derive(Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) subject: &'static str,
    pub(crate) payload: Value,
}

/// The part that the pipeline of the document at this place makes.
pub(crate) fn summary_id(place: usize) -> String {
    format!("summary/{}", place + 1)
}

impl Plan {
    /// The sentiment of some paragraphs of each document, its word count, and every question.
    pub(crate) fn of(request: &Request, paragraphs: usize) -> Self {
        let mut plan = Self {
            tasks: Vec::new(),
            parts: Vec::new(),
        };
        for (place, document) in request.documents.iter().enumerate() {
            let number = place + 1;
            plan.parts.push(summary_id(place));
            let counted = json!({"id": format!("words/{number}"), "text": document.text});
            plan.add("work.data.normal.wordcount", counted);
            let texts = document.text.split("\n\n").map(str::trim);
            let prose = texts.filter(|text| text.len() >= SHORTEST && is_prose(text));
            for (place, text) in prose.take(paragraphs).enumerate() {
                let id = format!("sentiment/{number}/{}", place + 1);
                plan.add("work.nlp.high.sentiment", json!({"id": id, "text": text}));
            }
        }
        for (place, question) in request.questions.iter().enumerate() {
            let asked = json!({"id": format!("answer/{}", place + 1), "question": question});
            plan.add("work.research.critical.question", asked);
        }
        plan
    }

    fn add(&mut self, subject: &'static str, payload: Value) {
        let id = payload.get("id").and_then(Value::as_str);
        self.parts.extend(id.map(str::to_owned));
        self.tasks.push(Task { subject, payload });
    }
}

/// Neither a table nor code.
fn is_prose(text: &str) -> bool {
    !text.starts_with(['|', '`', '<', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_a_part() {
        let long = "A paragraph that is long enough to say something about how it feels.";
        let request = Request {
            title: "T".into(),
            documents: vec![Document {
                name: "a.md".into(),
                text: format!("# Title\n\n{long}\n\n| {long} |\n\nshort\n\n{long}\n\n{long}"),
            }],
            questions: vec!["why?".into()],
        };
        let plan = Plan::of(&request, 2);
        let expected = [
            "summary/1",
            "words/1",
            "sentiment/1/1",
            "sentiment/1/2",
            "answer/1",
        ];
        assert_eq!(plan.parts, expected);
        let subjects: Vec<&str> = plan.tasks.iter().map(|task| task.subject).collect();
        assert_eq!(
            subjects,
            [
                "work.data.normal.wordcount",
                "work.nlp.high.sentiment",
                "work.nlp.high.sentiment",
                "work.research.critical.question",
            ]
        );
        assert!(plan.tasks.contains(&Task {
            subject: "work.research.critical.question",
            payload: json!({"id": "answer/1", "question": "why?"}),
        }));
    }
}
