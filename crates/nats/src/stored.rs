//! Publishes into a stream, and waits for the stream's acknowledgement that the message is stored.

use std::time::Duration;

use bytes::Bytes;
use mistersmith_core::backoff::Backoff;
use serde::Deserialize;
use tokio::time::Instant;

use super::api::{CallError, read_answer};
use super::{Connection, Headers, TransportError, check};

/// The header by which a stream recognises a message that it has already.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";

/// How long [`Connection::store`] goes on trying. Killing the leader of a stream of three costs
/// about four seconds, and three times that on machines that are busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one attempt of [`Connection::store`] may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// The first pause between two attempts; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// The stream's acknowledgement of a stored message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// The stream that holds it.
    pub stream: String,
    /// Its sequence in that stream.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// The stream had a message with this id already and kept the older one: success as well.
    #[serde(default)]
    pub duplicate: bool,
}

impl Connection {
    /// Publishes and waits until a stream has stored the message. One attempt: after `Timeout` or
    /// `Unavailable` it may or may not be stored.
    ///
    /// Errors: as [`Connection::publish`]; `NotFound` when no stream captures the subject, `Full`
    /// when the stream takes no more, `Conflict` when an expected sequence in the headers is not
    /// met.
    pub async fn publish_stored(
        &self,
        subject: &str,
        headers: Headers,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Stored, TransportError> {
        check::subject(subject)?;
        match self.ask(subject, headers, payload, timeout).await {
            Ok(answer) => kept(read_answer(&answer.payload)?),
            Err(TransportError::NoResponders) => {
                Err(Box::pin(self.explain_no_responders(subject)).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores what the host has made, under an id of its own, so that trying again cannot store it
    /// twice.
    ///
    /// Tries for about twenty seconds while the connection is away, the stream has no leader, or no
    /// answer comes; the error says then whether JetStream answers anything else. All other errors
    /// are returned at once: `NotFound`, `Full`, `TooLarge`, `Denied`, `Invalid`.
    pub async fn store(
        &self,
        subject: &str,
        msg_id: &str,
        mut headers: Headers,
        payload: Bytes,
    ) -> Result<Stored, TransportError> {
        headers.insert(MESSAGE_ID, msg_id)?;
        let stored = retry(PATIENCE, || {
            self.publish_stored(subject, headers.clone(), payload.clone(), ATTEMPT)
        });
        match stored.await {
            Err(TransportError::Timeout) => Err(Box::pin(self.why_silent(subject)).await),
            stored => stored,
        }
    }

    /// An error that explains why a stream does not acknowledge a message. Servers answer nothing
    /// at all when their disk is full or broken, and go on answering requests that store nothing.
    pub async fn why_silent(&self, subject: &str) -> TransportError {
        let server = self.server_info().server_name;
        let capturing = self.capturing(subject).await;
        TransportError::Unavailable(match capturing.map(|all| all.into_iter().next()) {
            Ok(Some(stream)) => format!(
                "no answer in time: the server {server:?} answers for the stream {stream:?} and stores \
                 nothing in it; fix: look whether its disk is full, and into its log"
            ),
            Ok(None) => format!("no answer in time: no stream captures the subject {subject:?}"),
            Err(CallError::Failed(TransportError::Timeout)) => format!(
                "no answer in time: JetStream of the server {server:?} answers no request at all; \
                 fix: look whether its disk is full, and into its log"
            ),
            Err(error) => format!("no answer in time: {}", TransportError::from(error)),
        })
    }

    /// Nobody answered a stored publish: is there no such stream, or is it leaderless?
    async fn explain_no_responders(&self, subject: &str) -> TransportError {
        match self.capturing(subject).await.map(|all| all.is_empty()) {
            Ok(true) => {
                TransportError::NotFound(format!("no stream captures the subject {subject:?}"))
            }
            Ok(false) => TransportError::Unavailable(format!(
                "the stream of {subject:?} does not answer at the moment"
            )),
            Err(error) => error.into(),
        }
    }
}

/// Checks an acknowledgement. A cluster of servers 2.10 answers a message whose id is on its way to
/// the replicas with the sequence 0, as a duplicate of what may never be stored.
fn kept(stored: Stored) -> Result<Stored, TransportError> {
    match stored.sequence {
        0 => Err(TransportError::Unavailable(format!(
            "stream {:?} has not stored an earlier try of this message yet",
            stored.stream
        ))),
        _ => Ok(stored),
    }
}

/// Retries an operation that may be done twice, with growing pauses and jitter, until it succeeds,
/// fails for good, or `patience` is over. Returns the last error then.
pub async fn retry<T, F, Fut>(patience: Duration, mut attempt: F) -> Result<T, TransportError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, TransportError>>,
{
    let start = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    loop {
        let error = match attempt().await {
            Err(error) if error.is_transient() => error,
            result => return result,
        };
        let pause = backoff.failed();
        if start.elapsed() + pause >= patience {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}
