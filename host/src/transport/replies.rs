//! Answers to requests, over one subscription for all requests of a connection.
//!
//! The client library keeps an entry for ever when a request times out; here an entry goes with the
//! request that waits for it, however that ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use rand::RngCore as _;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::TransportError;
use super::health::Health;
use super::trace::push_hex;

type Answer = Result<async_nats::Message, TransportError>;

/// The requests of one connection that wait for an answer.
#[derive(Debug)]
pub(super) struct Replies {
    /// Everything before the token, with its final dot.
    prefix: String,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Replies {
    /// Subscribes to all answers of this connection. Whoever owns the connection ends the task
    /// that hands them out.
    pub(super) async fn listen(
        client: &Client,
        health: &Arc<Health>,
    ) -> Result<(Arc<Self>, AbortHandle), TransportError> {
        let prefix = format!("{}.", client.new_inbox());
        let subscriber = client
            .subscribe(format!("{prefix}*"))
            .await
            .map_err(|error| {
                TransportError::Other(format!("cannot listen for answers: {error}"))
            })?;
        let replies = Arc::new(Self {
            prefix,
            waiting: Mutex::default(),
        });
        let task = hand_out(subscriber, Arc::downgrade(&replies), Arc::clone(health));
        let task = tokio::spawn(task);
        Ok((replies, task.abort_handle()))
    }

    /// Makes a reply subject, and what waits on it. Dropping the latter forgets the former.
    pub(super) fn expect(self: &Arc<Self>) -> Expected {
        // Random, not counted: a responder that sees one reply subject must not know the next.
        let token = rand::rng().next_u64();
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(token, sender);
        Expected {
            subject: self.subject(token),
            token,
            receiver,
            replies: Arc::clone(self),
        }
    }

    fn subject(&self, token: u64) -> String {
        let mut subject = String::with_capacity(self.prefix.len() + 16);
        subject.push_str(&self.prefix);
        push_hex(&mut subject, token.to_be_bytes());
        subject
    }

    /// Ends every wait: answers to what was sent over a connection that broke cannot come any more.
    pub(super) fn disconnected(&self) {
        for (_, sender) in self.lock().drain() {
            let _ = sender.send(Err(TransportError::Unavailable(
                "the connection broke before the answer came".to_owned(),
            )));
        }
    }

    /// How many requests wait; for tests and status.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One awaited answer.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) subject: String,
    token: u64,
    receiver: oneshot::Receiver<Answer>,
    replies: Arc<Replies>,
}

impl Expected {
    /// The answer, when it comes.
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.receiver)
            .await
            .unwrap_or_else(|_| Err(TransportError::disconnected()))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.token);
    }
}

async fn hand_out(mut subscriber: Subscriber, replies: Weak<Replies>, health: Arc<Health>) {
    while let Some(message) = subscriber.next().await {
        let Some(replies) = replies.upgrade() else {
            return;
        };
        let token = message
            .subject
            .strip_prefix(replies.prefix.as_str())
            .and_then(|token| u64::from_str_radix(token, 16).ok());
        let sender = token.and_then(|token| replies.lock().remove(&token));
        if let Some(sender) = sender {
            let _ = sender.send(Ok(message));
        }
    }
    // The connection is closed for good, or what served it has panicked.
    health.ended();
    if let Some(replies) = replies.upgrade() {
        replies.disconnected();
    }
}
