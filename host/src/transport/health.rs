//! What one connection has been through: up, broken, closed, and how many messages it dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use async_nats::Event;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::replies::Replies;

/// What the library reported about one connection.
#[derive(Debug)]
pub(super) struct Health {
    name: String,
    closed: watch::Sender<bool>,
    /// The same, for each message that is sent.
    is_closed: AtomicBool,
    overflowed: AtomicU64,
    /// How often the connection broke.
    breaks: watch::Sender<u64>,
    pub(super) replies: OnceLock<Weak<Replies>>,
    /// Bumped at every change, for whoever watches several connections.
    changed: watch::Sender<u64>,
    /// Told when the connection has ended for good, on purpose or not.
    ended: CancellationToken,
}

impl Health {
    /// Of a connection that is not there yet; `changed` is bumped at every change, `ended` told of its end.
    pub(super) fn new(name: &str, changed: watch::Sender<u64>, ended: CancellationToken) -> Self {
        Self {
            name: name.to_owned(),
            closed: watch::channel(false).0,
            is_closed: AtomicBool::new(false),
            overflowed: AtomicU64::new(0),
            breaks: watch::channel(0).0,
            replies: OnceLock::new(),
            changed,
            ended,
        }
    }

    /// The connection does not come back: the library has nobody any more who serves it.
    pub(super) fn ended(&self) {
        self.close();
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
        self.ended.cancel();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.closed.send_replace(true);
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Changes with the state of the connection.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes each time the connection breaks.
    pub(super) fn breaks(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }

    /// Resolves when the connection is closed for good.
    pub(super) async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// A message was dropped because its queue in the client library was full. When many are, the library
    /// does not report each.
    fn overflow(&self) {
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

    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                let times = *self.breaks.borrow();
                if times > 0 {
                    tracing::info!(connection = self.name, times, "connected to NATS again");
                } else {
                    tracing::debug!(connection = self.name, "connected to NATS");
                }
            }
            Event::Disconnected => {
                tracing::warn!(
                    connection = self.name,
                    "lost the connection to NATS; trying to get it back"
                );
                self.breaks
                    .send_modify(|count| *count = count.wrapping_add(1));
                if let Some(replies) = self.replies.get().and_then(Weak::upgrade) {
                    replies.disconnected();
                }
            }
            Event::Closed => self.close(),
            Event::SlowConsumer(_) => self.overflow(),
            Event::LameDuckMode => {
                tracing::info!(
                    connection = self.name,
                    "the NATS server is about to shut down"
                );
            }
            Event::ServerError(error) => {
                tracing::warn!(connection = self.name, "the NATS server says: {error}");
            }
            Event::ClientError(error) => tracing::debug!(connection = self.name, "{error}"),
            Event::Draining => {}
        }
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}
