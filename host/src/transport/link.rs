//! One named connection: publish, request, subscribe.
//!
//! Never waits without a bound, and says `Unavailable` at once while there is no connection: the library
//! would queue, and what it queued before a break is lost.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::client::traits::Publisher as _;
use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use async_nats::{Client, StatusCode, Subject};
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::health::Health;
use super::replies::Replies;
use super::{Budget, Headers, Intake, Message, Subscription, TransportError, at_most, check};

/// How long a publish waits for room in the client's queue before it counts as no connection.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// How often a missing connection is looked for again, when no change was told.
const RECHECK: Duration = Duration::from_millis(500);

/// How long draining waits for the server to confirm what was published.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// One connection to NATS. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Link {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) replies: Arc<Replies>,
    pub(super) health: Arc<Health>,
    /// Payloads of more bytes become claims, whatever the server takes.
    pub(super) claim_over: AtomicUsize,
    /// Hands out the answers; it holds the client, so it must end with the last [`Link`].
    pub(super) answers: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Link {
    /// Sends a message. Returns when the client has taken it over: a connection that breaks now can still lose it.
    ///
    /// Errors: `Invalid`, `TooLarge`; `Unavailable` without a connection, or when the queue to the server
    /// stays full for two seconds.
    pub async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Headers,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        check::subject(subject)?;
        if let Some(reply) = reply {
            check::subject(reply)?;
        }
        self.send(subject, reply, headers, payload).await
    }

    /// Sends a message and waits for one answer on a reply subject of the host's making.
    ///
    /// Errors: as [`Link::publish`]; `NoResponders` when nobody listens, told at once by the server;
    /// `Timeout`; `Unavailable` also when the connection breaks meanwhile.
    pub async fn request(
        &self,
        subject: &str,
        headers: Headers,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, TransportError> {
        check::subject(subject)?;
        self.ask(subject, headers, payload, timeout)
            .await
            .map(Message::received)
    }

    /// Subscribes to a subject, which may have wildcards, alone or as one of a queue group.
    ///
    /// The subscription is on its way to the server when this returns; [`Link::round_trip`] afterwards
    /// waits until the server has it. Errors: `Invalid`, `Unavailable`.
    pub async fn subscribe(
        &self,
        pattern: &str,
        queue: Option<&str>,
    ) -> Result<Subscription, TransportError> {
        self.subscriber(pattern, queue)
            .await
            .map(|subscriber| Subscription::start(subscriber, None))
    }

    /// As [`Link::subscribe`], for a reader that takes every message at once. What waits counts against a
    /// budget that what the reader has handed on shares.
    pub async fn take_in(
        &self,
        pattern: &str,
        queue: Option<&str>,
        budget: &Budget,
    ) -> Result<Intake, TransportError> {
        self.subscriber(pattern, queue)
            .await
            .map(|subscriber| Intake::new(subscriber, budget))
    }

    /// As [`Link::subscribe`]; what waits counts against a budget that other subscriptions share.
    pub async fn subscribe_within(
        &self,
        pattern: &str,
        queue: Option<&str>,
        budget: &Budget,
    ) -> Result<Subscription, TransportError> {
        self.subscriber(pattern, queue)
            .await
            .map(|subscriber| Subscription::start(subscriber, Some(budget.clone())))
    }

    /// Whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether there is a connection to a server at this moment.
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == State::Connected && !self.inner.health.is_closed()
    }

    /// Resolves when there is a connection.
    pub async fn connected(&self) {
        let mut changes = self.inner.health.changes();
        while !self.is_connected() {
            // The library tells of a connection a little before it counts as one.
            let _ = tokio::time::timeout(RECHECK, changes.changed()).await;
        }
    }

    /// Waits until everything published so far was written to the socket. That is no proof that the
    /// server has it; [`Link::round_trip`] is.
    pub async fn flush(&self) {
        if self.is_connected() {
            let _ = tokio::time::timeout(QUEUE_WAIT, self.inner.client.flush()).await;
        }
    }

    /// Waits until the server has handled everything sent before on this connection; returns how long that took.
    pub async fn round_trip(&self, timeout: Duration) -> Result<Duration, TransportError> {
        let start = Instant::now();
        // An echo to ourselves, not a request that nobody answers: somebody who listens to `>` would swallow that.
        let mut expected = self.inner.replies.expect();
        let inbox = expected.subject.clone();
        let exchange = async {
            self.send(&inbox, None, Headers::new(), Bytes::new())
                .await?;
            expected.answer().await
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| TransportError::Timeout)??;
        Ok(start.elapsed())
    }

    /// The largest message, headers and payload, that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.inner.client.max_payload()
    }

    /// How many requests wait for an answer.
    pub fn waiting_requests(&self) -> usize {
        self.inner.replies.len()
    }

    /// How many messages the client library dropped on this connection because a queue was full.
    pub fn overflowed(&self) -> u64 {
        self.inner.health.overflowed()
    }

    /// How often the connection was lost and came back.
    pub fn reconnects(&self) -> u64 {
        let connects = &self.inner.client.statistics().connects;
        connects.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Hands over what was published, then closes. Returns whether the server has confirmed the former.
    pub(super) async fn drain(&self) -> bool {
        let confirmed = self.round_trip(DRAIN_WAIT).await.is_ok();
        if self.inner.client.drain().await.is_ok() {
            self.inner.health.closed().await;
        }
        confirmed
    }

    /// Sends to a subject that is known to be good, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Headers,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<async_nats::Message, TransportError> {
        let mut expected = self.inner.replies.expect();
        let reply = expected.subject.clone();
        // Where it is made, not moved into the timer: it is a large one, and every stored message has it.
        let exchange = pin!(async {
            self.send(subject, Some(&reply), headers, payload).await?;
            expected.answer().await
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
        self.check_connected().await?;
        self.hand_over(subject.into(), reply.map(Subject::from), headers, payload)
            .await
    }

    /// As [`Link::send`], for a caller that has just seen that there is a connection.
    pub(crate) fn send_now(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        self.hand_over(subject.into(), None, headers, payload)
    }

    /// The message is put together here, and the library waits with it behind a pointer: both are large,
    /// and would be copied with every future that has this one in it.
    fn hand_over(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        let sent = headers.sent().map(|headers| {
            Box::pin(self.inner.client.publish_message(OutboundMessage {
                subject,
                reply,
                headers,
                payload,
            }))
        });
        async move {
            match at_most(QUEUE_WAIT, sent?).await {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(self.publish_error(&error)),
                None => Err(TransportError::Unavailable(
                    "the connection to NATS takes no more messages at the moment".to_owned(),
                )),
            }
        }
    }

    /// A subscription of the client library's, to what may stand in the protocol.
    async fn subscriber(
        &self,
        pattern: &str,
        queue: Option<&str>,
    ) -> Result<async_nats::Subscriber, TransportError> {
        check::pattern(pattern)?;
        if let Some(queue) = queue {
            check::queue(queue)?;
        }
        self.raw_subscribe(pattern, queue).await
    }

    /// Subscribes without bounds of our own, for what has bounds by its nature: pulls and answers.
    pub(super) async fn raw_subscribe(
        &self,
        pattern: &str,
        queue: Option<&str>,
    ) -> Result<async_nats::Subscriber, TransportError> {
        self.check_connected().await?;
        let client = &self.inner.client;
        let pattern = Subject::from(pattern);
        let subscribed = async {
            match queue {
                Some(queue) => client.queue_subscribe(pattern, queue.to_owned()).await,
                None => client.subscribe(pattern).await,
            }
        };
        match tokio::time::timeout(QUEUE_WAIT, subscribed).await {
            Ok(Ok(subscriber)) => Ok(subscriber),
            Ok(Err(error)) => Err(TransportError::Other(format!("cannot subscribe: {error}"))),
            Err(_) => Err(TransportError::Unavailable(
                "the connection to NATS takes no more subscriptions at the moment".to_owned(),
            )),
        }
    }

    /// `Unavailable` without a connection. Gives way first: whoever tries again and again without a pause
    /// would otherwise keep the task from running that brings the connection back.
    async fn check_connected(&self) -> Result<(), TransportError> {
        if self.is_connected() {
            return Ok(());
        }
        tokio::task::yield_now().await;
        Err(TransportError::disconnected())
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
