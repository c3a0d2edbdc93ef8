//! One running pull: its messages, and the statuses between them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::bounds::{HEARTBEAT, SLACK, has_heartbeats};
use super::inbox::{IdleInboxes, Inbox, give_back};
use super::inbox_message::InboxMessage;
use super::status::Status;
use super::target::Target;
use crate::{JetStreamMessage, TransportError};

/// Unknown status texts that are remembered as logged.
const MAX_UNKNOWN: usize = 64;

/// The request to the server.
pub(super) struct Asked {
    /// Most messages.
    pub(super) max: usize,
    /// How long the pull waits for them; zero for those that are there.
    pub(super) expires: Duration,
}

/// One running pull.
///
/// Dropping it before it has ended gives back what has arrived and was not taken: after a moment it
/// is delivered to somebody else. What is on its way then comes again after the ack wait.
#[derive(Debug)]
pub struct Pull {
    target: Target,
    /// For the inbox, when it can be used again.
    idle: IdleInboxes,
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
    /// When the server last sent anything.
    last_received: Instant,
    heartbeats: bool,
    /// It waits for messages that are not there yet.
    waits: bool,
    /// Taken back: the inbox ends by itself and is not used again.
    stopping: bool,
}

impl Pull {
    /// A pull that the server has been asked for.
    pub(super) fn begin(
        target: Target,
        idle: IdleInboxes,
        inbox: Inbox,
        broken: watch::Receiver<u64>,
        Asked { max, expires }: Asked,
    ) -> Self {
        let now = Instant::now();
        Self {
            target,
            idle,
            inbox: Some(inbox),
            broken,
            asked: max,
            came: 0,
            due: None,
            unknown: None,
            end: now + expires + SLACK,
            last_received: now,
            heartbeats: has_heartbeats(expires),
            waits: !expires.is_zero(),
            stopping: false,
        }
    }

    /// The next message. None when all came, time is over, or nothing more is there; ask again
    /// then.
    ///
    /// Errors end the pull: `NotFound` when the consumer was deleted, `Unavailable` when the
    /// connection broke, the consumer has no leader, or the server did not answer.
    pub async fn next(&mut self) -> Option<Result<JetStreamMessage, TransportError>> {
        loop {
            let inbox = self.inbox.as_mut()?;
            if self.came >= self.due.unwrap_or(self.asked) {
                self.finish();
                return None;
            }
            let until = if self.heartbeats {
                self.end.min(self.last_received + 2 * HEARTBEAT + SLACK)
            } else {
                self.end
            };
            let message = tokio::select! {
                biased;
                message = inbox.next() => message,
                _ = self.broken.changed() => {
                    let broke = "the connection broke while pulling".to_owned();
                    return self.failed(TransportError::Unavailable(broke));
                }
                () = tokio::time::sleep_until(until.into()) => return self.silence().await,
            };
            self.last_received = Instant::now();
            match message {
                Some(InboxMessage::Message(message)) => {
                    self.came = self.came.saturating_add(1);
                    return Some(JetStreamMessage::received(
                        &self.target.connection,
                        *message,
                    ));
                }
                Some(InboxMessage::Status(status)) => {
                    if let Err(error) = self.on_status(status) {
                        // The server has ended it.
                        self.waits = false;
                        return self.failed(error);
                    }
                }
                Some(InboxMessage::Ours) => {}
                None if self.stopping => {
                    self.finish();
                    return None;
                }
                None => return self.failed(TransportError::disconnected()),
            }
        }
    }

    /// Handles a status. It ends the pull only together with the messages that it counts.
    fn on_status(&mut self, status: Status) -> Result<(), TransportError> {
        let consumer = &self.target.consumer;
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
        self.heartbeats = false;
        self.end = Instant::now() + SLACK;
    }

    /// Takes the pull back. What is on its way already is still returned by [`Pull::next`], and
    /// then none.
    pub async fn stop(&mut self) {
        // One that takes what is there ends by itself, and everything it asked for may be on its
        // way.
        if self.stopping || !self.waits || self.due.is_some() {
            return;
        }
        self.stopping = true;
        self.end = Instant::now() + SLACK;
        self.heartbeats = false;
        if let Some(inbox) = &mut self.inbox
            && inbox.close(&self.target).await.is_err()
        {
            self.inbox = None;
        }
    }

    /// The server has been silent for too long.
    async fn silence(&mut self) -> Option<Result<JetStreamMessage, TransportError>> {
        // A consumer at its limit of unacknowledged messages does not answer a pull that takes what
        // is there, or says nothing more after the messages that it sent.
        let quiet = !self.waits && self.unknown.is_none();
        if self.stopping || self.due.is_some() || (quiet && self.is_at_limit().await) {
            self.retire();
            return None;
        }
        let text = match self.unknown.take() {
            Some(status) => format!("the server answered a pull with an unknown status: {status}"),
            None => "the server stopped answering a pull".to_owned(),
        };
        self.failed(TransportError::Unavailable(text))
    }

    async fn is_at_limit(&self) -> bool {
        self.came > 0 || self.target.consumer.is_full(&self.target.connection).await
    }

    /// The next pull looks first whether the consumer is still there.
    fn failed(
        &mut self,
        error: TransportError,
    ) -> Option<Result<JetStreamMessage, TransportError>> {
        self.target.consumer.known.store(false, Ordering::Relaxed);
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
            runtime.spawn(give_back(self.target.clone(), inbox, waits));
        }
    }

    fn finish(&mut self) {
        if let Some(inbox) = self.inbox.take()
            && !self.stopping
        {
            self.idle.keep(inbox);
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.retire();
    }
}

/// Logs a status that no tested server sends, each text once.
fn warn_once(text: &str) {
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut logged = LOGGED.lock();
    if logged.len() < MAX_UNKNOWN && logged.insert(text.to_owned()) {
        tracing::warn!(
            status = text,
            "the NATS server answers a pull with an unknown status; the pull goes on; \
             fix: report it with the version of the server"
        );
    }
}
