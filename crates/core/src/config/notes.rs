//! The mistakes found in a TOML file, each with its line.
//!
//! A line has at most one finding when its TOML is broken: without this rule one missing quote
//! would be reported once more for each value that was recovered from the rest of the line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::{Finding, Findings};
use crate::limits::MAX_FINDINGS;
use crate::names::disturbs;

/// Collects findings while a file is walked through.
pub(super) struct Notes<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    found: RefCell<Vec<Finding>>,
    /// Lines whose TOML is broken: what was recovered from them is a guess and gets no findings.
    broken: RefCell<BTreeSet<usize>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            found: RefCell::default(),
            broken: RefCell::default(),
        }
    }

    /// Notes a mistake at a place of the text; beyond [`MAX_FINDINGS`] nobody reads on.
    pub(super) fn note(&self, span: Range<usize>, key: &str, problem: String, fix: String) {
        if self.found.borrow().len() >= MAX_FINDINGS {
            return;
        }
        let line = self.line(span.start);
        if self.broken.borrow().contains(&line) {
            return;
        }
        self.found.borrow_mut().push(Finding {
            file: self.file.to_owned(),
            line,
            key: readable(key),
            problem: readable(&problem),
            fix: readable(&fix),
        });
    }

    /// Notes that something is missing; not where broken TOML may be the reason.
    pub(super) fn note_missing(&self, span: Range<usize>, key: &str, problem: String, fix: String) {
        if self.broken.borrow().is_empty() {
            self.note(span, key, problem, fix);
        }
    }

    /// From here on, lines that have a finding already are not reported again.
    pub(super) fn start_quiet(&self) {
        let lines = self
            .found
            .borrow()
            .iter()
            .map(|finding| finding.line)
            .collect();
        *self.broken.borrow_mut() = lines;
    }

    /// Is there no mistake so far?
    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// File and line of a place of the text.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.file.display(), self.line(span.start))
    }

    fn line(&self, offset: usize) -> usize {
        let before = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        // What is missing at the end is missed behind the last line break.
        line.min(self.text.lines().count().max(1))
    }

    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, Findings> {
        let mut found = self.found.into_inner();
        found.dedup();
        match value {
            Some(value) if found.is_empty() => Ok(value),
            _ => Err(found.into_iter().collect()),
        }
    }
}

/// A text without what would disturb the line that it is shown in: keys and values come from the
/// file.
fn readable(text: &str) -> String {
    text.chars().filter(|c| !disturbs(*c)).collect()
}
