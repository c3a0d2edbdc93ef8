//! Names, parsed once at the edge into types that are always valid.
//!
//! A subject or a key that is built from an [`AgentId`] or a [`Subject`] needs no further check: an
//! unchecked text could smuggle a wildcard or a dot into it. Nothing here talks to NATS or decides
//! permissions.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_FOREIGN_ID, MAX_PLUGIN_NAME, MAX_TOKEN};

pub mod headers;
mod kv;
mod pipeline;
mod priority;
pub mod subject;
mod work;

pub use kv::{Bucket, Key, KeyPattern};
pub use pipeline::{StageSubject, WorkflowId};
pub use priority::Priority;
pub use subject::{Subject, SubjectPattern};
pub use work::{WorkSubject, is_version};

/// Why a text is not a name: a full sentence with the text quoted, control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NameError(String);

impl NameError {
    /// A sentence of the form ``"text" is not a kind: reason``; a long text is cut.
    pub(crate) fn new(text: &str, kind: &str, reason: &str) -> Self {
        Self(format!("{} is not {kind}: {reason}", quoted(text)))
    }
}

/// Quotes a text that a stranger may have chosen: control characters escaped, at most 64
/// characters.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Whether a character moves or hides what stands around it in a line or on a terminal: control
/// characters, separators of lines and paragraphs, marks that reorder or hide text.
pub fn disturbs(c: char) -> bool {
    let turns = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
    c.is_control() || turns || hidden
}

/// Gives a newtype over `Arc<str>` everything that a parsed name needs, from its `check` function.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Would this text parse? For input that is only looked at: allocates nothing when it
            /// would.
            pub fn check(text: &str) -> Result<(), $crate::names::NameError> {
                $check(text)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::names::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        $crate::names::text_traits!($name);
    };
}

/// The conversions that every name has, given `as_str` and `FromStr`.
macro_rules! text_traits {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = $crate::names::NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}
pub(crate) use {name, text_traits};

name! {
    /// The name of a plugin: `[a-z0-9-]+`, begins with a letter, does not end with `-`, at most 63
    /// bytes.
    ///
    /// `all` is refused, since `agent.all.cmd.…` means every agent; so is an end such as `-001`,
    /// since `agent.x-001.cmd.…` must mean one agent only.
    PluginName, check_plugin
}

name! {
    /// A token that we make (domain, task, stage, capability): `[a-z0-9-]+`, at most 63 bytes.
    Token, check_token
}

name! {
    /// The id of a host, kept in its data folder: `[a-z0-9-]+`, at most 63 bytes.
    HostId, check_host
}

name! {
    /// A request, trace or workflow id that others make, or the name of an event: `[A-Za-z0-9_-]+`,
    /// at most 96 bytes.
    ForeignId, check_foreign
}

fn check_foreign(text: &str) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(text, "an id", reason));
    if text.len() > MAX_FOREIGN_ID {
        return fail("it has more than 96 bytes");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.is_empty() || !text.bytes().all(allowed) {
        return fail("only A-Z, a-z, 0-9, \"_\" and \"-\" are allowed, and at least one of them");
    }
    Ok(())
}

fn check_plugin(text: &str) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(text, "a plugin name", reason));
    if text.len() > MAX_PLUGIN_NAME {
        return fail("it has more than 63 bytes");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return fail("it must begin with a letter a-z");
    }
    if !is_token(text) {
        return fail("only a-z, 0-9 and \"-\" are allowed");
    }
    if text.ends_with('-') {
        return fail("it must not end with \"-\"");
    }
    if text == "all" {
        return fail("\"all\" stands for every agent in agent.all.cmd");
    }
    if agent_number(text).is_some() {
        return fail("it ends like an agent id, with \"-\" and three or more digits");
    }
    Ok(())
}

fn check_token(text: &str) -> Result<(), NameError> {
    check_short(text, "a token")
}

fn check_host(text: &str) -> Result<(), NameError> {
    check_short(text, "a host id")
}

fn check_short(text: &str, kind: &str) -> Result<(), NameError> {
    if text.len() > MAX_TOKEN {
        return Err(NameError::new(text, kind, "it has more than 63 bytes"));
    }
    if !is_token(text) {
        let reason = "only a-z, 0-9 and \"-\" are allowed, and at least one of them";
        return Err(NameError::new(text, kind, reason));
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(allowed)
}

/// The digits after the last `-`, when there are at least three of them.
fn agent_number(text: &str) -> Option<(&str, &str)> {
    let (plugin, digits) = text.rsplit_once('-')?;
    (digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit())).then_some((plugin, digits))
}

/// The id of an agent, `<plugin>-<NNN>`: at least three digits, the first agent is `001`.
///
/// Unique in the whole NATS system, and never equal to the name of a plugin.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AgentId {
    text: Arc<str>,
    plugin: usize,
    number: u32,
}

impl AgentId {
    /// The id of the agent with this number; numbers begin at 1.
    pub fn new(plugin: &PluginName, number: u32) -> Self {
        Self {
            text: format!("{plugin}-{number:03}").into(),
            plugin: plugin.as_str().len(),
            number,
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the plugin it is an instance of.
    pub fn plugin(&self) -> &str {
        self.text.get(..self.plugin).unwrap_or_default()
    }

    /// Its number among the agents of the plugin, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl FromStr for AgentId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| NameError::new(text, "an agent id", reason);
        let shape = "write it like \"sentiment-001\"";
        let (plugin, digits) = agent_number(text).ok_or_else(|| fail(shape))?;
        let plugin: PluginName = plugin.parse().map_err(|_| fail(shape))?;
        let number: u32 = digits
            .parse()
            .map_err(|_| fail("its number is too large"))?;
        let id = Self::new(&plugin, number);
        if number == 0 || id.as_str() != text {
            return Err(fail(
                "numbers begin at 001 and have no further zeros in front",
            ));
        }
        Ok(id)
    }
}

text_traits!(AgentId);

#[cfg(test)]
mod tests;
