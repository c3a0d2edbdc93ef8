//! A message delivered by a consumer, what is known of it, and the ways to decide its fate.

use std::time::Duration;

use bytes::Bytes;

use super::stored::persist;
use super::{Headers, Link, Message, TransportError};

/// How long a confirmed acknowledgement goes on when no confirmation comes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt of it may take.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A message that a consumer has delivered.
#[derive(Debug)]
pub struct Delivered {
    /// The message. Its `reply` is none: that of the delivery belongs to `fate`.
    pub message: Message,
    /// What the stream says of it.
    pub meta: Meta,
    /// The way to acknowledge it.
    pub fate: Fate,
}

/// What a stream says of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// The number of the message in the stream.
    pub stream_sequence: u64,
    /// How often it was delivered, this time included: 1 at first.
    pub deliveries: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub stored_at_ns: u64,
    /// How many more messages wait for this consumer.
    pub pending: u64,
}

impl Meta {
    /// The message id of an output made from this input: the same for every delivery of it, and different
    /// when a stream was made anew and counts from one again.
    pub fn output_id(&self, output: &str) -> String {
        format!(
            "{}:{}:{}:{output}",
            self.stream, self.stream_sequence, self.stored_at_ns
        )
    }

    /// Reads the reply subject of a delivery: `$JS.ACK.` and 7 tokens, or 9 and more on newer servers.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let known = match tokens.len() {
            7 => tokens.as_slice(),
            // In front stand the domain and a hash of the account.
            9.. => tokens.get(2..9)?,
            _ => return None,
        };
        let &[
            stream,
            consumer,
            deliveries,
            sequence,
            _,
            stored_at,
            pending,
        ] = known
        else {
            return None;
        };
        Some(Self {
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            stream_sequence: sequence.parse().ok()?,
            deliveries: deliveries.parse().ok()?,
            stored_at_ns: stored_at.parse().ok()?,
            pending: pending.parse().ok()?,
        })
    }
}

impl Delivered {
    /// Takes over what the client library received on behalf of a consumer.
    pub(super) fn received(
        link: &Link,
        message: async_nats::Message,
    ) -> Result<Self, TransportError> {
        let mut message = Message::received(message);
        let reply = message.reply.take().unwrap_or_default();
        let meta = Meta::parse(&reply).ok_or_else(|| {
            TransportError::Other(format!(
                "a delivery has the reply subject {reply:?}, which is no acknowledgement"
            ))
        })?;
        Ok(Self {
            message,
            meta,
            fate: Fate {
                link: link.clone(),
                reply,
            },
        })
    }
}

/// Decides what becomes of a delivery. Without a word the message comes again after the ack wait.
#[derive(Debug, Clone)]
pub struct Fate {
    link: Link,
    reply: String,
}

impl Fate {
    /// Done. Not confirmed: when it is lost, the message comes again.
    pub async fn ack(&self) -> Result<(), TransportError> {
        self.tell(Bytes::from_static(b"+ACK")).await
    }

    /// Done, and the server has said that it knows. Tries again for about ten seconds; after an error the
    /// message may come again.
    pub async fn ack_confirmed(&self) -> Result<(), TransportError> {
        self.tell_confirmed(b"+ACK").await
    }

    /// Still at work: the ack wait begins anew.
    pub async fn progress(&self) -> Result<(), TransportError> {
        self.tell(Bytes::from_static(b"+WPI")).await
    }

    /// Deliver it again, after `delay`; a delay of zero is made a millisecond, since zero means at once and
    /// for ever. Not confirmed: when it is lost, the message comes again after the ack wait.
    pub async fn nak(&self, delay: Duration) -> Result<(), TransportError> {
        let delay = delay.max(Duration::from_millis(1)).as_nanos();
        self.tell(format!("-NAK {{\"delay\":{delay}}}").into())
            .await
    }

    /// Never deliver it again, and the server has said that it knows. Bare, because servers before 2.10.4
    /// confirm `+TERM` with a reason and do nothing: the reason belongs into a dead letter.
    pub async fn term_confirmed(&self) -> Result<(), TransportError> {
        self.tell_confirmed(b"+TERM").await
    }

    async fn tell(&self, word: Bytes) -> Result<(), TransportError> {
        self.link
            .send(&self.reply, None, Headers::new(), word)
            .await
    }

    async fn tell_confirmed(&self, word: &'static [u8]) -> Result<(), TransportError> {
        persist(PATIENCE, || async {
            let payload = Bytes::from_static(word);
            let answer = self
                .link
                .ask(&self.reply, Headers::new(), payload, ATTEMPT)
                .await;
            match answer {
                Ok(_) => Ok(()),
                // A consumer that is between two leaders, or is gone.
                Err(TransportError::NoResponders) => Err(TransportError::Unavailable(
                    "the consumer does not answer: it has no leader at the moment, or was deleted"
                        .to_owned(),
                )),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reply_subjects_of_all_servers_are_read() {
        let old = "$JS.ACK.WORK_QUEUE.workers-nlp_high_all.3.100.7.1790230470084404000.42";
        let new =
            "$JS.ACK._.szMpdrwD.WORK_QUEUE.workers-nlp_high_all.3.100.7.1790230470084404000.42";
        let newer = format!("{new}.token");
        for reply in [old, new, &newer] {
            let meta = Meta::parse(reply).unwrap();
            assert_eq!(meta.stream, "WORK_QUEUE", "{reply}");
            assert_eq!(meta.consumer, "workers-nlp_high_all");
            assert_eq!(
                (meta.deliveries, meta.stream_sequence, meta.pending),
                (3, 100, 42)
            );
            assert_eq!(
                meta.output_id("result"),
                "WORK_QUEUE:100:1790230470084404000:result"
            );
        }
        for bad in [
            "",
            "_INBOX.x",
            "$JS.ACK.a.b.1.2.3.4",
            "$JS.ACK.a.b.x.2.3.4.5",
        ] {
            assert_eq!(Meta::parse(bad), None, "{bad}");
        }
    }
}
