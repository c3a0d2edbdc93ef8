//! Answers to requests and to stored messages.

use serde::Deserialize;

use crate::error::{CallError, Result};
use crate::headers::find;

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) subject: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Vec<u8>,
}

impl Answer {
    /// The subject it was published on: an inbox of the host.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its payload as text.
    ///
    /// # Errors
    /// [`CallError::Other`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, CallError> {
        std::str::from_utf8(&self.payload)
            .map_err(|error| CallError::Other(format!("the answer is not UTF-8 text: {error}")))
    }

    /// Its payload as JSON of the type wanted. Text in it can be borrowed.
    ///
    /// # Errors
    /// [`CallError::Json`] when it is not JSON, or not of this shape; the message says where.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            CallError::Json(format!("the answer is not what was expected: {error}"))
        })
    }

    /// Its headers, as they arrived.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The first value of one of its headers; names are compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// The acknowledgement of JetStream for a stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stream that holds it.
    pub stream: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// The stream had a message of this id already, and kept the older one.
    pub duplicate: bool,
}
