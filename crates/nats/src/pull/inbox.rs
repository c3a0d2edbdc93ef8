//! The inbox of a pull: a subscription with a subject of its own for each pull that uses it.
//!
//! A late status of one pull is never taken for the answer to another, because no two pulls have
//! the same subject. Messages arrive with the subject of their stream, so that they cannot be
//! assigned to a pull: an inbox is used again only after all messages of its pull have come.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;

use super::bounds::SLACK;
use super::inbox_message::{InboxMessage, is_stored};
use super::target::Target;

use crate::{Connection, Headers, JetStreamMessage, TransportError};

/// How much can be on its way when a waiting pull is taken back: its message, a heartbeat, its end.
const ON_ITS_WAY: u64 = 4;
/// How long the pull stands that makes the server throw away the one that was taken back.
const FORGOTTEN: Duration = Duration::from_millis(1);
/// The delay with which messages go back that no pull waits for.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// Unused inboxes that one puller keeps.
const MAX_IDLE_INBOXES: usize = 16;

/// Inboxes that no pull uses at the moment. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleInboxes(Arc<Mutex<Vec<Inbox>>>);

impl IdleInboxes {
    /// One to which messages can still come.
    pub(super) fn take(&self, connection: &Connection) -> Option<Inbox> {
        let mut idle = self.0.lock();
        while let Some(inbox) = idle.pop() {
            if inbox.is_alive(connection) {
                return Some(inbox);
            }
        }
        None
    }

    /// Keeps an inbox for the next pull, unless there are enough.
    pub(super) fn keep(&self, inbox: Inbox) {
        let mut idle = self.0.lock();
        if idle.len() < MAX_IDLE_INBOXES {
            idle.push(inbox);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Where the messages of pulls arrive, of one pull after another.
#[derive(Debug)]
pub(super) struct Inbox {
    /// All subjects begin with it.
    prefix: String,
    /// The subject of the pull that uses it now.
    pub(super) subject: String,
    pulls: u64,
    /// The number of the client that it belongs to.
    generation: u64,
    subscriber: Subscriber,
    /// Everything that was read from it, in all its pulls.
    read: u64,
}

impl Inbox {
    /// Subscribes to a new inbox, which no pull has used yet.
    pub(super) async fn open(connection: &Connection) -> Result<Self, TransportError> {
        let prefix = connection.new_inbox();
        let (subscriber, generation) = connection.raw_subscribe(&format!("{prefix}.*")).await?;
        Ok(Self {
            generation,
            subject: String::new(),
            prefix,
            pulls: 0,
            subscriber,
            read: 0,
        })
    }

    /// Whether messages can still come to it: with its client an inbox dies.
    pub(super) fn is_alive(&self, connection: &Connection) -> bool {
        connection.has_client(self.generation)
    }

    /// Gives the next pull its subject.
    pub(super) fn begin(&mut self) {
        self.pulls = self.pulls.saturating_add(1);
        self.subject = format!("{}.{}", self.prefix, self.pulls);
    }

    /// The next message for the pull that uses it now, without late statuses of earlier ones. None
    /// when the subscription has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<InboxMessage> {
        loop {
            let message = self.subscriber.next().await?;
            self.read = self.read.saturating_add(1);
            if is_stored(&message) || message.subject.as_str() == self.subject {
                return Some(InboxMessage::read(message));
            }
        }
    }

    /// Lets the server forget the inbox, and with it the pull that waits there; what is on its way
    /// still arrives, and then the inbox ends.
    ///
    /// The library's own `drain` (async-nats 0.51.0; nats-io/nats.rs pull request 1332) forgets the
    /// subscription before the server does, so that a message on its way would be dropped and come
    /// again only after the ack wait. An unsubscription after some more messages, and these
    /// messages sent by ourselves, end it on both sides at the same one.
    pub(super) async fn close(&mut self, target: &Target) -> Result<(), TransportError> {
        let last = self.read.saturating_add(ON_ITS_WAY);
        let ends = self.subscriber.unsubscribe_after(last).await;
        ends.map_err(|_| TransportError::disconnected())?;
        for _ in 0..ON_ITS_WAY {
            let connection = &target.connection;
            connection
                .send(&self.subject, None, Headers::new(), Bytes::new())
                .await?;
        }
        // A server before 2.10 that means to deliver a message again, finds only pulls that nobody
        // waits for, and has no other, forgets about the message until the ack wait is over. It
        // throws such pulls away when it looks for more work, which any further pull makes it do.
        target.ask(1, FORGOTTEN, &self.subject).await
    }
}

/// Gives back what still comes to the inbox of a pull that nobody waits for any more. `waits`: the
/// pull stands at the server, which has to forget it.
pub(super) async fn give_back(target: Target, mut inbox: Inbox, waits: bool) {
    if waits && inbox.close(&target).await.is_err() {
        return;
    }
    let rest = async {
        while let Some(message) = inbox.next().await {
            // Without a connection the message comes again after the ack wait.
            if let InboxMessage::Message(message) = message
                && let Ok(delivered) = JetStreamMessage::received(&target.connection, *message)
            {
                let _ = delivered.acker.nak(GIVE_BACK).await;
            }
        }
    };
    let _ = tokio::time::timeout(SLACK, rest).await;
}
