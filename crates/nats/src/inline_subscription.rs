//! A core subscription without a task of its own, for a reader that hands on each message at once.
//!
//! The library counts waiting messages and not their bytes. So the reader moves all that the
//! library holds whenever it has taken a few, and while it waits for something else; beyond the
//! bounds in bytes messages are dropped and counted. Without that, large messages would fill the
//! memory before their number reaches the library's limit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop::{consume_budget, unconstrained};

use super::Message;
use super::backlog::Backlog;
use super::source::Source;
use mistersmith_core::byte_budget::{ByteBudget, ByteCharge};

/// Bytes that may wait here beyond those that may wait for the agents: requests that find no room
/// there are answered with an error, and not dropped before.
const BEYOND: usize = 32 * 1024 * 1024;
/// After so many messages that were taken the library is looked at again although some are waiting.
const LOOK_AFTER: usize = 32;
/// Most messages that are moved in one go, so that others on this thread have their turn too.
const MOVED_AT_ONCE: usize = 8_192;

/// Messages of one subject pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct InlineSubscription {
    source: Source,
    waiting: Backlog<Message>,
    /// Their part of the budget.
    held: ByteCharge,
    /// Taken since the library was last looked at.
    taken: usize,
    dropped: u64,
    /// Without a connection there is nothing left to come but what has arrived.
    closing: bool,
    ended: bool,
}

impl InlineSubscription {
    /// Waiting messages count against a budget that they share with the messages which the reader
    /// has handed on.
    pub(super) fn new(source: Source, budget: &ByteBudget) -> Self {
        Self {
            source,
            waiting: Backlog::default(),
            held: budget.nothing(),
            taken: 0,
            dropped: 0,
            closing: false,
            ended: false,
        }
    }

    /// The next message; none when the connection was closed for good. Survives reconnects and
    /// replaced clients; cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A message that waits already. A reader that gets none waits by [`InlineSubscription::next`].
    pub fn try_next(&mut self) -> Option<Message> {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.poll_next(&mut nobody) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    /// Waits for something else, and goes on moving what arrives meanwhile: however long it takes,
    /// what waits is bounded in bytes.
    pub async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(output) = other.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.fill(cx);
            Poll::Pending
        })
        .await
    }

    /// Unsubscribes. What has arrived by then is still returned by [`InlineSubscription::next`],
    /// and then none.
    pub async fn stop(&mut self) {
        self.closing |= !self.source.stop().await;
    }

    /// How many messages were dropped because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if self.taken >= LOOK_AFTER {
            self.fill(cx);
        }
        if !self.waiting.is_empty() {
            // Nobody has counted this yet as a part of the turn that the reader has.
            ready!(pin!(consume_budget()).poll(cx));
        }
        if let Some(message) = self.waiting.pop() {
            self.taken += 1;
            self.held.shrink(message.waiting_bytes());
            return Poll::Ready(Some(message));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        // Nothing waits here: straight from the library.
        match self.source.poll_next(cx) {
            Poll::Pending if !self.closing => {
                self.taken = 0;
                Poll::Pending
            }
            Poll::Ready(Some(message)) => {
                self.taken += 1;
                Poll::Ready(Some(self.received(message)))
            }
            _ => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }

    /// Moves what the library holds, all of it and not in turns: what it has no room for is lost.
    fn fill(&mut self, cx: &mut Context<'_>) {
        self.taken = 0;
        let moved = unconstrained(poll_fn(|cx| Poll::Ready(self.move_all(cx))));
        if pin!(moved).poll(cx) == Poll::Ready(Moved::Part) {
            cx.waker().wake_by_ref();
        }
    }

    fn move_all(&mut self, cx: &mut Context<'_>) -> Moved {
        for _ in 0..MOVED_AT_ONCE {
            if self.ended {
                return Moved::All;
            }
            match self.source.poll_next(cx) {
                Poll::Ready(Some(message)) => self.add(message),
                Poll::Pending if !self.closing => return Moved::All,
                _ => self.ended = true,
            }
        }
        Moved::Part
    }

    fn add(&mut self, message: async_nats::Message) {
        let message = self.received(message);
        if self.held.grow(message.waiting_bytes(), BEYOND) {
            self.waiting.push(message);
            return;
        }
        if self.dropped == 0 {
            tracing::warn!(
                subject = message.subject,
                "a subscription is read too slowly; messages are dropped"
            );
        }
        self.dropped += 1;
    }

    fn received(&self, message: async_nats::Message) -> Message {
        Message::received_behind(message, self.held.used())
    }
}

/// How much of what the library held was moved.
#[derive(Debug, PartialEq, Eq)]
enum Moved {
    All,
    Part,
}
