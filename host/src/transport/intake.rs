//! A core subscription for a reader that never waits for others: it takes every message at once,
//! to an agent or away.
//!
//! No task stands between the client library and the reader. The library counts messages and not
//! bytes; so all that it holds is moved here whenever the reader has taken a few, and while the reader
//! waits for something else. What is beyond the bounds in bytes is dropped and counted.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::task::coop::{consume_budget, unconstrained};

use super::backlog::Backlog;
use super::budget::{Budget, Charge};
use super::{Message, at_most};

/// What may wait here beyond what may wait for the agents: those for whom there is no room there are to be
/// told so, and not dropped before.
const BEYOND: usize = 32 * 1024 * 1024;
/// After so many messages that were taken the library is looked at again although some are waiting.
const LOOK_AFTER: usize = 32;
/// Most messages that are moved in one go, so that others on this thread have their turn too.
const MOVED_AT_ONCE: usize = 8_192;
/// How long it waits for room to tell the server that it ends.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Messages of one subject pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Intake {
    subscriber: Subscriber,
    waiting: Backlog<Message>,
    /// What they take of the budget.
    held: Charge,
    /// Taken since the library was last looked at.
    taken: usize,
    dropped: u64,
    /// Without a connection there is nothing left to come but what has arrived.
    closing: bool,
    ended: bool,
}

impl Intake {
    /// What waits counts against a budget that is also that of the messages which the reader has handed on.
    pub(super) fn new(subscriber: Subscriber, budget: &Budget) -> Self {
        Self {
            subscriber,
            waiting: Backlog::default(),
            held: budget.nothing(),
            taken: 0,
            dropped: 0,
            closing: false,
            ended: false,
        }
    }

    /// The next message; none when the connection was closed for good. Survives reconnects; cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A message that waits already, in this moment. Whoever gets none waits by [`Intake::next`].
    pub fn at_hand(&mut self) -> Option<Message> {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.poll_next(&mut nobody) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    /// Waits for something else, and goes on moving what arrives meanwhile: however long it takes, what
    /// waits is bounded in bytes.
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

    /// Unsubscribes. What has arrived by then is still returned by [`Intake::next`], and then none.
    pub async fn stop(&mut self) {
        let told = at_most(STOP_WAIT, self.subscriber.drain()).await;
        self.closing |= !matches!(told, Some(Ok(())));
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
        match self.subscriber.poll_next_unpin(cx) {
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
            match self.subscriber.poll_next_unpin(cx) {
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
