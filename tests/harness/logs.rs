//! The log of a host: JSON lines on standard error.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::wait::until;

/// One line; a line that is no JSON, such as the error at the end of a command, has only `message`.
#[derive(Debug, Clone)]
pub struct Line(pub Value);

impl Line {
    fn read(text: &str) -> Self {
        let value = serde_json::from_str(text).ok().filter(Value::is_object);
        Self(value.unwrap_or_else(|| serde_json::json!({ "message": text })))
    }

    /// A field as text; empty where there is none.
    pub fn field(&self, name: &str) -> String {
        match self.0.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    pub fn message(&self) -> String {
        self.field("message")
    }

    pub fn level(&self) -> String {
        self.field("level")
    }
}

/// The lines so far, read by a background thread.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<Line>>>);

impl Logs {
    pub fn follow(source: impl Read + Send + 'static) -> Self {
        let logs = Self::default();
        let lines = logs.0.clone();
        std::thread::spawn(move || {
            for text in BufReader::new(source).split(b'\n') {
                let Ok(text) = text else { return };
                lines
                    .lock()
                    .unwrap()
                    .push(Line::read(&String::from_utf8_lossy(&text)));
            }
        });
        logs
    }

    pub fn all(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    pub fn find(&self, wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        self.all().into_iter().filter(wanted).collect()
    }

    /// Waits for a line whose message contains `text`.
    pub async fn saying(&self, text: &str) -> Line {
        self.first(&format!("the host logs {text:?}"), |line| {
            line.message().contains(text)
        })
        .await
    }

    /// Waits for a line that `wanted` accepts.
    pub async fn first(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        until(what, async || self.all().into_iter().find(&wanted)).await
    }

    /// The last lines, for the report of a failed test.
    pub fn tail(&self, count: usize) -> String {
        let all = self.all();
        let from = all.len().saturating_sub(count);
        all[from..]
            .iter()
            .map(|line| format!("{}\n", line.0))
            .collect()
    }
}
