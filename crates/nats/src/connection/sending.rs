//! Hands messages to the client of this moment, and waits for answers.
//!
//! Subjects are not checked here. No call waits longer for room in the library's queue than
//! `QUEUE_WAIT`: a server that does not read would stop its callers otherwise.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::traits::Publisher as _;
use async_nats::message::OutboundMessage;
use async_nats::{StatusCode, Subject};
use bytes::Bytes;

use super::{Connection, QUEUE_WAIT};
use crate::generation::Generation;
use crate::{Headers, TransportError, at_most};

/// A message to a subject that is known to be good.
struct Outgoing {
    subject: Subject,
    reply: Option<Subject>,
    headers: Headers,
    payload: Bytes,
}

impl Connection {
    /// Sends to a subject that is known to be good, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Headers,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<async_nats::Message, TransportError> {
        let mut pending = self.inner.replies.register();
        let reply = pending.subject.clone();
        // Where it is made, not moved into the timer: it is a large one, and every stored message
        // has it.
        let exchange = pin!(async {
            self.send(subject, Some(&reply), headers, payload).await?;
            pending.answer().await
        });
        let answer = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| TransportError::Timeout)??;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(TransportError::NoResponders);
        }
        Ok(answer)
    }

    /// Sends to a subject that is known to be good.
    pub(crate) async fn send(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Headers,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        let message = Outgoing {
            subject: subject.into(),
            reply: reply.map(Subject::from),
            headers,
            payload,
        };
        self.enqueue(self.usable_client().await?, message).await
    }

    /// As [`Connection::publish`] without its checks, for a caller that has just seen that there is
    /// a connection.
    pub fn send_now(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        let message = Outgoing {
            subject: subject.into(),
            reply: None,
            headers,
            payload,
        };
        self.enqueue(self.inner.current(), message)
    }

    /// The message is put together here, and the library waits with it behind a pointer: both are
    /// large, and would be copied with every future that has this one in it.
    fn enqueue(
        &self,
        generation: Arc<Generation>,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        let sent = message.headers.sent().map(|headers| {
            let message = OutboundMessage {
                subject: message.subject,
                reply: message.reply,
                headers,
                payload: message.payload,
            };
            Box::pin(async move { generation.client.publish_message(message).await })
        });
        async move {
            match at_most(QUEUE_WAIT, sent?).await {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => {
                    // The end of a client may be met here before it is known: see `usable_client`.
                    tokio::task::yield_now().await;
                    Err(self.publish_error(&error))
                }
                None => Err(TransportError::Unavailable(
                    "the send queue to the NATS server is full".to_owned(),
                )),
            }
        }
    }

    fn publish_error(&self, error: &async_nats::PublishError) -> TransportError {
        use async_nats::PublishErrorKind as Kind;
        match error.kind() {
            Kind::MaxPayloadExceeded => TransportError::TooLarge(format!(
                "the message is larger than the server's limit of {} bytes, headers included",
                self.max_payload()
            )),
            Kind::InvalidSubject => TransportError::Invalid("the subject is malformed".to_owned()),
            Kind::Send => {
                TransportError::Unavailable("the connection to NATS is closed".to_owned())
            }
        }
    }
}
