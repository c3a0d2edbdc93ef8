//! A message as the rest of the host sees it.
//!
//! Payloads are shared, never copied, on the way in and out.

use bytes::Bytes;

use super::Headers;

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject it was published on. It may have literal wildcard tokens: `agent.*.cmd.pause`.
    pub subject: String,
    /// Where the sender waits for an answer, if it does.
    pub reply: Option<String>,
    /// Its headers.
    pub headers: Headers,
    /// Its payload, in whatever format the sender chose.
    pub payload: Bytes,
}

impl Message {
    /// Takes over what the client library received; only headers are copied.
    pub(crate) fn received(message: async_nats::Message) -> Self {
        Self {
            subject: message.subject.into_string(),
            reply: message.reply.map(async_nats::Subject::into_string),
            headers: message
                .headers
                .as_ref()
                .map(Headers::received)
                .unwrap_or_default(),
            payload: message.payload,
        }
    }
}
