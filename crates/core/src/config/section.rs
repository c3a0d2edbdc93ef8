//! One table of a TOML file; a key that no reader has asked for is a mistake.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::item::Item;
use super::nearest::nearest;
use super::notes::Notes;

/// A table, and which of its keys are known.
pub(super) struct Section<'a> {
    pub(super) notes: &'a Notes<'a>,
    /// Its name with those around it, such as `permissions`; empty for the whole file.
    pub(super) key: String,
    /// Where it stands.
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(notes: &'a Notes<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self::new(notes, String::new(), 0..0, table.get_ref())
    }

    fn new(notes: &'a Notes<'a>, key: String, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self {
            notes,
            key,
            span,
            table,
            known: RefCell::default(),
        }
    }

    /// The value of an item, which must be a table; `example` says how to write one.
    pub(super) fn of(item: &Item<'a>, example: &str) -> Option<Self> {
        let Some(table) = item.value.as_table() else {
            item.note(format!("{} is not a table", item.shown()), example);
            return None;
        };
        Some(Self::new(
            item.notes,
            item.key.clone(),
            item.span.clone(),
            table,
        ))
    }

    /// The value of a key, if it is there. From now on the key is known.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key).map(|value| self.item(key, value))
    }

    /// The value of a key that must be there; `example` is a line that would do.
    pub(super) fn need(&self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            let fix = format!("add {example}");
            let problem = "it is missing".to_owned();
            self.notes
                .note_missing(self.span.clone(), &self.full(key), problem, fix);
        }
        item
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let item = self.get(key)?;
        Self::of(&item, &format!("write [{}] above its keys", item.key))
    }

    /// A table that must be there; `example` is a line that would do.
    pub(super) fn need_section(&self, key: &'static str, example: &str) -> Option<Section<'a>> {
        let item = self.need(key, example)?;
        Self::of(&item, &format!("write [{}] above its keys", item.key))
    }

    /// The tables of an array, `[[key]]`; at most `max` of them.
    pub(super) fn sections(&self, key: &'static str, max: usize) -> Vec<Section<'a>> {
        let Some(item) = self.get(key) else {
            return Vec::new();
        };
        let fix = format!("write [[{}]] above its keys", item.key);
        let items = item.items(&format!("[[{}]] above its keys", item.key), max);
        items
            .iter()
            .filter_map(|item| Self::of(item, &fix))
            .collect()
    }

    /// Every key with its value, for tables whose keys are free.
    pub(super) fn entries(&self) -> Vec<(&'a str, Item<'a>)> {
        let entries = self.table.iter();
        entries
            .map(|(key, value)| (key.get_ref().as_ref(), self.item(key.get_ref(), value)))
            .collect()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn close(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let fix = match nearest(name, &known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.notes.note(
                key.span(),
                &self.full(name),
                "this key is not known".to_owned(),
                fix,
            );
        }
    }

    /// Notes a mistake of the table as a whole.
    pub(super) fn note(&self, problem: impl Into<String>, fix: impl Into<String>) {
        self.notes
            .note(self.span.clone(), &self.key, problem.into(), fix.into());
    }

    fn item(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Item<'a> {
        Item::new(self.notes, self.full(key), value)
    }

    fn full(&self, key: &str) -> String {
        let key = shown(key);
        if self.key.is_empty() {
            key
        } else {
            format!("{}.{key}", self.key)
        }
    }
}

/// A key as people write it: quoted when it is no bare key, so that it cannot disturb a terminal.
fn shown(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if key.len() <= 64 && !key.is_empty() && key.chars().all(bare) {
        return key.to_owned();
    }
    crate::names::quoted(key)
}
