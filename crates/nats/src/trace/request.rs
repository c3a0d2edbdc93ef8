//! The id of a request, without an allocation where the host made it.

use std::sync::Arc;

/// The id of a request: one that the host made, kept in place, or one that a message brought.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Inner);

#[derive(Clone, PartialEq, Eq)]
enum Inner {
    Made([u8; nuid::TOTAL_LEN]),
    Given(Arc<str>),
}

impl RequestId {
    /// One that nobody else has.
    pub fn new() -> Self {
        Self(Inner::Made(nuid::next().into_bytes()))
    }

    /// As text: a valid token of a subject.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Base 62, always text.
            Inner::Made(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Inner::Given(text) => text,
        }
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self(Inner::Given(text.into()))
    }
}

impl From<String> for RequestId {
    fn from(text: String) -> Self {
        Self(Inner::Given(text.into()))
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
