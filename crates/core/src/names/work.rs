//! The four forms of a work subject.

use std::fmt;
use std::str::FromStr;

use super::{NameError, Priority, Token, subject};

/// The subject of a work item, parsed from any of its four forms:
/// `work.<domain>.<priority>.<task>`, `work.<domain>.<task>` (normal priority), and the same two
/// behind `work.v<N>`. `v<N>` is never a domain, so no subject has two readings.
///
/// Domain and task are what the publisher wrote: any valid NATS token, not only a [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkSubject {
    /// `v2` of `work.v2.…`; none in the plain form.
    pub version: Option<Token>,
    /// The domain.
    pub domain: String,
    /// The priority; normal where the subject has none.
    pub priority: Priority,
    /// The task.
    pub task: String,
}

impl FromStr for WorkSubject {
    type Err = NameError;

    /// Fails on what no consumer takes: another number of tokens, or a third token that is no
    /// priority.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        subject::check_subject(text)?;
        let fail = |reason| NameError::new(text, "a work subject", reason);
        let tokens: Vec<&str> = text.split('.').collect();
        let (version, rest) = match tokens.as_slice() {
            ["work", version, rest @ ..] if is_version(version) => (Some(version.parse()?), rest),
            ["work", rest @ ..] => (None, rest),
            _ => return Err(fail("it does not begin with \"work.\"")),
        };
        let (domain, priority, task) = match rest {
            [domain, task] => (*domain, Priority::Normal, *task),
            [domain, priority, task] => (*domain, priority.parse()?, *task),
            _ => return Err(fail("write it like \"work.<domain>.<priority>.<task>\"")),
        };
        if is_version(domain) {
            return Err(fail("a version can only be its second token"));
        }
        Ok(Self {
            version,
            domain: domain.to_owned(),
            priority,
            task: task.to_owned(),
        })
    }
}

/// Writes the long form, with the priority.
impl fmt::Display for WorkSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("work.")?;
        if let Some(version) = &self.version {
            write!(f, "{version}.")?;
        }
        write!(f, "{}.{}.{}", self.domain, self.priority, self.task)
    }
}

/// Is this token a version, `v<N>`?
pub fn is_version(token: &str) -> bool {
    let digits = token.strip_prefix('v').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
