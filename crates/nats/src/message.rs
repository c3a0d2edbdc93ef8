//! A received message.
//!
//! Payloads are shared, and copied only where much waits: a payload is a slice of everything that
//! was read from the socket with it, and keeps all of that in memory.

use bytes::Bytes;

use super::Headers;
use mistersmith_core::limits::{COPIED_BEHIND, WAITING_OVERHEAD};

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

    /// As [`Message::received`], for a message that will wait behind so many bytes of others.
    /// Behind many its payload is copied: it is a part of what the client library has read in one
    /// go, all of which stays in memory while one message of it waits, those of other subscriptions
    /// among it. A few bytes would hold 64 KiB or more, and nobody would count them.
    pub(crate) fn received_behind(message: async_nats::Message, waiting: usize) -> Self {
        let mut message = Self::received(message);
        if waiting > COPIED_BEHIND {
            message.payload = Bytes::copy_from_slice(&message.payload);
        }
        message
    }

    /// The bytes of all its parts.
    pub fn bytes(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, String::len);
        let named = self.subject.len().saturating_add(reply);
        let headed = named.saturating_add(self.headers.bytes());
        headed.saturating_add(self.payload.len())
    }

    /// The bytes that it counts with while it waits.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes().saturating_add(WAITING_OVERHEAD)
    }
}
