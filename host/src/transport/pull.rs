//! Pulling messages from a durable consumer.
//!
//! A pull ends when all its messages have come or its time is over, whatever status messages come
//! before, between or after them (`status`). A pull uses an inbox that is kept for the next one, so
//! that a standing pull of a single message costs one message to the server and one back; each pull
//! has a subject of its own there (`inbox`).

mod consumer;
mod inbox;
mod running;
mod status;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use consumer::Consumer;
use inbox::Inbox;

use super::{Headers, Link, TransportError, Unreadable, check, unreadable};

pub use running::Pull;

/// Most messages of one pull: they wait in one queue of the client library, which holds more.
const MAX_PULL: usize = 4_096;
/// Most bytes of one pull, so that a batch of large messages does not fill the memory.
const MAX_PULL_BYTES: usize = 32 * 1024 * 1024;
/// How often the server says that a waiting pull lives. Two silences in a row end the pull.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How much later than agreed the server's word may come, and a message after its status.
const SLACK: Duration = Duration::from_secs(2);
/// Unused inboxes that one puller keeps.
const MAX_IDLE_INBOXES: usize = 16;

/// Pulls from one consumer. Clones share inboxes; any number of pulls may run at once.
#[derive(Debug, Clone)]
pub struct Puller {
    link: Link,
    consumer: Arc<Consumer>,
    idle: Arc<Mutex<Vec<Inbox>>>,
}

impl Link {
    /// A puller for a consumer. The first pull fails when that does not exist.
    pub fn puller(&self, stream: &str, durable: &str) -> Puller {
        Puller {
            link: self.clone(),
            consumer: Arc::new(Consumer::new(stream, durable)),
            idle: Arc::default(),
        }
    }
}

impl Puller {
    /// Asks for up to `max` messages, as they come, until `expires`. With `expires` zero: what is
    /// there now.
    ///
    /// A pull takes at most 4,096 messages, as many as the consumer's `max_batch`, and 32 MiB (or
    /// two of the largest messages); then it ends early. Errors: `Unavailable`, `Invalid`, and
    /// `NotFound` for a consumer that does not exist.
    pub async fn pull(&self, max: usize, expires: Duration) -> Result<Pull, TransportError> {
        check::name("stream", &self.consumer.stream)?;
        check::name("consumer", &self.consumer.name)?;
        if !self.consumer.known.load(Ordering::Relaxed) {
            self.consumer.look(&self.link).await?;
        }
        let max = max.clamp(1, self.consumer.most());
        let broken = self.link.inner.health.breaks();
        let mut inbox = self.inbox().await?;
        inbox.begin();
        self.ask(max, expires, &inbox.subject).await?;
        Ok(Pull::begin(self.clone(), inbox, broken, max, expires))
    }

    async fn ask(&self, max: usize, expires: Duration, inbox: &str) -> Result<(), TransportError> {
        let Consumer { stream, name, .. } = &*self.consumer;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let body = Request::new(max, expires, self.link.max_payload()).body()?;
        self.link
            .send(&subject, Some(inbox), Headers::new(), body)
            .await
    }

    /// Messages that were delivered by this consumer and that the client library cannot read: what stands
    /// behind connections that break again and again while pulling. Looks at the oldest `most` that are open.
    ///
    /// Errors: `NotFound`, `Unavailable`.
    pub async fn unreadable(&self, most: usize) -> Result<Vec<Unreadable>, TransportError> {
        unreadable::find(&self.link, &self.consumer.stream, &self.consumer.name, most).await
    }

    /// An idle inbox, or a new one.
    async fn inbox(&self) -> Result<Inbox, TransportError> {
        let idle = self.lock().pop();
        match idle {
            Some(inbox) => Ok(inbox),
            None => Inbox::open(&self.link).await,
        }
    }

    #[cfg(test)]
    pub(super) fn idle_inboxes(&self) -> usize {
        self.lock().len()
    }

    fn keep(&self, inbox: Inbox) {
        let mut idle = self.lock();
        if idle.len() < MAX_IDLE_INBOXES {
            idle.push(inbox);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Inbox>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a pull request; times in nanoseconds.
#[derive(Default, Serialize)]
struct Request {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_wait: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
}

impl Request {
    fn new(max: usize, expires: Duration, max_payload: usize) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // Less than the largest message would end every pull at once.
        let most = MAX_PULL_BYTES.max(max_payload.saturating_mul(2).saturating_add(8192));
        Self {
            batch: max,
            // One message has its own bound. Servers since 2.10 answer a pull with `max_bytes` once
            // more when it is filled.
            max_bytes: (max > 1).then_some(most),
            no_wait: expires.is_zero().then_some(true),
            expires: (!expires.is_zero()).then(|| nanos(expires)),
            idle_heartbeat: running::beats(expires).then(|| nanos(HEARTBEAT)),
        }
    }

    fn body(&self) -> Result<Bytes, TransportError> {
        let body = serde_json::to_vec(self);
        body.map(Bytes::from)
            .map_err(|error| TransportError::Other(error.to_string()))
    }
}
