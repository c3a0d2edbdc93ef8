//! The payload of a delivery: text, bytes or JSON.

use serde_json::Value;

use crate::reply::JSON;

/// A payload: text and bytes without a `Content-Type`, [`json!`](crate::json) with that of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: Option<&'static str>,
}

impl Payload {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            content_type: None,
        }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self {
            bytes: value.to_string().into_bytes(),
            content_type: Some(JSON),
        }
    }
}
