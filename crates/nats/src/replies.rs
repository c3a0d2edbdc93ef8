//! Replies to requests, over one subscription for all requests of a connection.
//!
//! An entry is removed together with the request that waits for it, however that ends. The library
//! keeps the entry of a request that times out for the life of the client (async-nats 0.51.0,
//! nats-io/nats.rs issue 1617), which would grow without a bound.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use rand::RngCore as _;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::TransportError;
use super::generation::Generation;
use super::source::{Source, SubscriptionSpec, Subscriptions};
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
    /// Subscribes to all answers of this connection. The owner of the connection ends the task that
    /// hands them out.
    pub(super) async fn listen(
        subscriptions: &Arc<Subscriptions>,
        first: &Generation,
    ) -> Result<(Arc<Self>, AbortHandle), TransportError> {
        let prefix = format!("{}.", first.client.new_inbox());
        let wanted = SubscriptionSpec {
            pattern: format!("{prefix}*"),
            queue: None,
            owner: None,
        };
        let answers = subscriptions
            .open(wanted, &first.client, first.number)
            .await?;
        let replies = Arc::new(Self {
            prefix,
            waiting: Mutex::default(),
        });
        let task = tokio::spawn(dispatch(answers, Arc::downgrade(&replies)));
        Ok((replies, task.abort_handle()))
    }

    /// Makes a reply subject, and what waits on it. Dropping the latter forgets the former.
    pub(super) fn register(self: &Arc<Self>) -> PendingReply {
        // Random, not counted: a responder that sees one reply subject must not know the next.
        let token = rand::rng().next_u64();
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(token, sender);
        PendingReply {
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
        self.waiting.lock()
    }
}

/// One awaited answer.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) subject: String,
    token: u64,
    receiver: oneshot::Receiver<Answer>,
    replies: Arc<Replies>,
}

impl PendingReply {
    /// The answer, when it comes.
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.receiver)
            .await
            .unwrap_or_else(|_| Err(TransportError::disconnected()))
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.token);
    }
}

async fn dispatch(mut answers: Source, replies: Weak<Replies>) {
    while let Some(message) = answers.next().await {
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
    // The connection is closed for good.
    if let Some(replies) = replies.upgrade() {
        replies.disconnected();
    }
}
