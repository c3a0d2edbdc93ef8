//! A core subscription with a bound in bytes.
//!
//! The library bounds the number of waiting messages and not their bytes, and drops what is too
//! much. Here a task moves messages into a queue that is bounded in bytes, and each message that
//! does not fit is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

use super::Message;
use super::source::Source;
use mistersmith_core::byte_budget::{ByteBudget, ByteCharge};

/// Most bytes that wait in a subscription that shares no budget with others.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Most messages that are moved in one go, so that others on this thread have their turn too.
const MOVED_AT_ONCE: usize = 4096;

/// Messages of one subject pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::UnboundedReceiver<Waiting>,
    dropped: Arc<AtomicU64>,
    ending: CancellationToken,
    task: AbortHandle,
}

/// A message that waits, and its part of the budget.
#[derive(Debug)]
struct Waiting {
    message: Message,
    charge: ByteCharge,
}

impl Subscription {
    pub(super) fn start(source: Source, budget: Option<ByteBudget>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let dropped = Arc::default();
        let ending = CancellationToken::new();
        let task = Forward {
            source,
            sender,
            budget: budget.unwrap_or_else(|| ByteBudget::new(MAX_WAITING_BYTES)),
            dropped: Arc::clone(&dropped),
        };
        // Not in turns of the library's making: what it has no room for is lost.
        let task = unconstrained(task.run(ending.clone()));
        let task = tokio::spawn(task).abort_handle();
        Self {
            receiver,
            dropped,
            ending,
            task,
        }
    }

    /// The next message; none when the connection was closed for good. Survives reconnects and
    /// replaced clients.
    pub async fn next(&mut self) -> Option<Message> {
        self.next_charged().await.map(|(message, _)| message)
    }

    /// As [`Subscription::next`], with the message's part of the budget, to be kept while it waits
    /// elsewhere.
    pub async fn next_charged(&mut self) -> Option<(Message, ByteCharge)> {
        let Waiting { message, charge } = self.receiver.recv().await?;
        Some((message, charge))
    }

    /// Unsubscribes. What has arrived by then is still returned by [`Subscription::next`], and then
    /// none.
    pub fn stop(&self) {
        self.ending.cancel();
    }

    /// How many messages were dropped because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The task owns the source, whose drop unsubscribes.
        self.task.abort();
    }
}

/// Moves messages from the client library to the reader.
struct Forward {
    source: Source,
    sender: mpsc::UnboundedSender<Waiting>,
    budget: ByteBudget,
    dropped: Arc<AtomicU64>,
}

impl Forward {
    async fn run(mut self, ending: CancellationToken) {
        let mut stopping = false;
        let mut moved = 0_usize;
        loop {
            let next = tokio::select! {
                biased;
                () = ending.cancelled(), if !stopping => {
                    stopping = true;
                    // Without a connection there is nothing left to come.
                    if !self.source.stop().await {
                        return;
                    }
                    continue;
                }
                next = self.source.next() => next,
            };
            let Some(message) = next else { return };
            if !self.forward(message) {
                return;
            }
            moved += 1;
            if moved.is_multiple_of(MOVED_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether there is still a reader.
    fn forward(&self, message: async_nats::Message) -> bool {
        let message = Message::received_behind(message, self.budget.used());
        let Some(charge) = self.budget.take(message.waiting_bytes()) else {
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    subject = message.subject,
                    "a subscription is read too slowly; messages are dropped"
                );
            }
            return true;
        };
        self.sender.send(Waiting { message, charge }).is_ok()
    }
}
