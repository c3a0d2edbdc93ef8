//! The inbox of a pull: a subscription with a subject of its own for each pull that uses it.
//!
//! A late status of one pull can never be taken for the answer to another, because each pull has a
//! subject that no other pull has had. Messages keep the subject of their stream, so that their pull
//! cannot be told: an inbox is used again only after all messages of its pull have come.

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::running::{Word, is_stored};
use super::{Puller, SLACK};
use crate::transport::{Delivered, Headers, Link, TransportError};

/// How much can be on its way when a waiting pull is taken back: its message, a heartbeat, its end.
const ON_ITS_WAY: u64 = 4;
/// How long the pull stands that makes the server throw away the one that was taken back.
const FORGOTTEN: Duration = Duration::from_millis(1);
/// The delay with which messages go back that no pull waits for.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// Where the messages of pulls arrive, of one pull after another.
#[derive(Debug)]
pub(super) struct Inbox {
    /// All subjects begin with it.
    prefix: String,
    /// The subject of the pull that uses it now.
    pub(super) subject: String,
    pulls: u64,
    subscriber: Subscriber,
    /// Everything that was read from it, in all its pulls.
    read: u64,
}

impl Inbox {
    /// Subscribes to a new inbox, which no pull has used yet.
    pub(super) async fn open(link: &Link) -> Result<Self, TransportError> {
        let prefix = link.inner.client.new_inbox();
        let subscriber = link.raw_subscribe(&format!("{prefix}.*"), None).await?;
        Ok(Self {
            subject: String::new(),
            prefix,
            pulls: 0,
            subscriber,
            read: 0,
        })
    }

    /// Gives the next pull its subject.
    pub(super) fn begin(&mut self) {
        self.pulls = self.pulls.saturating_add(1);
        self.subject = format!("{}.{}", self.prefix, self.pulls);
    }

    /// What comes next for the pull that uses it now, without late statuses of earlier ones. None
    /// when the subscription has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Word> {
        loop {
            let message = self.subscriber.next().await?;
            self.read = self.read.saturating_add(1);
            if is_stored(&message) || message.subject.as_str() == self.subject {
                return Some(Word::read(message));
            }
        }
    }

    /// Lets the server forget the inbox, and with it the pull that waits there; what is on its way
    /// still arrives, and then the inbox ends.
    ///
    /// The library's own `drain` forgets the subscription before the server does, so that a message
    /// on its way would be dropped and come again only after the ack wait. An unsubscription after
    /// some more messages, and these messages sent by ourselves, end it on both sides at the same
    /// one.
    pub(super) async fn close(&mut self, puller: &Puller) -> Result<(), TransportError> {
        let last = self.read.saturating_add(ON_ITS_WAY);
        let ends = self.subscriber.unsubscribe_after(last).await;
        ends.map_err(|_| TransportError::disconnected())?;
        for _ in 0..ON_ITS_WAY {
            let link = &puller.link;
            link.send(&self.subject, None, Headers::new(), Bytes::new())
                .await?;
        }
        // A server before 2.10 that means to deliver a message again, finds only pulls that nobody
        // waits for, and has no other, forgets about the message until the ack wait is over. It
        // throws such pulls away when it looks for more work, which any further pull makes it do.
        puller.ask(1, FORGOTTEN, &self.subject).await
    }
}

/// Gives back what still comes to the inbox of a pull that nobody waits for any more. `waits`: the
/// pull stands at the server, which has to forget it.
pub(super) async fn give_back(puller: Puller, mut inbox: Inbox, waits: bool) {
    if waits && inbox.close(&puller).await.is_err() {
        return;
    }
    let rest = async {
        while let Some(word) = inbox.next().await {
            // Without a connection the message comes again after the ack wait.
            if let Word::Message(message) = word
                && let Ok(delivered) = Delivered::received(&puller.link, *message)
            {
                let _ = delivered.fate.nak(GIVE_BACK).await;
            }
        }
    };
    let _ = tokio::time::timeout(SLACK, rest).await;
}
