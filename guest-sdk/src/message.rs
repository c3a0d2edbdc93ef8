//! The messages of an agent: [`Message`], and its kinds with more fields: [`Work`], [`Stage`],
//! [`Question`].

pub(crate) mod stage;
pub(crate) mod work;

use std::ops::Deref;

use serde::Deserialize;

use crate::context;
use crate::error::{Error, Result};

pub use stage::Stage;
pub use work::{Priority, Work};

/// A message that is being handled.
///
/// It cannot be kept: its headers are those of the call.
#[derive(Debug)]
pub struct Message {
    subject: String,
    payload: Vec<u8>,
    /// Its index in the batch, 0 outside one.
    item: u32,
    subscription: Option<u64>,
    wants_reply: bool,
}

impl Message {
    pub(crate) fn new(subject: String, payload: Vec<u8>, item: u32) -> Self {
        Self {
            subject,
            payload,
            item,
            subscription: None,
            wants_reply: false,
        }
    }

    pub(crate) fn subscribed(mut self, subscription: Option<u64>, wants_reply: bool) -> Self {
        self.subscription = subscription;
        self.wants_reply = wants_reply;
        self
    }

    /// The subject it was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its payload, at most `limits.payload` of the manifest.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its payload as text.
    ///
    /// # Errors
    /// [`Error::Reject`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.payload)
            .map_err(|error| Error::reject(format_args!("the payload is not UTF-8 text: {error}")))
    }

    /// Its payload as JSON of the type wanted. Text in it can be borrowed: `&str` works.
    ///
    /// # Errors
    /// [`Error::Reject`] when it is not JSON, or not of this shape; the message says where.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            Error::reject(format_args!(
                "the payload is not the JSON expected: {error}"
            ))
        })
    }

    /// The payload is meant as JSON: its `Content-Type` says so, or there is none and the payload
    /// begins with `{`. (Not with `[`: plain text does so often.)
    #[must_use]
    pub fn is_json(&self) -> bool {
        match self.content_type() {
            Some(named) => {
                let essence = named.split(';').next().unwrap_or_default().trim();
                let essence = essence.to_ascii_lowercase();
                essence == "application/json" || essence.ends_with("+json")
            }
            None => self.payload.trim_ascii_start().starts_with(b"{"),
        }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        self.header("Content-Type")
    }

    /// The first value of one of its headers; names are compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        context::item_header(self.item, name)
    }

    /// Its headers, name and value, in order; a name that stands several times has several values.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        context::item_headers(self.item)
    }

    /// The sender waits for the reply: always so for [`Agent::execute`](crate::Agent::execute),
    /// never for work, a stage, or a question, whose replies the host stores.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.wants_reply
    }

    /// The number that [`messaging::subscribe`](crate::messaging::subscribe) returned; none for a
    /// `[[subscribe]]` of the manifest, and for what is no message of a subscription.
    #[must_use]
    pub fn subscription(&self) -> Option<u64> {
        self.subscription
    }
}

/// A question put to many agents. It is a [`Message`] as well.
#[derive(Debug)]
pub struct Question {
    message: Message,
    request: String,
}

impl Question {
    pub(crate) fn new(message: Message, request: String) -> Self {
        Self { message, request }
    }

    /// The id of the request, `r1` in `scatter.r1.task`.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }
}

impl Deref for Question {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;

    fn message(payload: &[u8]) -> Message {
        Message::new("a.b".into(), payload.into(), 0)
    }

    #[test]
    fn unreadable_payloads_are_rejected() {
        assert!(message(b"\xff").text().unwrap_err().is_reject());
        let error = message(b"{").json::<Value>().unwrap_err();
        assert!(error.is_reject());
        assert!(
            error
                .message()
                .starts_with("the payload is not the JSON expected: EOF"),
            "{error}"
        );
    }

    #[test]
    fn json_can_borrow() {
        let message = message(br#"["a"]"#);
        assert_eq!(message.json::<Vec<&str>>().unwrap(), ["a"]);
    }

    #[test]
    fn without_a_content_type_the_first_character_decides() {
        for (payload, json) in [
            ("{}", true),
            ("  {", true),
            ("[1]", false),
            ("plain", false),
            ("", false),
            ("\"text\"", false),
        ] {
            assert_eq!(message(payload.as_bytes()).is_json(), json, "{payload:?}");
        }
    }
}
