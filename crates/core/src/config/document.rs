//! A TOML file: its text, parsed, and handed to the function that reads its tables.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::notes::Notes;
use super::section::Section;
use super::{Finding, Findings};
use crate::digest::Digest;
use crate::files::{self, ReadError};
use crate::limits::MAX_MANIFEST;

/// The text of a file, and where its lines begin.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file, which must lie in `folder` where one is named. Fails with the finding that
    /// says why it cannot be used at all.
    pub(super) fn read(file: &Path, folder: Option<&Path>) -> Result<Self, Findings> {
        let fail = |problem: String, fix: &str| failure(file, 0, problem, fix);
        let read = match folder {
            Some(folder) => files::read_within(file, folder, MAX_MANIFEST),
            None => files::read(file, MAX_MANIFEST),
        };
        let bytes = read.map_err(|error| match error {
            ReadError::TooLarge(most) => fail(
                format!("it has more than {}", super::show_size(most)),
                "make it shorter; wildcards stand for many subjects",
            ),
            ReadError::Outside(_) => fail(error.to_string(), "put the file itself there"),
            _ => fail(
                format!("it cannot be read: {error}"),
                "make it a readable file",
            ),
        })?;
        Self::new(file, bytes)
    }

    /// The content of a file, which must be text.
    pub(super) fn new(file: &Path, bytes: Vec<u8>) -> Result<Self, Findings> {
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
                let problem = "it is not UTF-8".to_owned();
                Err(failure(file, line, problem, "save it as UTF-8 text"))
            }
        }
    }

    /// The digest of the file as it was read.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Reads the tables: `walk` takes the known keys out of the root and notes the mistakes.
    /// Returns its value, or every mistake at once.
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

/// The one finding about a file that cannot be used at all.
fn failure(file: &Path, line: usize, problem: String, fix: &str) -> Findings {
    let finding = Finding {
        file: file.to_owned(),
        line,
        key: String::new(),
        problem,
        fix: fix.to_owned(),
    };
    Findings::from_iter([finding])
}
