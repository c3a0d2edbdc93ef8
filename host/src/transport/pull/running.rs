//! One running pull: its messages, and the statuses between them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::inbox::{Inbox, give_back};
use super::status::{self, Status};
use super::{HEARTBEAT, Puller, SLACK};
use crate::transport::{Delivered, TransportError};

/// Unknown status texts that are remembered as logged.
const MAX_UNKNOWN: usize = 64;

/// One running pull.
///
/// Dropping it before it has ended gives back what has arrived and was not taken: after a moment it
/// is delivered to somebody else. What is on its way then comes again after the ack wait.
#[derive(Debug)]
pub struct Pull {
    puller: Puller,
    /// None when the pull has ended.
    inbox: Option<Inbox>,
    broken: watch::Receiver<u64>,
    asked: usize,
    came: usize,
    /// How many messages the server has sent in all; none while it may send more.
    due: Option<usize>,
    /// The last status that is not known.
    unknown: Option<String>,
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

/// A message on the inbox, for the pull that uses it.
pub(super) enum Word {
    Message(Box<async_nats::Message>),
    Status(Status),
    /// One of our own last messages to an inbox.
    Ours,
}

impl Pull {
    /// A pull that the server has been asked for.
    pub(super) fn begin(
        puller: Puller,
        inbox: Inbox,
        broken: watch::Receiver<u64>,
        asked: usize,
        expires: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            puller,
            inbox: Some(inbox),
            broken,
            asked,
            came: 0,
            due: None,
            unknown: None,
            end: now + expires + SLACK,
            heard: now,
            beats: beats(expires),
            waits: !expires.is_zero(),
            stopping: false,
        }
    }

    /// The next message. None when all came, time is over, or nothing more is there; ask again then.
    ///
    /// Errors end the pull: `NotFound` when the consumer was deleted, `Unavailable` when the connection
    /// broke, the consumer has no leader, or the server did not answer.
    pub async fn next(&mut self) -> Option<Result<Delivered, TransportError>> {
        loop {
            let inbox = self.inbox.as_mut()?;
            if self.came >= self.due.unwrap_or(self.asked) {
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
                word = inbox.next() => word,
                _ = self.broken.changed() => {
                    let broke = "the connection broke while pulling".to_owned();
                    return self.failed(TransportError::Unavailable(broke));
                }
                () = tokio::time::sleep_until(until.into()) => return self.silence().await,
            };
            self.heard = Instant::now();
            match word {
                Some(Word::Message(message)) => {
                    self.came = self.came.saturating_add(1);
                    return Some(Delivered::received(&self.puller.link, *message));
                }
                Some(Word::Status(status)) => {
                    if let Err(error) = self.hear(status) {
                        // The server has ended it.
                        self.waits = false;
                        return self.failed(error);
                    }
                }
                Some(Word::Ours) => {}
                None if self.stopping => {
                    self.finish();
                    return None;
                }
                None => return self.failed(TransportError::disconnected()),
            }
        }
    }

    /// Takes a status in. It ends the pull only together with the messages that it speaks of.
    fn hear(&mut self, status: Status) -> Result<(), TransportError> {
        let consumer = &self.puller.consumer;
        match status {
            Status::Heartbeat => Ok(()),
            Status::Ended { pending } => {
                self.ended(pending);
                Ok(())
            }
            Status::TooLarge { pending } => {
                if self.came == 0 {
                    consumer.oversized.store(true, Ordering::Relaxed);
                }
                self.ended(pending);
                Ok(())
            }
            Status::Deleted => Err(TransportError::NotFound(format!(
                "consumer {:?} of stream {:?} was deleted",
                consumer.name, consumer.stream
            ))),
            Status::Failed(text) => Err(TransportError::Unavailable(text)),
            Status::Unknown(text) => {
                warn_once(&text);
                self.unknown = Some(text);
                Ok(())
            }
        }
    }

    /// The server sends no more than it has sent. Without a number that is what came: only servers
    /// that had nothing to send leave the number out.
    fn ended(&mut self, pending: Option<usize>) {
        let sent = pending.map(|pending| self.asked.saturating_sub(pending));
        self.due = Some(sent.unwrap_or(self.came));
        self.beats = false;
        self.end = Instant::now() + SLACK;
    }

    /// Takes the pull back. What is on its way already is still returned by [`Pull::next`], and then none.
    pub async fn stop(&mut self) {
        // One that takes what is there ends by itself, and everything it asked for may be on its way.
        if self.stopping || !self.waits || self.due.is_some() {
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
    async fn silence(&mut self) -> Option<Result<Delivered, TransportError>> {
        // A consumer at its limit of unacknowledged messages does not answer a pull that takes what
        // is there, or says nothing more after the messages that it sent.
        let quiet = !self.waits && self.unknown.is_none();
        if self.stopping || self.due.is_some() || (quiet && self.is_at_limit().await) {
            self.retire();
            return None;
        }
        let text = match self.unknown.take() {
            Some(status) => format!("the server answered a pull with an unknown status: {status}"),
            None => "the server has stopped answering a pull".to_owned(),
        };
        self.failed(TransportError::Unavailable(text))
    }

    async fn is_at_limit(&self) -> bool {
        self.came > 0 || self.puller.consumer.is_full(&self.puller.link).await
    }

    /// The next pull looks first whether the consumer is still there.
    fn failed(&mut self, error: TransportError) -> Option<Result<Delivered, TransportError>> {
        self.puller.consumer.known.store(false, Ordering::Relaxed);
        self.retire();
        Some(Err(error))
    }

    /// Its inbox is not used again, and what comes there still goes back.
    fn retire(&mut self) {
        let waits = self.waits && !self.stopping && self.due.is_none();
        // Outside a runtime everything ends anyway, and the messages come again after the ack wait.
        if let Some(inbox) = self.inbox.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(give_back(self.puller.clone(), inbox, waits));
        }
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
        self.retire();
    }
}

impl Word {
    pub(super) fn read(message: async_nats::Message) -> Self {
        if is_stored(&message) {
            return Self::Message(Box::new(message));
        }
        let Some(code) = message.status else {
            return Self::Ours;
        };
        let text = message.description.unwrap_or_default();
        let headers = message.headers.as_ref();
        let pending = headers.and_then(|headers| headers.get(status::PENDING));
        let pending = pending.map(|pending| pending.as_str());
        Self::Status(Status::read(code, &text, pending))
    }
}

/// Whether it comes from the stream. Whoever publishes can put a status into the headers, so that is
/// no sign of the server's own words.
pub(super) fn is_stored(message: &async_nats::Message) -> bool {
    let reply = message.reply.as_deref().unwrap_or_default();
    reply.starts_with("$JS.ACK.")
}

/// Logs a status that no tested server sends, each text once.
fn warn_once(text: &str) {
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() < MAX_UNKNOWN && logged.insert(text.to_owned()) {
        tracing::warn!(
            status = text,
            "the NATS server answers a pull with an unknown status; the pull goes on; \
             fix: report it with the version of the server"
        );
    }
}

/// Whether the server says now and then that the pull lives.
pub(super) fn beats(expires: Duration) -> bool {
    expires >= 2 * HEARTBEAT
}
