//! A message of a subscription while it waits for an agent: as it came. The call that is made of it is
//! twice as large; so it is made when an agent takes it.

use std::time::Instant;

use crate::runtime::Kind;
use crate::transport::{Link, Message, RequestId, Trace};

use super::delivery::{Answer, Delivery, call_until, waits_until};

/// A message of a `[[subscribe]]`.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Without a reply subject where it must not be answered.
    message: Message,
    /// The connection that it came by, where it may be answered.
    link: Option<Link>,
    /// Until when whoever sent it waits, counted from its arrival.
    until: Option<Instant>,
}

impl Posted {
    /// A message that has just arrived by this connection. It may have a reply subject only if an answer
    /// may go there.
    pub fn new(message: Message, link: &Link) -> Self {
        let asked = message.reply.is_some();
        Self {
            link: asked.then(|| link.clone()),
            until: waits_until(&message.headers, asked),
            message,
        }
    }

    /// Where an answer may go, and by which connection.
    pub fn answered(&self) -> Option<(&str, &Link)> {
        self.message.reply.as_deref().zip(self.link.as_ref())
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The bytes that it counts with.
    pub fn waiting_bytes(&self) -> usize {
        self.message.waiting_bytes()
    }

    /// What an agent is handed.
    pub fn delivery(mut self) -> Delivery {
        let trace = Trace::received(&self.message.headers, RequestId::new);
        let answer = match (self.message.reply.take(), self.link) {
            (Some(to), Some(link)) => Answer::Reply { to, link },
            _ => Answer::Nobody,
        };
        let kind = Kind::Subscription {
            id: None,
            wants_reply: matches!(answer, Answer::Reply { .. }),
        };
        Delivery {
            call: call_until(kind, self.message, trace, self.until),
            answer,
            weight: None,
            rest: None,
        }
    }

    /// What an agent is handed for messages that go together; none for none.
    pub fn batch(messages: impl IntoIterator<Item = Self>) -> Option<Delivery> {
        let mut deliveries = messages.into_iter().map(Self::delivery);
        let first = deliveries.next()?;
        Some(Delivery {
            rest: Some(deliveries.collect()),
            ..first
        })
    }
}

/// What waits for any agent of a plugin.
#[derive(Debug)]
pub enum Offer {
    /// A call that was made already.
    Ready(Delivery),
    /// A message of a subscription.
    Posted(Posted),
    /// Several, which go together.
    Batch(Vec<Posted>),
}

impl Offer {
    /// The bytes that it counts with while it waits.
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

    /// What an agent is handed; none for a batch without messages.
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
    use crate::limits::WAITING_OVERHEAD;
    use crate::transport::Headers;

    fn message(headers: Headers, payload: usize) -> Message {
        Message {
            subject: "a".to_owned(),
            reply: None,
            headers,
            payload: vec![b'x'; payload].into(),
        }
    }

    impl Posted {
        /// A message of so many bytes that nobody answers.
        pub(in crate::patterns) fn of(bytes: usize) -> Self {
            Self {
                message: message(Headers::new(), bytes - 1),
                link: None,
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
            link: None,
            until: None,
        };
        let parts = 1 + "_INBOX.1".len() + "X-A: \r\n".len() + 1000 + 64;
        assert_eq!(posted.waiting_bytes(), parts + WAITING_OVERHEAD);
        // Itself, and for each of subject, payload and headers what the allocator adds.
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
        let Delivery { call, answer, .. } = posted.delivery();
        assert_eq!((call.subject.as_str(), call.payload.len()), ("a", 9));
        assert_eq!(call.trace.request_id(), "r-1");
        assert_eq!(call.waits_until, until);
        assert!(matches!(answer, Answer::Nobody));
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
