//! Reads of one stream by requests to the JetStream API, and removals.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::consumers::{ConsumerFacts, RawConsumer};
use super::info::StreamInfo;
use super::message::StoredMessage;
use crate::api::{CallError, code};
use crate::raw::RawMessage;
use crate::{Connection, TransportError, check};

/// Reads one stream. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct StreamView {
    connection: Connection,
    stream: String,
}

/// The content of a stream, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFacts {
    /// Messages in it.
    pub messages: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The sequence of the oldest message; one more than `last` when there is none.
    pub first: u64,
    /// The sequence of the newest message there ever was.
    pub last: u64,
}

impl Connection {
    /// A stream by its name. The first use fails with `NotFound` when it does not exist.
    ///
    /// Errors: `Invalid` for a name that no stream has.
    pub fn stream(&self, stream: &str) -> Result<StreamView, TransportError> {
        check::name("stream", stream)?;
        Ok(StreamView {
            connection: self.clone(),
            stream: stream.to_owned(),
        })
    }
}

impl StreamView {
    /// How much the stream holds.
    pub async fn facts(&self) -> Result<StreamFacts, TransportError> {
        let state = self.info().await?.state;
        Ok(StreamFacts {
            messages: state.messages,
            bytes: state.bytes,
            first: state.first_seq,
            last: state.last_seq,
        })
    }

    /// How long the stream keeps a message; none for no limit.
    pub async fn max_age(&self) -> Result<Option<Duration>, TransportError> {
        let info = self.info().await?;
        Ok(info.limit("max_age").map(Duration::from_nanos))
    }

    /// The stream's `STREAM.INFO`.
    pub(crate) async fn info(&self) -> Result<StreamInfo, CallError> {
        let info = self.connection.stream_info(&self.stream).await;
        info.map_err(|error| self.named(error))
    }

    /// The message of a sequence; none when it was removed.
    pub async fn message(&self, sequence: u64) -> Result<Option<StoredMessage>, TransportError> {
        let found = self.connection.raw_message(&self.stream, sequence).await;
        self.read(found)
    }

    /// The oldest message from a sequence on that was published on `filter`, which may have
    /// wildcards.
    pub async fn next(
        &self,
        from: u64,
        filter: &str,
    ) -> Result<Option<StoredMessage>, TransportError> {
        check::pattern(filter)?;
        let found = self.connection.raw_next(&self.stream, from.max(1), filter);
        self.read(found.await)
    }

    /// The newest message that was published on this subject, which may have wildcards. The leader
    /// of the stream is asked: what was stored before is seen.
    pub async fn newest(&self, subject: &str) -> Result<Option<StoredMessage>, TransportError> {
        check::pattern(subject)?;
        let found = self.connection.raw_newest(&self.stream, subject).await;
        self.read(found)
    }

    /// Removes one message; returns whether it was there. Returns when the server has confirmed it.
    pub async fn delete(&self, sequence: u64) -> Result<bool, TransportError> {
        #[derive(Deserialize)]
        struct Deleted {
            success: bool,
        }
        // Without `no_erase` the server overwrites the message with noise first.
        let body = json!({ "seq": sequence, "no_erase": true });
        match self.call::<Deleted>("STREAM.MSG.DELETE", &body).await {
            Ok(deleted) => Ok(deleted.success),
            // The code for a message that is not there depends on why it is not; clusters of
            // servers before 2.11 do not answer at all where there never was one.
            Err(CallError::Refused(_) | CallError::Failed(TransportError::Timeout))
                if self.message(sequence).await?.is_none() =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the messages that were published on `filter` and have a sequence smaller than
    /// `before`; returns how many.
    pub async fn purge(&self, filter: &str, before: u64) -> Result<u64, TransportError> {
        check::pattern(filter)?;
        // The server takes 0 and 1 for no bound at all, and would remove everything.
        if before <= 1 {
            return Ok(0);
        }
        let body = json!({ "filter": filter, "seq": before });
        let purged = self.connection.purge(&self.stream, &body).await;
        purged.map_err(|error| self.named(error).into())
    }

    /// The subjects that the stream holds messages of, with their number; at most `most`
    /// subjects are returned.
    pub async fn subjects(
        &self,
        filter: &str,
        most: usize,
    ) -> Result<BTreeMap<String, u64>, TransportError> {
        check::pattern(filter)?;
        let mut found = BTreeMap::new();
        while found.len() < most {
            let page = self
                .connection
                .stream_subjects(&self.stream, filter, found.len());
            let info = page.await.map_err(|error| self.named(error))?;
            let before = found.len();
            found.extend(info.state.subjects.unwrap_or_default());
            // One page has 100,000, and costs the server as much as all of them.
            if found.len() == before || found.len() >= info.total {
                break;
            }
        }
        Ok(found.into_iter().take(most).collect())
    }

    /// The consumers of the stream, at most `most` of them.
    pub async fn consumers(&self, most: usize) -> Result<Vec<ConsumerFacts>, TransportError> {
        let found = self.connection.consumers::<RawConsumer>(&self.stream, most);
        let found = found.await.map_err(|error| self.named(error))?;
        Ok(found.into_iter().map(ConsumerFacts::from).collect())
    }

    fn read(
        &self,
        found: Result<Option<RawMessage>, CallError>,
    ) -> Result<Option<StoredMessage>, TransportError> {
        match found {
            Ok(message) => Ok(message.map(StoredMessage::from)),
            Err(error) => Err(self.named(error).into()),
        }
    }

    async fn call<T: DeserializeOwned>(&self, call: &str, body: &Value) -> Result<T, CallError> {
        let call = format!("{call}.{}", self.stream);
        let called = self.connection.call(&call, body).await;
        called.map_err(|error| self.named(error))
    }

    /// An error that says which stream does not exist.
    fn named(&self, error: CallError) -> CallError {
        if !error.is(code::STREAM_NOT_FOUND) {
            return error;
        }
        let text = format!("there is no stream {:?}", self.stream);
        CallError::Failed(TransportError::NotFound(text))
    }
}
