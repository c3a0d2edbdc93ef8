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
    receiver: mpsc::UnboundedReceiver<Waiting>,
    load: Arc<Load>,
    ending: CancellationToken,
    task: AbortHandle,
}

/// A message that waits, and its part of a budget.
#[derive(Debug)]
struct Waiting {
    message: Message,
    charge: Option<Charge>,
}

/// Bytes that may wait in several subscriptions together. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            used: Arc::default(),
            most,
        }
    }

    fn take(&self, bytes: usize) -> Option<Charge> {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        let charge = Charge {
            used: Arc::clone(&self.used),
            bytes,
        };
        (before.saturating_add(bytes) <= self.most).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What waits in a subscription.
#[derive(Debug, Default)]
struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Subscription {
    pub(super) fn start(subscriber: Subscriber, budget: Option<Budget>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let ending = CancellationToken::new();
        let task = forward(
            subscriber,
            sender,
            Arc::clone(&load),
            budget,
            ending.clone(),
        );
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
        self.next_charged().await.map(|(message, _)| message)
    }

    /// As [`Subscription::next`], with the message's part of the budget, to be kept while it waits elsewhere.
    pub async fn next_charged(&mut self) -> Option<(Message, Option<Charge>)> {
        let Waiting { message, charge } = self.receiver.recv().await?;
        self.load.messages.fetch_sub(1, Ordering::Relaxed);
        self.load
            .bytes
            .fetch_sub(weight(&message), Ordering::Relaxed);
        Some((message, charge))
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
    sender: mpsc::UnboundedSender<Waiting>,
    load: Arc<Load>,
    budget: Option<Budget>,
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
        let charge = budget.as_ref().map(|budget| budget.take(bytes));
        let full = load.messages.load(Ordering::Relaxed) >= MAX_WAITING
            || load.bytes.load(Ordering::Relaxed).saturating_add(bytes) > MAX_WAITING_BYTES
            || matches!(charge, Some(None));
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
        let charge = charge.flatten();
        if sender.send(Waiting { message, charge }).is_err() {
            return;
        }
    }
}

/// The bytes that a waiting message is counted with: its payload, and something for the rest.
fn weight(message: &Message) -> usize {
    message.payload.len().saturating_add(256)
}
