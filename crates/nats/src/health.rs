//! The state of one connection: up, broken, replaced, closed, and the denials of the server.
//!
//! Each event of the library arrives here, changes the state, and is logged at most once in a few
//! seconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_nats::{Event, ServerError};
use tokio::sync::watch;

use super::denials::{Denial, Denials};
use super::replies::Replies;
use super::source::Subscriptions;
use mistersmith_core::telemetry::Repeats;

/// How often the same thing about a connection is logged again.
const REPEAT: Duration = Duration::from_secs(5);
/// The same, for a connection that does not come about.
pub(super) const REPEAT_TROUBLE: Duration = Duration::from_secs(15);

/// The state of one connection, as the library has reported it.
#[derive(Debug)]
pub(super) struct Health {
    name: String,
    closed: watch::Sender<bool>,
    /// The same, for each message that is sent.
    is_closed: AtomicBool,
    /// It is about to be closed: when it ends now, it is not made again.
    closing: AtomicBool,
    overflowed: AtomicU64,
    /// How often the connection broke.
    breaks: watch::Sender<u64>,
    /// How often its client died.
    client_deaths: AtomicU64,
    pub(super) replies: OnceLock<Weak<Replies>>,
    subscriptions: Arc<Subscriptions>,
    denials: Arc<Denials>,
    /// Changes with the state of this connection; shared by all connections that are watched
    /// together.
    changed: watch::Sender<u64>,
    lines: Repeats,
    troubles: Repeats,
}

impl Health {
    /// Of a connection that is not there yet; `changed` is bumped at every change.
    pub(super) fn new(
        name: &str,
        changed: watch::Sender<u64>,
        subscriptions: Arc<Subscriptions>,
        denials: Arc<Denials>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            closed: watch::channel(false).0,
            is_closed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            overflowed: AtomicU64::new(0),
            breaks: watch::channel(0).0,
            client_deaths: AtomicU64::new(0),
            replies: OnceLock::new(),
            subscriptions,
            denials,
            changed,
            lines: Repeats::new(REPEAT),
            troubles: Repeats::new(REPEAT_TROUBLE),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// From here on the end of the connection is meant.
    pub(super) fn close_soon(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.closed.send_replace(true);
        self.notify();
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// How often the client of this connection died and was replaced.
    pub(super) fn client_deaths(&self) -> u64 {
        self.client_deaths.load(Ordering::Relaxed)
    }

    /// Changes with the state of the connection.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes each time the connection breaks.
    pub(super) fn breaks(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }

    /// Something about it has changed.
    pub(super) fn notify(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Resolves when the connection is closed for good.
    pub(super) async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The task that serves the connection has ended with a panic; another client is about to be
    /// made.
    pub(super) fn on_client_died(&self) {
        self.client_deaths.fetch_add(1, Ordering::Relaxed);
        self.on_disconnect();
        if let Some(times) = self.lines.due("died") {
            tracing::warn!(
                connection = self.name,
                times,
                "a message with a carriage return in a header has ended a connection to NATS, which is made again; \
                 fix: find the publisher, and take its right to publish there"
            );
        }
        self.notify();
    }

    /// The connection does not come about, for this reason.
    pub(super) fn warn_not_connected(&self, error: &dyn std::fmt::Display) {
        let text = error.to_string();
        if let Some(times) = self.troubles.due(&text) {
            tracing::warn!(connection = self.name, times, "{text}; trying again");
        }
    }

    /// Answers to what was sent over a connection that broke cannot come any more.
    fn on_disconnect(&self) {
        self.breaks
            .send_modify(|count| *count = count.wrapping_add(1));
        if let Some(replies) = self.replies.get().and_then(Weak::upgrade) {
            replies.disconnected();
        }
    }

    /// A message was dropped because its queue in the client library was full. When many are, the
    /// library does not report each.
    fn on_overflow(&self) {
        let before = self.overflowed.fetch_add(1, Ordering::Relaxed);
        // Said when the number passes a power of two: seen soon, and never a flood.
        if before == 0 || before.ilog2() < (before + 1).ilog2() {
            let (connection, at_least) = (&self.name, before + 1);
            tracing::warn!(
                connection,
                at_least,
                "messages dropped: this process does not keep up with its connection to NATS"
            );
        }
    }

    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected => self.on_connected(),
            Event::Disconnected => {
                if let Some(times) = self.lines.due("lost") {
                    tracing::warn!(
                        connection = self.name,
                        times,
                        "lost the connection to NATS; reconnecting"
                    );
                }
                self.on_disconnect();
            }
            Event::Closed => self.close(),
            Event::SlowConsumer(_) => self.on_overflow(),
            Event::LameDuckMode => {
                tracing::info!(
                    connection = self.name,
                    "the NATS server is about to shut down"
                );
            }
            Event::ServerError(error) => self.on_server_error(error),
            Event::ClientError(error) => self.on_client_error(&error.to_string()),
            Event::Draining => {}
        }
        self.notify();
    }

    /// There is a connection, for the first time or again.
    pub(super) fn on_connected(&self) {
        // All subscriptions are sent to the server again, and it denies them again.
        self.subscriptions.forget_denials();
        let breaks = *self.breaks.borrow();
        if breaks == 0 {
            tracing::debug!(connection = self.name, "connected to NATS");
        } else if self.lines.due("connected").is_some() {
            tracing::info!(
                connection = self.name,
                times = breaks,
                "connected to NATS again"
            );
        }
    }

    /// An attempt of the library to connect again came to nothing. That the server is away is said
    /// already.
    fn on_client_error(&self, error: &str) {
        if ["authorization violation", "failed signing nonce"]
            .iter()
            .any(|refusal| error.contains(refusal))
        {
            return self.warn_not_connected(
                &"the NATS server rejects the login of a reconnect; \
                  fix: put valid credentials where the old ones are, they are read at each attempt",
            );
        }
        tracing::debug!(connection = self.name, "{error}");
    }

    fn on_server_error(&self, error: &ServerError) {
        let denial = match error {
            ServerError::Other(text) => Denial::read(text),
            _ => None,
        };
        match denial {
            Some(Denial::Subscribe { subject, queue }) => {
                self.on_subscription_denied(&subject, queue.as_deref())
            }
            Some(Denial::Publish { subject }) => {
                self.denials.count_publish();
                if let Some(times) = self.lines.due(&format!("publish {subject}")) {
                    tracing::warn!(
                        connection = self.name,
                        subject,
                        times,
                        "the NATS server denies a publish; fix: its permissions, or the manifest"
                    );
                }
            }
            None => {
                let text = error.to_string();
                if let Some(times) = self.lines.due(&text) {
                    tracing::warn!(connection = self.name, times, "NATS server error: {text}");
                }
            }
        }
    }

    /// The server has denied a subscription.
    fn on_subscription_denied(&self, subject: &str, queue: Option<&str>) {
        let owners = self.subscriptions.denied(subject, queue);
        let Some(times) = self.lines.due(&format!("subscribe {subject}")) else {
            return;
        };
        tracing::warn!(
            connection = self.name,
            subject,
            queue,
            plugins = owners.join(", "),
            times,
            "the NATS server denies a subscription, and nothing arrives there; \
             fix: its permissions, or the manifest"
        );
    }
}
