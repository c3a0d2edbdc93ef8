//! The reply of an agent.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// The `Content-Type` of JSON.
pub(crate) const JSON: &str = "application/json";

/// The reply of an agent: a result, an answer, or the input of the next stage.
///
/// ```
/// # use mistersmith_sdk::Reply;
/// Reply::from("text");
/// Reply::from(vec![1u8, 2, 3]).with_content_type("image/png");
/// Reply::json(&[1, 2, 3])?.with_header("X-Model", "tiny");
/// Reply::none();
/// # Ok::<(), mistersmith_sdk::Error>(())
/// ```
///
/// Where nobody waits it is dropped. The host bounds it by `limits.payload` of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub(crate) body: Option<Body>,
}

/// The parts of a reply that is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) payload: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Reply {
    /// No answer: the message was handled. A sender that waits gets an empty reply.
    #[must_use]
    pub fn none() -> Self {
        Self { body: None }
    }

    /// `value` as JSON, with `Content-Type: application/json`.
    ///
    /// # Errors
    /// [`Error::Reject`] when `value` does not become JSON (a map whose keys are not text).
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let payload = serde_json::to_vec(value).map_err(|error| {
            Error::reject(format_args!("the reply does not become JSON: {error}"))
        })?;
        Ok(Self::bytes(payload).with_content_type(JSON))
    }

    /// Bytes without a `Content-Type`.
    #[must_use]
    pub fn bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Some(Body {
                payload: payload.into(),
                ..Body::default()
            }),
        }
    }

    /// Text, with `Content-Type: text/plain`.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(text.into()).with_content_type("text/plain")
    }

    /// Sets the `Content-Type`. Turns [`Reply::none`] into an empty reply.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.body.get_or_insert_default().content_type = Some(content_type.into());
        self
    }

    /// Adds a header, a free `X-…` name: the host refuses a reply with any other, or with one that
    /// is its own (`X-Agent-ID`, `X-Request-ID`, …). Turns [`Reply::none`] into an empty reply.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let headers = &mut self.body.get_or_insert_default().headers;
        headers.push((name.into(), value.into()));
        self
    }

    /// Nothing is answered.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.body.is_none()
    }

    /// The payload; empty when nothing is answered.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.payload)
    }

    /// The payload as text, with `\u{fffd}` for what is not UTF-8: for tests and logs.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(self.payload()).into_owned()
    }

    /// The payload as JSON; [`Value::Null`] when it is none: for tests and logs.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(self.payload()).unwrap_or(Value::Null)
    }

    /// The `Content-Type`; none when unknown.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.body.as_ref()?.content_type.as_deref()
    }

    /// The further headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        self.body.as_ref().map_or(&[], |body| &body.headers)
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::none()
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&[u8]> for Reply {
    fn from(payload: &[u8]) -> Self {
        Self::bytes(payload)
    }
}

impl From<Vec<u8>> for Reply {
    fn from(payload: Vec<u8>) -> Self {
        Self::bytes(payload)
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self::bytes(value.to_string()).with_content_type(JSON)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn content_types_follow_what_is_given() {
        let json = Reply::json(&[1, 2]).unwrap();
        for (reply, payload, content_type) in [
            (Reply::from("a"), "a", Some("text/plain")),
            (Reply::from("a".to_owned()), "a", Some("text/plain")),
            (Reply::from(b"a".as_slice()), "a", None),
            (Reply::from(vec![b'a']), "a", None),
            (json, "[1,2]", Some("application/json")),
            (
                Reply::from(json!({"a": 1})),
                r#"{"a":1}"#,
                Some("application/json"),
            ),
            (Reply::from(()), "", None),
        ] {
            assert_eq!(reply.to_text(), payload);
            assert_eq!(reply.content_type(), content_type, "{payload}");
        }
    }

    #[test]
    fn none_is_told_apart_from_empty() {
        assert!(Reply::none().is_none());
        assert!(!Reply::bytes("").is_none());
        assert!(!Reply::none().with_header("X-A", "1").is_none());
    }

    #[test]
    fn headers_keep_their_order() {
        let reply = Reply::from("a")
            .with_header("X-B", "1")
            .with_header("X-A", "2");
        assert_eq!(
            reply.headers(),
            [("X-B".into(), "1".into()), ("X-A".into(), "2".into())]
        );
    }

    #[test]
    fn what_is_not_json_is_rejected() {
        let keys_are_lists = BTreeMap::from([(vec![1], 2)]);
        assert!(Reply::json(&keys_are_lists).unwrap_err().is_reject());
        assert_eq!(Reply::from("{").to_value(), Value::Null);
    }
}
