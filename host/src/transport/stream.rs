//! Looking into a stream: single messages, its subjects, its consumers; and removing what a person says.
//!
//! Messages are read one by one, one request each, and reading takes nothing from anybody: not the way on
//! which work comes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{CallError, code};
use super::{Headers, Link, TransportError, check};

/// A stream that is looked into. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct StreamView {
    link: Link,
    stream: String,
}

/// A message as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The subject it was published on.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, RFC 3339 in UTC.
    pub stored_at: String,
    /// Its headers.
    pub headers: Headers,
    /// Its payload.
    pub payload: Bytes,
}

/// What a stream holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct StreamFacts {
    /// Messages in it.
    pub messages: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The sequence of the oldest message; one more than `last` when there is none.
    #[serde(rename = "first_seq")]
    pub first: u64,
    /// The sequence of the newest message there ever was.
    #[serde(rename = "last_seq")]
    pub last: u64,
}

/// A consumer of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerFacts {
    /// Its name.
    pub name: String,
    /// The subjects it takes; empty for all.
    pub filters: Vec<String>,
    /// Messages that were not delivered yet.
    pub waiting: u64,
    /// Messages that were delivered and not acknowledged yet.
    pub in_flight: u64,
}

impl Link {
    /// A stream by its name. Whether it exists is told by the first use: `NotFound`.
    ///
    /// Errors: `Invalid` for a name that no stream has.
    pub fn stream(&self, stream: &str) -> Result<StreamView, TransportError> {
        check::name("stream", stream)?;
        Ok(StreamView {
            link: self.clone(),
            stream: stream.to_owned(),
        })
    }
}

impl StreamView {
    /// How much the stream holds.
    pub async fn facts(&self) -> Result<StreamFacts, TransportError> {
        #[derive(Deserialize)]
        struct Info {
            state: StreamFacts,
        }
        let info: Info = self.call("STREAM.INFO", &Value::Null).await?;
        Ok(info.state)
    }

    /// How long the stream keeps a message; none for ever.
    pub async fn max_age(&self) -> Result<Option<Duration>, TransportError> {
        #[derive(Deserialize)]
        struct Info {
            config: Age,
        }
        #[derive(Deserialize)]
        struct Age {
            #[serde(default)]
            max_age: u64,
        }
        let info: Info = self.call("STREAM.INFO", &Value::Null).await?;
        let age = Duration::from_nanos(info.config.max_age);
        Ok(Some(age).filter(|age| !age.is_zero()))
    }

    /// The message of a sequence; none when it was removed.
    pub async fn message(&self, sequence: u64) -> Result<Option<StoredMessage>, TransportError> {
        self.get(&json!({ "seq": sequence })).await
    }

    /// The oldest message from a sequence on that was published on `filter`, which may have wildcards.
    pub async fn next(
        &self,
        from: u64,
        filter: &str,
    ) -> Result<Option<StoredMessage>, TransportError> {
        check::pattern(filter)?;
        self.get(&json!({ "seq": from.max(1), "next_by_subj": filter }))
            .await
    }

    /// The newest message that was published on this literal subject. The leader of the stream is
    /// asked: what was stored before is seen.
    pub async fn newest(&self, subject: &str) -> Result<Option<StoredMessage>, TransportError> {
        check::subject(subject)?;
        self.get(&json!({ "last_by_subj": subject })).await
    }

    /// The newest message on a subject.
    pub async fn last(&self, subject: &str) -> Result<Option<StoredMessage>, TransportError> {
        check::pattern(subject)?;
        self.get(&json!({ "last_by_subj": subject })).await
    }

    /// Removes one message; returns whether it was there. Done once the server says so.
    pub async fn delete(&self, sequence: u64) -> Result<bool, TransportError> {
        #[derive(Deserialize)]
        struct Deleted {
            success: bool,
        }
        // Without `no_erase` the server overwrites the message with noise first.
        let body = json!({ "seq": sequence, "no_erase": true });
        match self.call::<Deleted>("STREAM.MSG.DELETE", &body).await {
            Ok(deleted) => Ok(deleted.success),
            // The code for a message that is not there depends on why it is not; clusters of servers
            // before 2.11 do not answer at all where there never was one.
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
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        check::pattern(filter)?;
        // The server takes 0 and 1 for no bound at all, and would remove everything.
        if before <= 1 {
            return Ok(0);
        }
        let body = json!({ "filter": filter, "seq": before });
        let purged: Purged = self.call("STREAM.PURGE", &body).await?;
        Ok(purged.purged)
    }

    /// The subjects that the stream holds messages of, with their number; at most `most` subjects
    /// are told.
    pub async fn subjects(
        &self,
        filter: &str,
        most: usize,
    ) -> Result<BTreeMap<String, u64>, TransportError> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(default)]
            total: usize,
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: Option<BTreeMap<String, u64>>,
        }
        check::pattern(filter)?;
        let mut found = BTreeMap::new();
        while found.len() < most {
            let body = json!({ "subjects_filter": filter, "offset": found.len() });
            let info: Info = self.call("STREAM.INFO", &body).await?;
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
        let found = self.link.consumers::<RawConsumer>(&self.stream, most);
        let found = found.await.map_err(|error| self.named(error))?;
        Ok(found.into_iter().map(ConsumerFacts::from).collect())
    }

    async fn get(&self, which: &Value) -> Result<Option<StoredMessage>, TransportError> {
        #[derive(Deserialize)]
        struct Answer {
            message: RawMessage,
        }
        match self.call::<Answer>("STREAM.MSG.GET", which).await {
            Ok(answer) => answer.message.read().map(Some),
            Err(error) if error.is(code::NO_MESSAGE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<T, CallError> {
        let call = format!("{call}.{}", self.stream);
        let called = self.link.call(&call, body).await;
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

/// A stored message as the API shows it.
#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl RawMessage {
    fn read(self) -> Result<StoredMessage, TransportError> {
        let malformed =
            |_| TransportError::Other("JetStream's answer is malformed: no base64".to_owned());
        let headers = STANDARD.decode(self.hdrs).map_err(malformed)?;
        let payload = STANDARD.decode(self.data).map_err(malformed)?;
        Ok(StoredMessage {
            subject: self.subject,
            sequence: self.seq,
            stored_at: self.time,
            headers: headers_of(&String::from_utf8_lossy(&headers)),
            payload: payload.into(),
        })
    }
}

/// The headers in the block that goes over the wire. What is no header there is left out: other
/// clients can store anything.
fn headers_of(block: &str) -> Headers {
    let mut headers = Headers::new();
    for line in block.lines().skip(1) {
        if let Some((name, value)) = line.split_once(':') {
            let _ = headers.append(name, value.trim());
        }
    }
    headers
}

#[derive(Deserialize)]
struct RawConsumer {
    name: String,
    #[serde(default)]
    config: RawConfig,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(Deserialize, Default)]
struct RawConfig {
    #[serde(default)]
    filter_subject: Option<String>,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

impl From<RawConsumer> for ConsumerFacts {
    fn from(raw: RawConsumer) -> Self {
        let mut filters = raw.config.filter_subjects;
        filters.extend(
            raw.config
                .filter_subject
                .filter(|filter| !filter.is_empty()),
        );
        Self {
            name: raw.name,
            filters,
            waiting: raw.num_pending,
            in_flight: raw.num_ack_pending,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stored_message_is_read_as_it_was_sent() {
        let raw: RawMessage = serde_json::from_value(json!({
            "subject": "dlq.work.nlp.test",
            "seq": 7,
            "time": "2026-01-02T03:04:05.000000006Z",
            "hdrs": STANDARD.encode("NATS/1.0\r\nX-A: 1\r\nX-A: 2\r\nno header\r\nX-B:\r\n\r\n"),
            "data": STANDARD.encode([0, 159]),
        }))
        .unwrap();
        let message = raw.read().unwrap();
        let headers: Vec<_> = message.headers.iter().collect();
        assert_eq!(headers.len(), 3);
        assert_eq!(message.headers.get("x-a"), Some("1"));
        assert_eq!(message.headers.get("X-B"), Some(""));
        assert_eq!(message.payload.as_ref(), [0, 159]);
    }

    #[test]
    fn filters_of_both_kinds_are_seen() {
        let consumer = |config: Value| {
            let raw = json!({ "name": "c", "config": config, "num_pending": 3 });
            ConsumerFacts::from(serde_json::from_value::<RawConsumer>(raw).unwrap())
        };
        assert_eq!(consumer(json!({})).filters, Vec::<String>::new());
        assert_eq!(consumer(json!({ "filter_subject": "a" })).filters, ["a"]);
        let several = consumer(json!({ "filter_subjects": ["a", "b"] }));
        assert_eq!(several.filters, ["a", "b"]);
        assert_eq!(several.waiting, 3);
    }
}
