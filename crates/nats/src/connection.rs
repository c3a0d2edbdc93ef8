//! One named connection: publish, request, subscribe.
//!
//! No call waits without a bound. While there is no connection a call fails with `Unavailable` at
//! once: the library would queue the message, and lose it at a break (seen with async-nats 0.51.0).
//! Only while a dead client is replaced, which takes milliseconds, a call waits for a moment.

mod counts;
mod inner;
mod sending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{ServerInfo, Subject};
use bytes::Bytes;

use super::generation::Generation;
use super::source::{Source, SubscriptionSpec};
use super::{Headers, InlineSubscription, Message, Subscription, TransportError, check};
use mistersmith_core::byte_budget::ByteBudget;

pub(super) use inner::Inner;

/// How long a publish waits for room in the client's queue before it counts as no connection.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// How often a missing connection is checked for again, when no change was reported.
const RECHECK: Duration = Duration::from_millis(500);

/// How long a message waits for the client that replaces one that died. The server is there, so
/// this is short.
const REPLACE_WAIT: Duration = Duration::from_millis(250);

/// How long draining waits for the server to confirm what was published.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// One connection to NATS. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) inner: Arc<Inner>,
    /// The plugin that this connection belongs to, if any.
    owner: Option<Arc<str>>,
}

impl From<Arc<Inner>> for Connection {
    fn from(inner: Arc<Inner>) -> Self {
        Self { inner, owner: None }
    }
}

impl Connection {
    /// Sends a message. Returns when the client has taken it over: a connection that breaks now can
    /// still lose it.
    ///
    /// Errors: `Invalid`, `TooLarge`; `Unavailable` without a connection, or when the queue to the
    /// server stays full for two seconds.
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
    /// Errors: as [`Connection::publish`]; `NoResponders` when nobody listens, reported at once by
    /// the server; `Timeout`; `Unavailable` also when the connection breaks meanwhile.
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
    /// The subscription is on its way to the server when this returns; [`Connection::round_trip`]
    /// afterwards waits until the server has it. Errors: `Invalid`, `Unavailable`.
    pub async fn subscribe(
        &self,
        pattern: &str,
        queue: Option<&str>,
    ) -> Result<Subscription, TransportError> {
        self.source(pattern, queue)
            .await
            .map(|source| Subscription::start(source, None))
    }

    /// As [`Connection::subscribe`], for a reader that takes every message at once. What waits
    /// counts against a budget that what the reader has handed on shares.
    pub async fn subscribe_inline(
        &self,
        pattern: &str,
        queue: Option<&str>,
        budget: &ByteBudget,
    ) -> Result<InlineSubscription, TransportError> {
        self.source(pattern, queue)
            .await
            .map(|source| InlineSubscription::new(source, budget))
    }

    /// As [`Connection::subscribe`]; what waits counts against a budget that other subscriptions
    /// share.
    pub async fn subscribe_within(
        &self,
        pattern: &str,
        queue: Option<&str>,
        budget: &ByteBudget,
    ) -> Result<Subscription, TransportError> {
        self.source(pattern, queue)
            .await
            .map(|source| Subscription::start(source, Some(budget.clone())))
    }

    /// The same connection for a plugin: what it subscribes to is known as the plugin's.
    pub fn owned_by(&self, plugin: &str) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            owner: Some(Arc::from(plugin)),
        }
    }

    /// Whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether there is a connection to a server at this moment.
    pub fn is_connected(&self) -> bool {
        self.inner.is_up()
    }

    /// Whether it was closed for good.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.health.is_closed()
    }

    /// Resolves when there is a connection.
    pub async fn connected(&self) {
        let mut changes = self.inner.health.changes();
        while !self.is_connected() {
            // The library reports a connection a little before its state is `Connected`.
            let _ = tokio::time::timeout(RECHECK, changes.changed()).await;
        }
    }

    /// Changes with the state of this connection, and of others of the same host.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.health.changes()
    }

    /// Waits until everything published so far was written to the socket. That is no proof that the
    /// server has it; [`Connection::round_trip`] is.
    pub async fn flush(&self) {
        if self.is_connected() {
            let current = self.inner.current();
            let _ = tokio::time::timeout(QUEUE_WAIT, current.client.flush()).await;
        }
    }

    /// Waits until the server has handled everything sent before on this connection; returns how
    /// long that took.
    pub async fn round_trip(&self, timeout: Duration) -> Result<Duration, TransportError> {
        let start = Instant::now();
        // An echo to ourselves, not a request that nobody answers: somebody who listens to `>`
        // would swallow that.
        let mut pending = self.inner.replies.register();
        let inbox = pending.subject.clone();
        let exchange = async {
            self.send(&inbox, None, Headers::new(), Bytes::new())
                .await?;
            pending.answer().await
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| TransportError::Timeout)??;
        Ok(start.elapsed())
    }

    /// The largest message, headers and payload, that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.inner.current().client.max_payload()
    }

    /// The server's INFO.
    pub(super) fn server_info(&self) -> ServerInfo {
        self.inner.current().client.server_info()
    }

    /// Whether the client with this number is that of this moment, and is served: another one
    /// follows when it has died.
    pub(super) fn has_client(&self, number: u64) -> bool {
        let current = self.inner.current();
        current.number == number && !current.is_dead()
    }

    /// A subject on which only this connection listens, once it has subscribed to it.
    pub(super) fn new_inbox(&self) -> String {
        self.inner.current().client.new_inbox()
    }

    /// Hands over what was published, then closes. Returns whether the server has confirmed the
    /// former.
    pub(super) async fn drain(&self) -> bool {
        let confirmed = self.round_trip(DRAIN_WAIT).await.is_ok();
        self.inner.health.close_soon();
        if self.inner.current().client.drain().await.is_ok() {
            self.inner.health.closed().await;
        }
        confirmed
    }

    /// A subscription that is made again on every next client, to what may stand in the protocol.
    async fn source(&self, pattern: &str, queue: Option<&str>) -> Result<Source, TransportError> {
        check::pattern(pattern)?;
        if let Some(queue) = queue {
            check::queue(queue)?;
        }
        let wanted = SubscriptionSpec {
            pattern: pattern.to_owned(),
            queue: queue.map(str::to_owned),
            owner: self.owner.clone(),
        };
        let current = self.usable_client().await?;
        let all = &self.inner.subscriptions;
        all.open(wanted, &current.client, current.number).await
    }

    /// Subscribes on the client of this moment alone, without bounds of our own, for what has
    /// bounds by its nature and ends with that client: pulls. Returns its number too.
    pub(super) async fn raw_subscribe(
        &self,
        pattern: &str,
    ) -> Result<(async_nats::Subscriber, u64), TransportError> {
        let current = self.usable_client().await?;
        let subscribed = current.client.subscribe(Subject::from(pattern));
        match tokio::time::timeout(QUEUE_WAIT, subscribed).await {
            Ok(Ok(subscriber)) => Ok((subscriber, current.number)),
            // Nobody serves this client any more.
            Ok(Err(_)) => Err(TransportError::disconnected()),
            Err(_) => Err(TransportError::Unavailable(
                "the send queue to the NATS server is full".to_owned(),
            )),
        }
    }

    /// The client of this moment, if it has a connection; else `Unavailable`. One that died is
    /// replaced in a moment, for which this waits. Otherwise it yields first: a caller that tries
    /// again and again without a pause would keep the task from running that brings the connection
    /// back.
    async fn usable_client(&self) -> Result<Arc<Generation>, TransportError> {
        let mut current = self.inner.current();
        if current.is_dead() && !self.inner.health.is_closing() {
            let _ = tokio::time::timeout(REPLACE_WAIT, self.connected()).await;
            current = self.inner.current();
        }
        if current.is_up() && !self.inner.health.is_closed() {
            return Ok(current);
        }
        tokio::task::yield_now().await;
        Err(TransportError::disconnected())
    }
}
