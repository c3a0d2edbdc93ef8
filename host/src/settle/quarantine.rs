//! Quarantine: removes stored messages that the client library cannot parse.
//!
//! It stores a dead letter, removes the message, and adds an entry to the audit trail, in this
//! order. If the process dies in between, the message is found again and its letter has the same
//! id.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use mistersmith_core::telemetry::Repeats;
use mistersmith_nats::{Connection, Quarantine, TransportError, Unreadable};

use crate::events::publisher::EventPublisher;
use crate::settle::dead_letter;

/// The interval at which a failed removal of the same message is logged.
const REPEAT: Duration = Duration::from_secs(60);

/// The quarantine of unreadable messages.
#[derive(Debug)]
pub struct DeadLetterQuarantine {
    connection: Connection,
    events: EventPublisher,
    failures: Repeats,
}

impl DeadLetterQuarantine {
    /// Stores letters and removes messages over this connection.
    pub fn new(connection: Connection, events: EventPublisher) -> Self {
        Self {
            connection,
            events,
            failures: Repeats::new(REPEAT),
        }
    }

    fn failed(&self, found: &Unreadable, error: &TransportError, what: &str) {
        let (stream, sequence) = (&found.info.stream, found.info.stream_sequence);
        let line = format!("{what} {stream} {sequence}");
        if let Some(times) = self.failures.due(&line) {
            tracing::error!(%error, subject = found.subject, stream, sequence, times, "{what}");
        }
    }

    async fn take_away(&self, found: &Unreadable) -> bool {
        let letter = match dead_letter::store_unreadable(&self.connection, found).await {
            Ok(letter) => letter,
            Err(error) => {
                self.failed(
                    found,
                    &error,
                    "dead letter of an unreadable message not stored",
                );
                return false;
            }
        };
        if let Err(error) = self.connection.remove(found).await {
            self.failed(found, &error, "unreadable message not removed");
            return false;
        }
        tracing::warn!(
            subject = found.subject,
            stream = found.info.stream,
            error = found.problem,
            "dead letter: an unreadable message"
        );
        self.events
            .audit("dead-letter", dead_letter::audit_unreadable(found, &letter));
        true
    }
}

impl Quarantine for DeadLetterQuarantine {
    fn bury<'a>(
        &'a self,
        found: &'a Unreadable,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(self.take_away(found))
    }
}
