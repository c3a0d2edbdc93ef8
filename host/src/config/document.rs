//! A TOML file, and the mistakes found in it so far.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::section::Section;
use super::{Finding, Findings};
use crate::files::{self, ReadError};
use crate::limits::{MAX_FINDINGS, MAX_MANIFEST};

/// The text of a file, and where its lines begin.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file, which must lie in `folder` where one is named. Fails with the finding that says
    /// why it cannot be used at all.
    pub(super) fn read(file: &Path, folder: Option<&Path>) -> Result<Self, Findings> {
        let fail = |line, problem: String, fix: &str| {
            let finding = Finding {
                file: file.to_owned(),
                line,
                key: String::new(),
                problem,
                fix: fix.to_owned(),
            };
            Findings::from_iter([finding])
        };
        let read = match folder {
            Some(folder) => files::read_within(file, folder, MAX_MANIFEST),
            None => files::read(file, MAX_MANIFEST),
        };
        let bytes = read.map_err(|error| match error {
            ReadError::TooLarge(most) => fail(
                0,
                format!("it has more than {}", super::show_size(most)),
                "make it shorter; wildcards stand for many subjects",
            ),
            ReadError::Outside(_) => fail(0, error.to_string(), "put the file itself there"),
            _ => fail(
                0,
                format!("it cannot be read: {error}"),
                "make it a readable file",
            ),
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                file: file.to_owned(),
                text,
            }),
            Err(e) => {
                let good = e
                    .as_bytes()
                    .get(..e.utf8_error().valid_up_to())
                    .unwrap_or_default();
                let line = 1 + good.iter().filter(|b| **b == b'\n').count();
                Err(fail(
                    line,
                    "it is not UTF-8".to_owned(),
                    "save it as UTF-8 text",
                ))
            }
        }
    }

    /// Walks through the file: `walk` takes what it knows out of the whole, and notes what is wrong
    /// with it. The outcome is its value, or every mistake at once.
    pub(super) fn walk<T>(
        &self,
        walk: impl FnOnce(Section<'_>) -> Option<T>,
    ) -> Result<T, Findings> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let notes = Notes::new(&self.file, &self.text);
        for error in &errors {
            let fix = "correct the TOML of this line".to_owned();
            notes.note(
                error.span().unwrap_or_default(),
                "",
                error.message().to_owned(),
                fix,
            );
        }
        notes.start_quiet();
        let value = walk(Section::root(&notes, &root));
        notes.into_result(value)
    }
}

/// Collects findings while a file is walked through.
pub(super) struct Notes<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    found: RefCell<Vec<Finding>>,
    /// Lines whose TOML is broken: what was recovered from them is a guess and gets no findings.
    broken: RefCell<BTreeSet<usize>>,
}

impl<'a> Notes<'a> {
    fn new(file: &'a Path, text: &'a str) -> Self {
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
            key: key.to_owned(),
            problem,
            fix,
        });
    }

    /// Notes that something is missing; not where broken TOML may be the reason.
    pub(super) fn note_missing(&self, span: Range<usize>, key: &str, problem: String, fix: String) {
        if self.broken.borrow().is_empty() {
            self.note(span, key, problem, fix);
        }
    }

    /// From here on, lines that have a finding already are not reported again.
    fn start_quiet(&self) {
        let lines = self
            .found
            .borrow()
            .iter()
            .map(|finding| finding.line)
            .collect();
        *self.broken.borrow_mut() = lines;
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

    fn into_result<T>(self, value: Option<T>) -> Result<T, Findings> {
        let mut found = self.found.into_inner();
        found.dedup();
        match value {
            Some(value) if found.is_empty() => Ok(value),
            _ => Err(found.into_iter().collect()),
        }
    }
}
