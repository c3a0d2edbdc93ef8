//! Extracts the text of a document: the first stage of the pipeline
//! `extract → preprocess → analyze → summarize`.
//!
//! Takes a document as it is, plain text or Markdown (`Content-Type: text/markdown`, or it looks
//! like it), or `{"name": "README.md", "text": "…", "format": "markdown"}`, of which only `text`
//! must be there. Returns the readable text:
//!
//! ```json
//! {"name": "README.md", "format": "markdown", "title": "MisterSmith",
//!  "headings": [{"level": 1, "text": "MisterSmith"}], "paragraphs": ["It runs agents.", "…"]}
//! ```

mod inline;
mod markdown;
mod plain;

use mistersmith_sdk::{Agent, Error, Message, Reply, Result, Stage, export_agent};
use serde::{Deserialize, Serialize};

struct Extract;

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    name: String,
    text: String,
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Markdown,
    Plain,
}

#[derive(Serialize)]
struct Output {
    name: String,
    format: Format,
    #[serde(flatten)]
    document: Document,
}

/// The readable text of a document.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Document {
    /// The first heading, or the first line; empty when there is none.
    title: String,
    headings: Vec<Heading>,
    /// Without markup, each on one line.
    paragraphs: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Heading {
    /// 1 for the largest.
    level: usize,
    text: String,
}

impl Agent for Extract {
    fn start() -> Result<Self> {
        Ok(Self)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.execute(input)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let input = read(message)?;
        let format = input
            .format
            .unwrap_or_else(|| guess(&input.name, &input.text));
        let document = match format {
            Format::Markdown => markdown::read(&input.text),
            Format::Plain => plain::read(&input.text),
        };
        if document.paragraphs.is_empty() {
            return Err(Error::reject("there is no text in the document"));
        }
        Reply::json(&Output {
            name: input.name,
            format,
            document,
        })
    }
}

fn read(message: &Message) -> Result<Input> {
    if message.is_json() {
        return message.json();
    }
    let named = message.content_type().unwrap_or_default();
    Ok(Input {
        name: String::new(),
        text: message.text()?.to_owned(),
        format: named
            .starts_with("text/markdown")
            .then_some(Format::Markdown),
    })
}

/// By the ending of the name, else by how the text looks.
fn guess(name: &str, text: &str) -> Format {
    let looks_like_it = || text.lines().any(|line| markdown::heading(line).is_some());
    if name.ends_with(".md") || (!name.ends_with(".txt") && looks_like_it()) {
        Format::Markdown
    } else {
        Format::Plain
    }
}

export_agent!(Extract);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::{Bus, Delivery};

    const SUBJECT: &str = "pipeline.doc-1.01.extract";

    #[test]
    fn takes_json_markdown_and_plain_text() {
        let mut agent = Bus::new().start::<Extract>().unwrap();
        let expected = json!({
            "name": "a.md", "format": "markdown", "title": "Title",
            "headings": [{"level": 1, "text": "Title"}], "paragraphs": ["Some text."],
        });
        let text = "# Title\n\nSome *text*.";
        let input = json!({"name": "a.md", "text": text});
        assert_eq!(agent.stage(SUBJECT, input).unwrap().to_value(), expected);
        let typed = Delivery::stage(SUBJECT, "*text*").header("Content-Type", "text/markdown");
        let reply = agent.deliver(typed).unwrap().to_value();
        assert_eq!(
            (&reply["name"], &reply["paragraphs"][0]),
            (&json!(""), &json!("text"))
        );
        let reply = agent.stage(SUBJECT, "3 * 4 * 5").unwrap().to_value();
        assert_eq!(reply["format"], "plain");
        assert_eq!(reply["paragraphs"][0], "3 * 4 * 5");
    }

    #[test]
    fn rejects_what_has_no_text() {
        let mut agent = Bus::new().start::<Extract>().unwrap();
        for bad in [
            &b""[..],
            b"# Only a heading",
            b"\xff",
            b"{}",
            br#"{"text": " "}"#,
        ] {
            assert!(agent.stage(SUBJECT, bad).unwrap_err().is_reject());
        }
    }

    #[test]
    fn the_name_decides_before_the_look() {
        for (name, text, format) in [
            ("", "# Heading", Format::Markdown),
            ("a.txt", "# a comment", Format::Plain),
            ("a.md", "words", Format::Markdown),
            ("", "#hashtag", Format::Plain),
        ] {
            assert_eq!(guess(name, text), format, "{name} {text}");
        }
    }
}
