//! A stored message with its headers parsed.

use bytes::Bytes;

use crate::Headers;
use crate::raw::RawMessage;

/// A message as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The subject it was published on.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, RFC 3339 in UTC.
    pub stored_at: String,
    /// Its headers.
    pub headers: Headers,
    /// Its payload.
    pub payload: Bytes,
}

impl From<RawMessage> for StoredMessage {
    fn from(raw: RawMessage) -> Self {
        Self {
            headers: raw.headers(),
            subject: raw.subject,
            sequence: raw.sequence,
            stored_at: raw.stored_at,
            payload: raw.payload,
        }
    }
}
