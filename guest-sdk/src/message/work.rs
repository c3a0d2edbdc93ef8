//! A work item, with the parts of its subject.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use super::Message;
use crate::error::{Error, Result};

/// How urgent a work item is. `Critical` is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Taken last, but never starved.
    Low,
    /// Taken twice as often as `Low`; what a subject without a priority means.
    #[default]
    Normal,
    /// Taken four times as often as `Low`.
    High,
    /// Taken eight times as often as `Low`.
    Critical,
}

impl Priority {
    /// Its name in a subject, such as `critical`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Low, Self::Normal, Self::High, Self::Critical]
            .into_iter()
            .find(|priority| priority.as_str() == text)
            .ok_or_else(|| Error::reject(format_args!("`{text}` is not a priority")))
    }
}

/// A work item. It is a [`Message`] as well.
///
/// It is delivered at least once: the same item can come again after a crash, with the same
/// [`request id`](crate::context::request_id).
#[derive(Debug)]
pub struct Work {
    message: Message,
    name: WorkName,
    priority: Priority,
    retries: u32,
}

impl Work {
    pub(crate) fn new(message: Message, priority: Priority, retries: u32) -> Result<Self> {
        let Some(name) = WorkName::parse(message.subject()) else {
            return Err(Error::reject(format_args!(
                "`{}` is not the subject of a work item",
                message.subject()
            )));
        };
        Ok(Self {
            message,
            name,
            priority,
            retries,
        })
    }

    /// The domain, `nlp` in `work.v2.nlp.high.sentiment`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.name.domain
    }

    /// The version, `v2` in `work.v2.nlp.high.sentiment`; none where the subject names none.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.name.version.as_deref()
    }

    /// The task, `sentiment` in `work.v2.nlp.high.sentiment`.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.name.task
    }

    /// The priority; [`Priority::Normal`] where the subject names none.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// How many times it was tried before: 0 at first.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }
}

impl Deref for Work {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// The parts of the subject of a work item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WorkName {
    domain: String,
    version: Option<String>,
    pub(crate) priority: Priority,
    task: String,
}

impl WorkName {
    /// Takes `work.<domain>.<task>`, `work.<domain>.<priority>.<task>`, and both after `work.v<N>`;
    /// none for any other subject.
    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut rest = subject.strip_prefix("work.")?;
        let mut version = None;
        if let Some((first, after)) = rest.split_once('.') {
            if is_version(first) {
                version = Some(first.to_owned());
                rest = after;
            }
        }
        let tokens: Vec<&str> = rest.split('.').collect();
        let (domain, priority, task) = match *tokens.as_slice() {
            [domain, task] => (domain, Priority::Normal, task),
            [domain, priority, task] => (domain, priority.parse().ok()?, task),
            _ => return None,
        };
        if domain.is_empty() || task.is_empty() || is_version(domain) {
            return None;
        }
        Some(Self {
            domain: domain.to_owned(),
            version,
            priority,
            task: task.to_owned(),
        })
    }
}

/// `v<N>` is a version, never a domain.
fn is_version(token: &str) -> bool {
    token
        .strip_prefix('v')
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn subjects_of_work_items() {
        let some = |domain: &str, version: Option<&str>, priority, task: &str| {
            Some(WorkName {
                domain: domain.into(),
                version: version.map(Into::into),
                priority,
                task: task.into(),
            })
        };
        for (subject, expected) in [
            ("work.nlp.test", some("nlp", None, Priority::Normal, "test")),
            (
                "work.nlp.critical.test",
                some("nlp", None, Priority::Critical, "test"),
            ),
            (
                "work.v2.nlp.analysis",
                some("nlp", Some("v2"), Priority::Normal, "analysis"),
            ),
            (
                "work.v10.nlp.low.analysis",
                some("nlp", Some("v10"), Priority::Low, "analysis"),
            ),
            ("work.nlp.high", some("nlp", None, Priority::Normal, "high")),
            ("work.vision.x", some("vision", None, Priority::Normal, "x")),
            ("work.v.x", some("v", None, Priority::Normal, "x")),
            ("work.nlp.urgent.test", None),
            ("work.v2.nlp", None),
            ("work.v2.v3.x", None),
            ("work.nlp", None),
            ("work.nlp.", None),
            ("work..x", None),
            ("work.a.high.b.c", None),
            ("other.nlp.test", None),
            ("work", None),
        ] {
            assert_eq!(WorkName::parse(subject), expected, "{subject}");
        }
    }

    #[test]
    fn priorities_are_ordered_and_named() {
        assert!(Priority::Critical > Priority::High);
        assert!(Priority::High > Priority::Normal);
        assert!(Priority::Normal > Priority::Low);
        for name in ["critical", "high", "normal", "low"] {
            assert_eq!(name.parse::<Priority>().unwrap().to_string(), name);
        }
        assert!("urgent".parse::<Priority>().unwrap_err().is_reject());
    }

    #[test]
    fn other_subjects_are_rejected() {
        let message = Message::new("a.b".into(), Vec::new(), 0);
        let error = Work::new(message, Priority::High, 0).unwrap_err();
        let expected = "`a.b` is not the subject of a work item";
        assert_eq!(error, Error::reject(expected));
    }
}
