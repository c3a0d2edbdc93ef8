//! A message with headers, a content type, or a time limit.

use std::time::Duration;

use serde::Serialize;

use super::answer::{Answer, Stored};
use crate::error::{CallError, Result};
use crate::imports;
use crate::millis::millis;
use crate::reply::JSON;

/// The builder of a message, made by [`to`](super::to).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a draft does nothing until it is sent"]
pub struct Draft {
    subject: String,
    payload: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Draft {
    pub(super) fn new(subject: String) -> Self {
        Self {
            subject,
            payload: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Sets the payload, and no content type.
    pub fn bytes(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets the payload, and `Content-Type: text/plain`.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.bytes(text.into()).content_type("text/plain")
    }

    /// Sets the payload, and `Content-Type: application/json`.
    ///
    /// # Errors
    /// [`CallError::Json`] when `value` does not become JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, CallError> {
        let payload = serde_json::to_vec(value).map_err(|error| {
            CallError::Json(format!("the message does not become JSON: {error}"))
        })?;
        Ok(self.bytes(payload).content_type(JSON))
    }

    /// Sets the content type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case("Content-Type"));
        self.header("Content-Type", content_type)
    }

    /// Adds a header: a free `X-…` name. Those of the host (`X-Agent-ID`, `X-Request-ID`, …,
    /// `Nats-*`) are refused with [`CallError::Invalid`] when the message is sent.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends it as [`publish`](super::publish) does.
    ///
    /// # Errors
    /// As [`publish`](super::publish).
    pub fn publish(&self) -> Result<(), CallError> {
        imports::publish(&self.subject, &self.payload, &self.headers)
    }

    /// Sends it as [`publish_stored`](super::publish_stored) does.
    ///
    /// # Errors
    /// As [`publish_stored`](super::publish_stored).
    pub fn publish_stored(&self) -> Result<Stored, CallError> {
        imports::publish_stored(&self.subject, &self.payload, &self.headers)
    }

    /// Sends it as [`request`](super::request) does.
    ///
    /// # Errors
    /// As [`request`](super::request).
    pub fn request(&self) -> Result<Answer, CallError> {
        imports::request(&self.subject, &self.payload, &self.headers, None)
    }

    /// Sends it as [`request`](super::request) does, and waits for `timeout` (in whole
    /// milliseconds) or what is left of the current call, whichever is shorter.
    ///
    /// # Errors
    /// As [`request`](super::request).
    pub fn request_within(&self, timeout: Duration) -> Result<Answer, CallError> {
        let timeout = Some(millis(timeout));
        imports::request(&self.subject, &self.payload, &self.headers, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_stands_once() {
        let draft = Draft::new("a".into()).text("x").content_type("text/html");
        assert_eq!(
            draft.headers,
            [("Content-Type".to_owned(), "text/html".to_owned())]
        );
    }
}
