//! A core subscription for a reader that never waits for others: it takes every message at once,
//! to an agent or away.
//!
//! No task stands between the client library and the reader. The library counts messages and not
//! bytes; so what it holds is moved here as soon as the reader looks, and what is beyond the bounds
//! is dropped and counted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;

use super::{Message, at_most};

/// Most messages that wait in one subscription; more are dropped and counted. The client library holds as many.
const MAX_WAITING: usize = 65_536;
/// Most bytes that wait in one subscription.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// After so many messages that were taken the library is looked at again although some are waiting.
const LOOK_AFTER: usize = 32;
/// How long it waits for room to tell the server that it ends.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// What a message costs beyond its payload, in bytes, roughly.
const OVERHEAD: usize = 256;

/// Messages of one subject pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Intake {
    subscriber: Subscriber,
    waiting: VecDeque<async_nats::Message>,
    bytes: usize,
    /// Taken since the library was last looked at.
    taken: usize,
    dropped: u64,
    /// Without a connection there is nothing left to come but what has arrived.
    closing: bool,
    ended: bool,
}

impl Intake {
    pub(super) fn new(subscriber: Subscriber) -> Self {
        Self {
            subscriber,
            waiting: VecDeque::new(),
            bytes: 0,
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
        if let Some(message) = self.waiting.pop_front() {
            self.taken += 1;
            self.bytes = self.bytes.saturating_sub(weight(&message));
            return Poll::Ready(Some(Message::received(message)));
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
                Poll::Ready(Some(Message::received(message)))
            }
            _ => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }

    /// Moves what the library holds, so that it is counted by its bytes too.
    fn fill(&mut self, cx: &mut Context<'_>) {
        self.taken = 0;
        while !self.ended {
            match self.subscriber.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => self.add(message),
                Poll::Pending if !self.closing => return,
                _ => self.ended = true,
            }
        }
    }

    fn add(&mut self, message: async_nats::Message) {
        let bytes = self.bytes.saturating_add(weight(&message));
        if self.waiting.len() < MAX_WAITING && bytes <= MAX_WAITING_BYTES {
            self.bytes = bytes;
            self.waiting.push_back(message);
            return;
        }
        if self.dropped == 0 {
            tracing::warn!(subject = %message.subject,
                "a subscription is read too slowly; messages are dropped");
        }
        self.dropped += 1;
    }
}

/// The bytes that a waiting message is counted with.
fn weight(message: &async_nats::Message) -> usize {
    message.payload.len().saturating_add(OVERHEAD)
}
