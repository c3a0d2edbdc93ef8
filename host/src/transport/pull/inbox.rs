//! The inbox of a pull, and ending it so that nothing on its way is lost.

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Puller, SLACK, is_stored};
use crate::transport::{Delivered, Headers, TransportError};

/// How much can be on its way when a waiting pull is taken back: its message, a heartbeat, its end.
const ON_ITS_WAY: u64 = 4;
/// How long the pull stands that makes the server throw away the one that was taken back.
const FORGOTTEN: Duration = Duration::from_millis(1);
/// The delay with which messages of a dropped pull are given back.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// Where the messages of a pull arrive.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) subject: String,
    subscriber: Subscriber,
    /// Everything that was read from it, in all its pulls.
    read: u64,
}

impl Inbox {
    pub(super) fn new(subject: String, subscriber: Subscriber) -> Self {
        Self {
            subject,
            subscriber,
            read: 0,
        }
    }

    pub(super) async fn next(&mut self) -> Option<async_nats::Message> {
        let message = self.subscriber.next().await?;
        self.read = self.read.saturating_add(1);
        Some(message)
    }

    /// Lets the server forget the inbox, and with it the pull that waits there; what is on its way still
    /// arrives, and then the inbox ends.
    ///
    /// The library's own `drain` forgets the subscription before the server does, so that a message on its
    /// way would be dropped and come again only after the ack wait. An unsubscription after some more
    /// messages, and these messages sent by ourselves, end it on both sides at the same one.
    pub(super) async fn close(&mut self, puller: &Puller) -> Result<(), TransportError> {
        let last = self.read.saturating_add(ON_ITS_WAY);
        let ends = self.subscriber.unsubscribe_after(last).await;
        ends.map_err(|_| TransportError::disconnected())?;
        for _ in 0..ON_ITS_WAY {
            let link = &puller.link;
            link.send(&self.subject, None, Headers::new(), Bytes::new())
                .await?;
        }
        // A server before 2.10 that means to deliver a message again, finds only pulls that nobody waits
        // for, and has no other, forgets about the message until the ack wait is over. It throws such
        // pulls away when it looks for more work, which any further pull makes it do.
        puller.ask(1, FORGOTTEN, false, &self.subject).await
    }
}

/// Ends the subscription of a dropped pull, so that the server forgets the pull, and returns what came.
pub(super) async fn give_back(puller: Puller, mut inbox: Inbox) {
    if inbox.close(&puller).await.is_err() {
        return;
    }
    let rest = async {
        while let Some(message) = inbox.next().await {
            if is_stored(&message)
                && let Ok(delivered) = Delivered::received(&puller.link, message)
            {
                let _ = delivered.fate.nak(GIVE_BACK).await;
            }
        }
    };
    let _ = tokio::time::timeout(SLACK, rest).await;
}
