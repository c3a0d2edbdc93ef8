//! One value of a TOML file, read as the type that its key has; a mistake is noted at its line.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::nearest::nearest;
use super::notes::Notes;
use super::units;
use crate::limits::Bounded;
use crate::names::{NameError, disturbs};

/// A value with its key and its place. The readers return nothing when they noted a mistake.
pub(super) struct Item<'a> {
    pub(super) notes: &'a Notes<'a>,
    /// The key with its sections, such as `limits.memory`.
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    pub(super) fn new(notes: &'a Notes<'a>, key: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            notes,
            key,
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Notes a mistake.
    pub(super) fn note(&self, problem: impl Into<String>, fix: impl Into<String>) {
        self.notes
            .note(self.span.clone(), &self.key, problem.into(), fix.into());
    }

    /// File and line, such as `mistersmith.toml:12`.
    pub(super) fn place(&self) -> String {
        self.notes.place(&self.span)
    }

    /// The value as it stands in the file, cut to a readable length.
    pub(super) fn shown(&self) -> String {
        const SHOWN: usize = 64;
        let text = self.notes.text.get(self.span.clone()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let visible = line.chars().filter(|c| !disturbs(*c));
        let mut shown: String = visible.take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        shown
    }

    /// A text.
    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong("a text", example);
        }
        text
    }

    /// A line of text for people: no control characters, at most `max` bytes.
    pub(super) fn line(&self, max: usize, example: &str) -> Option<String> {
        let text = self.text(example)?;
        if text.len() > max || text.chars().any(char::is_control) {
            let fix = format!("write one line of at most {max} bytes");
            self.note(
                format!("{} is too long or has control characters", self.shown()),
                fix,
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// A name, by its own rules.
    pub(super) fn name<T: FromStr<Err = NameError>>(&self, example: &str) -> Option<T> {
        match self.text(example)?.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.note(error.to_string(), format!("write it like {example}"));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong("a yes or no", "true");
        }
        value
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, bounds: Bounded<u32>) -> Option<u32> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong("a whole number", &bounds.default.to_string());
            return None;
        };
        let wide = i64::from_str_radix(integer.as_str(), integer.radix());
        // A number that does not fit into 64 bits is out of any bounds, on one of the two sides.
        let far = if integer.as_str().starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        };
        let bounds = [bounds.min, bounds.max].map(i64::from);
        self.within(wide.unwrap_or(far), bounds, |n| n.to_string())?
            .try_into()
            .ok()
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, bounds: Bounded<Duration>) -> Option<Duration> {
        let example = format!("{:?}", units::show_duration(bounds.default));
        let read = self.value.as_str().and_then(units::duration);
        let duration = self.or_wrong(read, "a duration", &example)?;
        let shown = |d: Duration| format!("{:?}", units::show_duration(d));
        self.within(duration, [bounds.min, bounds.max], shown)
    }

    /// A size in bytes within bounds; also a bare number.
    pub(super) fn size(&self, bounds: Bounded<u64>) -> Option<u64> {
        let example = format!("{:?}", units::show_size(bounds.default));
        let bare = self.value.as_integer().map(|i| i.as_str().to_owned());
        let text = self.value.as_str().map(str::to_owned).or(bare);
        let size = self.or_wrong(text.and_then(|t| units::size(&t)), "a size", &example)?;
        let shown = |n: u64| format!("{:?}", units::show_size(n));
        self.within(size, [bounds.min, bounds.max], shown)
    }

    /// A rate per second within bounds.
    pub(super) fn rate(&self, bounds: Bounded<u32>) -> Option<u32> {
        let example = format!("{:?}", units::show_rate(bounds.default));
        let rate = self.or_wrong(
            self.value.as_str().and_then(units::rate),
            "a rate",
            &example,
        )?;
        let shown = |n: u32| format!("{:?}", units::show_rate(n));
        self.within(rate, [bounds.min, bounds.max], shown)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let listed = words
            .iter()
            .map(|w| format!("{w:?}"))
            .collect::<Vec<_>>()
            .join(" or ");
        let text = self.text(&listed)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let fix = match nearest(text, &words) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("write {listed}"),
            };
            self.note(format!("{} is not known here", self.shown()), fix);
        }
        found.map(|(_, value)| *value)
    }

    /// The values of an array, of which there may be `max`.
    pub(super) fn items(&self, example: &str, max: usize) -> Vec<Item<'a>> {
        let Some(array) = self.value.as_array() else {
            self.wrong("a list", example);
            return Vec::new();
        };
        if array.len() > max {
            self.note(
                format!("the list has {} entries", array.len()),
                format!("write at most {max}"),
            );
            return Vec::new();
        }
        let item = |value| Item::new(self.notes, self.key.clone(), value);
        array.iter().map(item).collect()
    }

    /// A list with nothing in it.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|array| array.is_empty())
    }

    fn wrong(&self, expected: &str, example: &str) {
        self.note(
            format!("{} is not {expected}", self.shown()),
            format!("write it like {example}"),
        );
    }

    fn or_wrong<T>(&self, value: Option<T>, expected: &str, example: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(expected, example);
        }
        value
    }

    fn within<T: PartialOrd + Copy, S: Display>(
        &self,
        value: T,
        [min, max]: [T; 2],
        shown: impl Fn(T) -> S,
    ) -> Option<T> {
        if value < min {
            let fix = format!("write {} or more", shown(min));
            self.note(format!("{} is too little", self.shown()), fix);
            return None;
        }
        if value > max {
            let fix = format!("write {} or less", shown(max));
            self.note(format!("{} is too much", self.shown()), fix);
            return None;
        }
        Some(value)
    }
}
