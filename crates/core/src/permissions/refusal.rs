//! Refusals: the call, the reason, and the line of the manifest that would allow it.

use std::path::Path;

use thiserror::Error;

use crate::names::{AgentId, NameError};

/// The reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The argument is malformed; no grant could make it right.
    #[error("{0}")]
    Invalid(String),
    /// No grant allows it, or something forbids it. The sentence names the grant to add, if one
    /// would do.
    #[error("{0}")]
    Denied(String),
    /// Something is larger than any agent may send.
    #[error("{0}")]
    TooLarge(String),
}

impl Refusal {
    /// Says `shown` where the host has made up `hidden`, so that the line to add is one that can be
    /// added.
    pub fn with(self, shown: &str, hidden: &str) -> Self {
        match self {
            Self::Denied(text) => Self::Denied(text.replace(hidden, shown)),
            other => other,
        }
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The call, the agent, and the manifest of its grants: enough for any refusal.
pub(super) struct Attempt<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) manifest: &'a Path,
    /// Such as "publish to `orders.paid`".
    pub(super) what: String,
}

impl Attempt<'_> {
    /// No grant covers it; `line` is what to add to `[permissions] list`.
    pub(super) fn ungranted(self, list: &str, line: &str) -> Refusal {
        let manifest = self.manifest.display();
        self.refuse(&format!(
            "no grant matches; add {line} to [permissions] {list} in {manifest}"
        ))
    }

    /// A `deny` covers it.
    pub(super) fn forbidden(self, deny: &str) -> Refusal {
        let manifest = self.manifest.display();
        self.refuse(&format!(
            "{deny:?} in [permissions] deny in {manifest} forbids it"
        ))
    }

    /// No grant could allow it.
    pub(super) fn reserved(self, reason: &str) -> Refusal {
        self.refuse(&format!("{reason}; no grant can allow it"))
    }

    fn refuse(self, why: &str) -> Refusal {
        Refusal::Denied(format!(
            "agent `{}` cannot {}: {why}",
            self.agent, self.what
        ))
    }
}
