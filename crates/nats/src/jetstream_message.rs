//! A message delivered by a consumer, with its delivery information and its acknowledgement.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::delivery_info::DeliveryInfo;
use super::stored::retry;
use super::{Connection, Headers, Message, TransportError};

/// Time limit of a confirmed acknowledgement without confirmation.
const PATIENCE: Duration = Duration::from_secs(10);
/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A message that a consumer has delivered.
#[derive(Debug)]
pub struct JetStreamMessage {
    /// The message. Its `reply` is none: the reply subject of the delivery belongs to `acker`.
    pub message: Message,
    /// Its delivery information.
    pub info: DeliveryInfo,
    /// Acknowledges the delivery.
    pub acker: Acker,
}

impl JetStreamMessage {
    /// Converts a message that the client library received for a consumer.
    pub(super) fn received(
        connection: &Connection,
        message: async_nats::Message,
    ) -> Result<Self, TransportError> {
        let mut message = Message::received(message);
        let reply = message.reply.take().unwrap_or_default();
        let info = DeliveryInfo::parse(&reply).ok_or_else(|| {
            TransportError::Other(format!(
                "a delivery has the reply subject {reply:?}, which is no acknowledgement"
            ))
        })?;
        Ok(Self {
            message,
            info,
            acker: Acker {
                way: Way::Connection(connection.clone()),
                reply,
            },
        })
    }
}

/// Acknowledges a delivery. Without an acknowledgement the message is delivered again after the ack
/// wait.
#[derive(Debug, Clone)]
pub struct Acker {
    way: Way,
    reply: String,
}

/// How acknowledgements reach the server. A connection is called directly: a boxed future would be
/// an allocation for each message.
#[derive(Debug, Clone)]
enum Way {
    Connection(Connection),
    Port(Arc<dyn AckPort>),
}

/// A transport for acknowledgements other than a connection: tests use it to observe and delay
/// acknowledgements, and to lose their confirmations.
pub trait AckPort: Debug + Send + Sync {
    /// Sends to the reply subject of a delivery. The arrival is not confirmed.
    fn send<'a>(
        &'a self,
        reply: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), TransportError>>;

    /// Sends to the reply subject of a delivery, and waits up to the timeout for the server's
    /// confirmation.
    fn request<'a>(
        &'a self,
        reply: &'a str,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), TransportError>>;
}

impl Acker {
    /// Acknowledges over a port the delivery that has this reply subject.
    pub fn over(port: Arc<dyn AckPort>, reply: String) -> Self {
        let way = Way::Port(port);
        Self { way, reply }
    }

    /// Acknowledges the message. Not confirmed: when it is lost, the message is delivered again.
    pub async fn ack(&self) -> Result<(), TransportError> {
        self.send(Bytes::from_static(b"+ACK")).await
    }

    /// Acknowledges the message, confirmed by the server. The library's `double_ack` is not used:
    /// it takes "no responders" for a confirmation (async-nats 0.51.0). Retries for about ten
    /// seconds; after an error the message may be delivered again.
    pub async fn ack_confirmed(&self) -> Result<(), TransportError> {
        self.send_confirmed(b"+ACK").await
    }

    /// Sends an in-progress ack: the ack wait begins again.
    pub async fn progress(&self) -> Result<(), TransportError> {
        self.send(Bytes::from_static(b"+WPI")).await
    }

    /// Requests redelivery after `delay`; a delay of zero becomes a millisecond, since zero means
    /// at once, each time. Not confirmed: when it is lost, the message is delivered again after the
    /// ack wait.
    pub async fn nak(&self, delay: Duration) -> Result<(), TransportError> {
        let delay = delay.max(Duration::from_millis(1)).as_nanos();
        self.send(format!("-NAK {{\"delay\":{delay}}}").into())
            .await
    }

    /// Ends redelivery, confirmed by the server. Sent without a reason, because servers before
    /// 2.10.4 confirm `+TERM` with a reason and do nothing (nats-io/nats-server pull request 4697):
    /// the dead letter has the reason.
    pub async fn term_confirmed(&self) -> Result<(), TransportError> {
        self.send_confirmed(b"+TERM").await
    }

    async fn send(&self, kind: Bytes) -> Result<(), TransportError> {
        match &self.way {
            Way::Connection(connection) => {
                connection
                    .send(&self.reply, None, Headers::new(), kind)
                    .await
            }
            Way::Port(port) => port.send(&self.reply, kind).await,
        }
    }

    async fn send_confirmed(&self, kind: &'static [u8]) -> Result<(), TransportError> {
        retry(PATIENCE, || async {
            let payload = Bytes::from_static(kind);
            let answer = match &self.way {
                Way::Connection(connection) => {
                    let asked = connection.ask(&self.reply, Headers::new(), payload, ATTEMPT);
                    asked.await.map(drop)
                }
                Way::Port(port) => port.request(&self.reply, payload, ATTEMPT).await,
            };
            match answer {
                Ok(()) => Ok(()),
                // The consumer is between two leaders, or gone.
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
