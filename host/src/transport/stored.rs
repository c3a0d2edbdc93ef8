//! Publishing into a stream, with the stream's word that the message is stored.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::api::{CallError, read_answer};
use super::{Headers, Link, TransportError, check};

/// The header by which a stream tells that it has a message already.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";

/// How long [`Link::store`] goes on trying. Killing the leader of a stream of three costs about four seconds,
/// and three times that on machines that are busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one attempt of [`Link::store`] may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// The first pause between two attempts; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// What a stream answered to a stored message.
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

impl Link {
    /// Publishes and waits until a stream has stored the message. One attempt: after `Timeout` or
    /// `Unavailable` it may or may not be stored.
    ///
    /// Errors: as [`Link::publish`]; `NotFound` when no stream captures the subject, `Full` when the
    /// stream takes no more, `Conflict` when an expected sequence in the headers is not met.
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
            Err(TransportError::NoResponders) => Err(Box::pin(self.why_not_stored(subject)).await),
            Err(error) => Err(error),
        }
    }

    /// Stores what the host has made, under an id of its own, so that trying again cannot store it twice.
    ///
    /// Tries for about twenty seconds while the connection is away, the stream has no leader, or no answer
    /// comes; the error says then whether JetStream answers anything else. All other errors are
    /// returned at once: `NotFound`, `Full`, `TooLarge`, `Denied`, `Invalid`.
    pub async fn store(
        &self,
        subject: &str,
        msg_id: &str,
        mut headers: Headers,
        payload: Bytes,
    ) -> Result<Stored, TransportError> {
        headers.insert(MESSAGE_ID, msg_id)?;
        let stored = persist(PATIENCE, || {
            self.publish_stored(subject, headers.clone(), payload.clone(), ATTEMPT)
        });
        match stored.await {
            Err(TransportError::Timeout) => Err(Box::pin(self.why_silent(subject)).await),
            stored => stored,
        }
    }

    /// What can be said when a stream does not answer to what it should store. Servers say nothing
    /// at all when their disk is full or broken, and go on answering what they need not store.
    pub async fn why_silent(&self, subject: &str) -> TransportError {
        let server = self.inner.client.server_info().server_name;
        TransportError::Unavailable(match self.capturing(subject).await {
            Ok(Some(stream)) => format!(
                "no answer in time: the server {server:?} answers for the stream {stream:?} and stores \
                 nothing in it; fix: look whether its disk is full, and into its log"
            ),
            Ok(None) => format!("no answer in time: no stream captures the subject {subject:?}"),
            Err(CallError::Failed(TransportError::Timeout)) => format!(
                "no answer in time: JetStream of the server {server:?} answers nothing at all; \
                 fix: look whether its disk is full, and into its log"
            ),
            Err(error) => format!("no answer in time: {}", TransportError::from(error)),
        })
    }

    /// The stream that captures a subject, as JetStream says.
    async fn capturing(&self, subject: &str) -> Result<Option<String>, CallError> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let body = json!({ "subject": subject });
        let names: Names = self.call("STREAM.NAMES", &body).await?;
        Ok(names.streams.and_then(|names| names.into_iter().next()))
    }

    /// Nobody answered a stored publish: is there no such stream, or is it leaderless?
    async fn why_not_stored(&self, subject: &str) -> TransportError {
        match self.capturing(subject).await {
            Ok(None) => {
                TransportError::NotFound(format!("no stream captures the subject {subject:?}"))
            }
            Ok(Some(_)) => TransportError::Unavailable(format!(
                "the stream of {subject:?} does not answer at the moment"
            )),
            Err(error) => error.into(),
        }
    }
}

/// What a stream has stored. A cluster of servers 2.10 answers a message whose id is on its way to the
/// replicas with the sequence 0, as a duplicate of what may never be stored.
fn kept(stored: Stored) -> Result<Stored, TransportError> {
    match stored.sequence {
        0 => Err(TransportError::Unavailable(format!(
            "stream {:?} has not stored an earlier try of this message yet",
            stored.stream
        ))),
        _ => Ok(stored),
    }
}

/// Does something that may be done twice again and again, with growing pauses, until it succeeds, fails for
/// good, or `patience` is over. The last error is told.
pub(crate) async fn persist<T, F, Fut>(
    patience: Duration,
    mut attempt: F,
) -> Result<T, TransportError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, TransportError>>,
{
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && start.elapsed() + pause < patience => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            result => return result,
        }
    }
}
