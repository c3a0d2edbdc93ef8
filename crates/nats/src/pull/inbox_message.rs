//! The messages on the inbox of a pull: deliveries of the stream, and statuses of the server.

use super::status::{self, Status};

/// A message on the inbox, for the pull that uses it.
pub(super) enum InboxMessage {
    Message(Box<async_nats::Message>),
    Status(Status),
    /// One of the messages by which a pull ends its own inbox.
    Ours,
}

impl InboxMessage {
    pub(super) fn read(message: async_nats::Message) -> Self {
        if is_stored(&message) {
            return Self::Message(Box::new(message));
        }
        let Some(code) = message.status else {
            return Self::Ours;
        };
        let text = message.description.unwrap_or_default();
        let headers = message.headers.as_ref();
        let pending = headers.and_then(|headers| headers.get(status::PENDING));
        let pending = pending.map(|pending| pending.as_str());
        Self::Status(Status::read(code, &text, pending))
    }
}

/// Whether it comes from the stream. A publisher can put a status into the headers, so that does
/// not prove that the server has sent it.
pub(super) fn is_stored(message: &async_nats::Message) -> bool {
    let reply = message.reply.as_deref().unwrap_or_default();
    reply.starts_with("$JS.ACK.")
}
