//! A core subscription with bounds of its own.
//!
//! The client library counts messages, not bytes, and drops silently. Here a small task moves messages
//! into a queue that is bounded in both, and every message that did not fit is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::Message;

/// Most messages that wait in one subscription; more are dropped and counted.
const MAX_WAITING: usize = 8_192;
/// Most payload bytes that wait in one subscription: with 1,000 subscriptions of slow readers, 16 GiB at the worst.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Messages of one subject pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::UnboundedReceiver<Message>,
    load: Arc<Load>,
    ending: CancellationToken,
    task: AbortHandle,
}

/// What waits in a subscription.
#[derive(Debug, Default)]
struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Subscription {
    pub(super) fn start(subscriber: Subscriber) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let ending = CancellationToken::new();
        let task = forward(subscriber, sender, Arc::clone(&load), ending.clone());
        let task = tokio::spawn(task).abort_handle();
        Self {
            receiver,
            load,
            ending,
            task,
        }
    }

    /// The next message; none when the connection was closed for good. Survives reconnects.
    pub async fn next(&mut self) -> Option<Message> {
        let message = self.receiver.recv().await?;
        self.load.messages.fetch_sub(1, Ordering::Relaxed);
        self.load
            .bytes
            .fetch_sub(weight(&message), Ordering::Relaxed);
        Some(message)
    }

    /// Unsubscribes. What has arrived by then is still returned by [`Subscription::next`], and then none.
    pub fn stop(&self) {
        self.ending.cancel();
    }

    /// How many messages were dropped because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.load.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The task owns the library's subscriber, whose own drop tells the server.
        self.task.abort();
    }
}

async fn forward(
    mut subscriber: Subscriber,
    sender: mpsc::UnboundedSender<Message>,
    load: Arc<Load>,
    ending: CancellationToken,
) {
    let mut stopping = false;
    loop {
        let next = tokio::select! {
            biased;
            () = ending.cancelled(), if !stopping => {
                stopping = true;
                // Without a connection there is nothing left to come.
                if subscriber.drain().await.is_err() {
                    return;
                }
                continue;
            }
            next = subscriber.next() => next,
        };
        let Some(message) = next else { return };
        let message = Message::received(message);
        let bytes = weight(&message);
        let full = load.messages.load(Ordering::Relaxed) >= MAX_WAITING
            || load.bytes.load(Ordering::Relaxed).saturating_add(bytes) > MAX_WAITING_BYTES;
        if full {
            if load.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    subject = message.subject,
                    "a subscription is read too slowly; messages are dropped"
                );
            }
            continue;
        }
        load.messages.fetch_add(1, Ordering::Relaxed);
        load.bytes.fetch_add(bytes, Ordering::Relaxed);
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// The bytes that a waiting message is counted with: its payload, and something for the rest.
fn weight(message: &Message) -> usize {
    message.payload.len().saturating_add(256)
}
