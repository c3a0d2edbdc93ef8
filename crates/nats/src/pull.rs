//! Pulls messages from a durable consumer.
//!
//! A pull ends when all its messages have come or its time is over, whatever status messages come
//! before, between or after them (`status`). Pulls are written out here, and the library's are not
//! used: in async-nats 0.51.0 a batch ends with a status, also while messages are still on their
//! way, and a server since 2.10 sends `409 Batch Completed` (nats-io/nats-server pull request
//! 3822), on a cluster even before the messages. An inbox is kept for the next pull, so that a
//! standing pull of one message costs one message to the server and one back; each pull has a
//! subject of its own there (`inbox`).

mod bounds;
mod consumer;
mod inbox;
mod inbox_message;
mod running;
mod status;
mod target;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consumer::Consumer;
use inbox::{IdleInboxes, Inbox};
use running::Asked;
use target::Target;

use super::{Connection, TransportError, Unreadable, check, unreadable};

pub use running::Pull;

/// Pulls from one consumer. Clones share inboxes; any number of pulls may run at once.
#[derive(Debug, Clone)]
pub struct Puller {
    target: Target,
    idle: IdleInboxes,
}

impl Connection {
    /// A puller for a consumer. The first pull fails when that does not exist.
    pub fn puller(&self, stream: &str, durable: &str) -> Puller {
        Puller {
            target: Target {
                connection: self.clone(),
                consumer: Arc::new(Consumer::new(stream, durable)),
            },
            idle: IdleInboxes::default(),
        }
    }
}

impl Puller {
    /// Asks for up to `max` messages, as they come, until `expires`. With `expires` zero: what is
    /// there now.
    ///
    /// A pull takes at most 4,096 messages, as many as the consumer's `max_batch`, and 32 MiB (or
    /// two of the largest messages); then it ends early. Errors: `Unavailable`, `Invalid`, and
    /// `NotFound` for a consumer that does not exist.
    pub async fn pull(&self, max: usize, expires: Duration) -> Result<Pull, TransportError> {
        let Target {
            connection,
            consumer,
        } = &self.target;
        check::name("stream", &consumer.stream)?;
        check::name("consumer", &consumer.name)?;
        if !consumer.known.load(Ordering::Relaxed) {
            consumer.check(connection).await?;
        }
        let asked = Asked {
            max: max.clamp(1, consumer.most()),
            expires,
        };
        let broken = connection.inner.health.breaks();
        let mut inbox = self.inbox().await?;
        inbox.begin();
        self.target.ask(asked.max, expires, &inbox.subject).await?;
        let (target, idle) = (self.target.clone(), self.idle.clone());
        Ok(Pull::begin(target, idle, inbox, broken, asked))
    }

    /// Messages that were delivered by this consumer and that the client library cannot read: what
    /// stands behind connections that break again and again while pulling. Looks at the oldest
    /// `most` that are open.
    ///
    /// Errors: `NotFound`, `Unavailable`.
    pub async fn unreadable(&self, most: usize) -> Result<Vec<Unreadable>, TransportError> {
        let Target {
            connection,
            consumer,
        } = &self.target;
        unreadable::find(connection, &consumer.stream, &consumer.name, most).await
    }

    /// An idle inbox, or a new one.
    async fn inbox(&self) -> Result<Inbox, TransportError> {
        match self.idle.take(&self.target.connection) {
            Some(inbox) => Ok(inbox),
            None => Inbox::open(&self.target.connection).await,
        }
    }

    #[cfg(test)]
    pub(super) fn idle_inboxes(&self) -> usize {
        self.idle.len()
    }
}
