//! A message of a subscription that waits for an agent, stored as it arrived.
//!
//! The call is built when an agent takes the message, because a call is twice as large.

use std::time::Instant;

use mistersmith_nats::{Connection, Message, RequestId, Trace};
use mistersmith_runtime::Kind;

use crate::delivery::{Delivery, Destination, call_until, waits_until};

/// A message of a `[[subscribe]]`.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Has no reply subject if it must not be answered.
    message: Message,
    /// The connection that delivered the message, if it may be answered.
    connection: Option<Connection>,
    /// When the sender's timeout ends, counted from the arrival.
    until: Option<Instant>,
}

impl Posted {
    /// A message that this connection has just delivered. Its reply subject is set only if an
    /// answer may be sent there.
    pub fn new(message: Message, connection: &Connection) -> Self {
        let asked = message.reply.is_some();
        Self {
            connection: asked.then(|| connection.clone()),
            until: waits_until(&message.headers, asked),
            message,
        }
    }

    /// The reply subject and the connection for an answer.
    pub fn answered(&self) -> Option<(&str, &Connection)> {
        self.message.reply.as_deref().zip(self.connection.as_ref())
    }

    /// The message as it arrived.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The bytes that it is charged while it waits.
    pub fn waiting_bytes(&self) -> usize {
        self.message.waiting_bytes()
    }

    /// Builds the delivery for an agent.
    pub fn delivery(mut self) -> Delivery {
        let trace = Trace::received(&self.message.headers, RequestId::new);
        let destination = match (self.message.reply.take(), self.connection) {
            (Some(to), Some(connection)) => Destination::Reply { to, connection },
            _ => Destination::Nobody,
        };
        let kind = Kind::Subscription {
            id: None,
            wants_reply: matches!(destination, Destination::Reply { .. }),
        };
        Delivery {
            call: call_until(kind, self.message, trace, self.until),
            destination,
            charge: None,
            rest: None,
        }
    }

    /// Builds one delivery of a batch; none without messages.
    pub fn batch(messages: impl IntoIterator<Item = Self>) -> Option<Delivery> {
        let mut deliveries = messages.into_iter().map(Self::delivery);
        let first = deliveries.next()?;
        Some(Delivery {
            rest: Some(deliveries.collect()),
            ..first
        })
    }
}

/// An entry of the plugin queue.
#[derive(Debug)]
pub enum Offer {
    /// A delivery that is already built.
    Ready(Delivery),
    /// A message of a subscription.
    Posted(Posted),
    /// Several messages that form a batch.
    Batch(Vec<Posted>),
}

impl Offer {
    /// The bytes that it is charged while it waits.
    pub fn waiting_bytes(&self) -> usize {
        match self {
            Self::Ready(delivery) => delivery.waiting_bytes(),
            Self::Posted(posted) => posted.waiting_bytes(),
            Self::Batch(batch) => {
                let each = batch.iter().map(Posted::waiting_bytes);
                each.fold(0, usize::saturating_add)
            }
        }
    }

    /// Builds the delivery; none for a batch without messages.
    pub fn delivery(self) -> Option<Delivery> {
        match self {
            Self::Ready(delivery) => Some(delivery),
            Self::Posted(posted) => Some(posted.delivery()),
            Self::Batch(batch) => Posted::batch(batch),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_core::limits::WAITING_OVERHEAD;
    use mistersmith_nats::Headers;

    fn message(headers: Headers, payload: usize) -> Message {
        Message {
            subject: "a".to_owned(),
            reply: None,
            headers,
            payload: vec![b'x'; payload].into(),
        }
    }

    impl Posted {
        /// A message of `bytes` bytes without a reply.
        pub(crate) fn of(bytes: usize) -> Self {
            Self {
                message: message(Headers::new(), bytes - 1),
                connection: None,
                until: None,
            }
        }
    }

    #[test]
    fn a_message_counts_with_all_its_parts_and_with_what_it_costs() {
        let mut headers = Headers::new();
        headers.insert("X-A", &"x".repeat(1000)).unwrap();
        let posted = Posted {
            message: Message {
                reply: Some("_INBOX.1".to_owned()),
                ..message(headers, 64)
            },
            connection: None,
            until: None,
        };
        let parts = 1 + "_INBOX.1".len() + "X-A: \r\n".len() + 1000 + 64;
        assert_eq!(posted.waiting_bytes(), parts + WAITING_OVERHEAD);
        // The struct itself, and the allocator's overhead for subject, payload and headers.
        assert!(size_of::<Posted>() + 3 * 16 <= WAITING_OVERHEAD);
        assert!(size_of::<Offer>() + 3 * 16 <= WAITING_OVERHEAD);
    }

    #[test]
    fn what_an_agent_is_handed_is_what_came() {
        let mut headers = Headers::new();
        headers.insert("X-Request-ID", "r-1").unwrap();
        let mut posted = Posted::of(10);
        posted.message.headers = headers;
        posted.until = Some(Instant::now());
        let until = posted.until;
        let Delivery {
            call, destination, ..
        } = posted.delivery();
        assert_eq!((call.subject.as_str(), call.payload.len()), ("a", 9));
        assert_eq!(call.trace.request_id(), "r-1");
        assert_eq!(call.waits_until, until);
        assert!(matches!(destination, Destination::Nobody));
        let wants_reply = false;
        assert_eq!(
            call.kind,
            Kind::Subscription {
                id: None,
                wants_reply
            }
        );
    }

    #[test]
    fn a_batch_is_one_delivery_and_none_is_none() {
        let batch = Offer::Batch(vec![Posted::of(1), Posted::of(2), Posted::of(3)]);
        let each: Vec<Delivery> = batch.delivery().unwrap().each().collect();
        let sizes: Vec<usize> = each.iter().map(|one| one.call.payload.len()).collect();
        assert_eq!(sizes, [0, 1, 2]);
        assert!(Offer::Batch(Vec::new()).delivery().is_none());
    }
}
