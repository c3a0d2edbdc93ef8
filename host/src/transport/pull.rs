//! Pulling messages from a durable consumer.
//!
//! A pull uses an inbox that is kept and used again by the next one, so that a standing pull of a single
//! message costs one message to the server and one back. An inbox goes with a pull that did not end by
//! itself: what the server still sends there must not be taken for the answer to a later pull.

mod inbox;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::StatusCode;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;

use inbox::{Inbox, give_back};

use super::{Delivered, Headers, Link, TransportError, Unreadable, check, unreadable};

/// Most messages of one pull: they wait in one queue of the client library, which holds more.
const MAX_PULL: usize = 4_096;
/// Most bytes of one pull, so that a batch of large messages does not fill the memory.
const MAX_PULL_BYTES: usize = 32 * 1024 * 1024;
/// How often the server says that a waiting pull lives. Two silences in a row end the pull.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How much later than agreed the server's word may come.
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

#[derive(Debug)]
struct Consumer {
    stream: String,
    name: String,
    /// The server has told that it exists: a pull from one that does not is answered by silence.
    known: AtomicBool,
}

impl Consumer {
    /// Asks the server whether it exists; `NotFound` when it does not.
    async fn look(&self, link: &Link) -> Result<(), TransportError> {
        let Self { stream, name, .. } = self;
        let call = format!("CONSUMER.INFO.{stream}.{name}");
        let found = link.call::<serde_json::Value>(&call, &json!(null)).await;
        self.known.store(found.is_ok(), Ordering::Relaxed);
        match found.map_err(TransportError::from) {
            Ok(_) => Ok(()),
            Err(TransportError::NotFound(_)) => Err(TransportError::NotFound(format!(
                "stream {stream:?} has no consumer {name:?}"
            ))),
            Err(error) => Err(error),
        }
    }
}

impl Link {
    /// A puller for a consumer. Whether that exists is told by the first pull.
    pub fn puller(&self, stream: &str, durable: &str) -> Puller {
        Puller {
            link: self.clone(),
            consumer: Arc::new(Consumer {
                stream: stream.to_owned(),
                name: durable.to_owned(),
                known: AtomicBool::new(false),
            }),
            idle: Arc::default(),
        }
    }
}

impl Puller {
    /// Asks for up to `max` messages, as they come, until `expires`. With `expires` zero: what is there now.
    ///
    /// A pull takes at most 4,096 messages and 32 MiB (or two of the largest messages); then it ends early.
    /// Errors: `Unavailable`, `Invalid`, and `NotFound` for a consumer that does not exist.
    pub async fn pull(&self, max: usize, expires: Duration) -> Result<Pull, TransportError> {
        check::name("stream", &self.consumer.stream)?;
        check::name("consumer", &self.consumer.name)?;
        if !self.consumer.known.load(Ordering::Relaxed) {
            self.consumer.look(&self.link).await?;
        }
        let max = max.clamp(1, MAX_PULL);
        let broken = self.link.inner.health.breaks();
        let inbox = self.inbox().await?;
        let beats = expires >= 2 * HEARTBEAT;
        self.ask(max, expires, beats, &inbox.subject).await?;
        let now = Instant::now();
        Ok(Pull {
            puller: self.clone(),
            inbox: Some(inbox),
            broken,
            left: max,
            came: false,
            end: now + expires + SLACK,
            heard: now,
            beats,
            waits: !expires.is_zero(),
            stopping: false,
        })
    }

    async fn ask(
        &self,
        max: usize,
        expires: Duration,
        beats: bool,
        inbox: &str,
    ) -> Result<(), TransportError> {
        let Consumer { stream, name, .. } = &*self.consumer;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let body = request(max, expires, beats, self.link.max_payload());
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
        if let Some(inbox) = idle {
            return Ok(inbox);
        }
        let subject = self.link.inner.client.new_inbox();
        let subscriber = self.link.raw_subscribe(&subject, None).await?;
        Ok(Inbox::new(subject, subscriber))
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

/// The body of a pull request.
fn request(max: usize, expires: Duration, beats: bool, max_payload: usize) -> Bytes {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    // Less than the largest message would end every pull at once.
    let most = MAX_PULL_BYTES.max(max_payload.saturating_mul(2).saturating_add(8192));
    let body = if expires.is_zero() {
        json!({"batch": max, "max_bytes": most, "no_wait": true})
    } else if beats {
        let (expires, beat) = (nanos(expires), nanos(HEARTBEAT));
        json!({"batch": max, "max_bytes": most, "expires": expires, "idle_heartbeat": beat})
    } else {
        json!({"batch": max, "max_bytes": most, "expires": nanos(expires)})
    };
    Bytes::from(body.to_string())
}

/// One running pull.
///
/// Dropping it before it has ended gives back what has arrived and was not taken: after a moment it is
/// delivered to somebody else. What is on its way then comes again after the ack wait.
#[derive(Debug)]
pub struct Pull {
    puller: Puller,
    /// Gone when the pull has ended.
    inbox: Option<Inbox>,
    broken: watch::Receiver<u64>,
    left: usize,
    came: bool,
    /// When it must be over.
    end: Instant,
    /// When the server last said anything.
    heard: Instant,
    beats: bool,
    /// It waits for messages that are not there yet.
    waits: bool,
    /// Taken back: the inbox ends by itself and is not used again.
    stopping: bool,
}

/// What a message on the inbox means for the pull.
enum Word {
    Message(Box<async_nats::Message>),
    /// Nothing: the server lives, or one of our own last messages to an inbox.
    Beat,
    /// Over, and nothing more comes to this inbox.
    Over,
    Failed(TransportError),
}

impl Pull {
    /// The next message. None when all came, time is over, or nothing more is there; ask again then.
    ///
    /// Errors end the pull: `NotFound` when the consumer was deleted, `Unavailable` when the connection broke
    /// or the consumer has no leader.
    pub async fn next(&mut self) -> Option<Result<Delivered, TransportError>> {
        loop {
            let inbox = self.inbox.as_mut()?;
            if self.left == 0 {
                self.finish();
                return None;
            }
            let until = if self.beats {
                self.end.min(self.heard + 2 * HEARTBEAT + SLACK)
            } else {
                self.end
            };
            let word = tokio::select! {
                biased;
                message = inbox.next() => match message {
                    Some(message) => read_word(message, self.came),
                    None if self.stopping => Word::Over,
                    None => Word::Failed(TransportError::disconnected()),
                },
                _ = self.broken.changed() => Word::Failed(TransportError::Unavailable(
                    "the connection broke while pulling".to_owned(),
                )),
                () = tokio::time::sleep_until(until.into()) => return self.silence(),
            };
            self.heard = Instant::now();
            match word {
                Word::Message(message) => {
                    self.left = self.left.saturating_sub(1);
                    self.came = true;
                    return Some(Delivered::received(&self.puller.link, *message));
                }
                Word::Beat => {}
                Word::Over => {
                    self.finish();
                    return None;
                }
                Word::Failed(error) => {
                    self.give_up();
                    return Some(Err(error));
                }
            }
        }
    }

    /// Takes the pull back. What is on its way already is still returned by [`Pull::next`], and then none.
    pub async fn stop(&mut self) {
        // One that takes what is there ends by itself, and everything it asked for may be on its way.
        if self.stopping || !self.waits {
            return;
        }
        self.stopping = true;
        self.end = Instant::now() + SLACK;
        self.beats = false;
        if let Some(inbox) = &mut self.inbox
            && inbox.close(&self.puller).await.is_err()
        {
            self.inbox = None;
        }
    }

    /// Nothing was heard for too long.
    fn silence(&mut self) -> Option<Result<Delivered, TransportError>> {
        self.give_up();
        // The end was agreed; only its confirmation is late. Otherwise the server has forgotten the pull.
        (Instant::now() < self.end).then(|| {
            Err(TransportError::Unavailable(
                "the server has stopped answering a pull".to_owned(),
            ))
        })
    }

    /// Its inbox is not used again, and the next pull looks first whether the consumer is still there.
    fn give_up(&mut self) {
        self.inbox = None;
        self.puller.consumer.known.store(false, Ordering::Relaxed);
    }

    fn finish(&mut self) {
        if let Some(inbox) = self.inbox.take()
            && !self.stopping
        {
            self.puller.keep(inbox);
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        let Some(inbox) = self.inbox.take() else {
            return;
        };
        // Outside a runtime everything ends anyway, and the messages come again after the ack wait.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_back(self.puller.clone(), inbox));
        }
    }
}

fn read_word(message: async_nats::Message, came: bool) -> Word {
    if is_stored(&message) {
        return Word::Message(Box::new(message));
    }
    let Some(status) = message.status else {
        // Our own word, to end an inbox.
        return Word::Beat;
    };
    let said = message.description.unwrap_or_default();
    match status {
        StatusCode::IDLE_HEARTBEAT => Word::Beat,
        StatusCode::TIMEOUT | StatusCode::NOT_FOUND => Word::Over,
        StatusCode::NO_RESPONDERS => Word::Failed(TransportError::Unavailable(
            "JetStream does not answer a pull".to_owned(),
        )),
        _ if came && said.contains("MaxBytes") => Word::Over,
        _ if said.contains("Deleted") => Word::Failed(TransportError::NotFound(format!(
            "the server ended a pull: {said}"
        ))),
        _ => Word::Failed(TransportError::Unavailable(format!(
            "the server ended a pull: {said} ({status})"
        ))),
    }
}

/// Whether it comes from the stream. Whoever publishes can put a status into the headers, so that is no sign
/// of the server's own words.
fn is_stored(message: &async_nats::Message) -> bool {
    let reply = message.reply.as_deref().unwrap_or_default();
    reply.starts_with("$JS.ACK.")
}
