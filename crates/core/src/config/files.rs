//! Files that a manifest or the host's configuration names.

use std::path::{Component, Path, PathBuf};

use super::Schema;
use super::item::Item;
use super::show_size;
use crate::files::{self, ReadError};
use crate::limits::MAX_SCHEMA;

/// What to do when a file is not there.
pub(super) const ABSENT: &str = "write the name of a file that is there";

/// A regular file within `dir`, links followed. A path that leads out of it is refused even where
/// it leads back in: a plugin that somebody drops into the folder must not point at other people's
/// files.
///
/// `absent` says what to do when there is no such file.
pub(super) fn within(item: &Item<'_>, dir: &Path, example: &str, absent: &str) -> Option<PathBuf> {
    let text = item.text(example)?;
    let fix = format!(
        "put the file into {} and write its name there",
        dir.display()
    );
    if text.is_empty() || text.contains('\0') {
        item.note(format!("{} is not a file name", item.shown()), fix);
        return None;
    }
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(text).components().all(plain) {
        item.note(
            format!("{} leads out of the plugin's folder", item.shown()),
            fix,
        );
        return None;
    }
    let path = dir.join(text);
    if !path.is_file() {
        item.note(format!("there is no file {}", path.display()), absent);
        return None;
    }
    if !files::leads_within(&path, dir) {
        item.note(
            format!("{} is a link out of the plugin's folder", item.shown()),
            fix,
        );
        return None;
    }
    Some(path)
}

/// A file that the operator names, anywhere; a relative path begins at `base`.
pub(super) fn existing(item: &Item<'_>, base: &Path, example: &str) -> Option<PathBuf> {
    let path = folder(item, base, example)?;
    if path.is_file() {
        return Some(path);
    }
    item.note(format!("there is no file {}", path.display()), ABSENT);
    None
}

/// A folder, which need not exist; a relative path begins at `base`.
pub(super) fn folder(item: &Item<'_>, base: &Path, example: &str) -> Option<PathBuf> {
    let text = item.text(example)?;
    if text.is_empty() || text.contains('\0') {
        item.note(
            format!("{} is not a path", item.shown()),
            format!("write it like {example}"),
        );
        return None;
    }
    Some(base.join(text))
}

/// A JSON schema in a file within `dir`.
pub(super) fn schema(item: &Item<'_>, dir: &Path) -> Option<Schema> {
    let path = within(item, dir, "\"task.schema.json\"", ABSENT)?;
    let compiled = match files::read_within(&path, dir, MAX_SCHEMA) {
        Err(ReadError::TooLarge(most)) => Err(format!("has more than {}", show_size(most))),
        Err(e) => Err(format!("cannot be read: {e}")),
        Ok(text) => Schema::compile(&path, &text).map_err(|e| format!("is not a JSON schema: {e}")),
    };
    match compiled {
        Ok(schema) => Some(schema),
        Err(problem) => {
            let fix = "make it one that refers to nothing outside of itself and has no \
                       look-around in patterns";
            item.note(format!("{} {problem}", item.shown()), fix);
            None
        }
    }
}
