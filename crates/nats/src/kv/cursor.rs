//! Reads a bucket in the order of its sequences, through an ephemeral consumer without
//! acknowledgements.
//!
//! The library parses the headers of what is delivered here, and a stored message that it cannot
//! parse ends the connection (async-nats 0.51.0, nats-io/nats.rs pull request 1612). The caller
//! must expect `Unavailable` and read on message by message ([`Kv::next_messages`]) until that
//! message is behind.

use std::time::{Duration, Instant};

use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::bucket::Kv;
use super::deletion::{MARKER, OPERATION, is_deletion};
use crate::raw::RawMessage;
use crate::{Connection, DeliveryInfo, Headers, Message, TransportError};

/// How often the server confirms that a pull still waits.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a pull stands that waits for changes.
const STANDING: Duration = Duration::from_secs(30);
/// How late an answer of the server may be.
const SLACK: Duration = Duration::from_secs(2);
/// Pulls in a row that may bring nothing although messages are pending.
const MAX_EMPTY: u32 = 5;
/// How long the server keeps a consumer from which nobody pulls, in nanoseconds.
const INACTIVE: u64 = 60_000_000_000;

/// Where a cursor begins, and what it brings.
pub(super) struct Reading<'a> {
    /// The keys.
    pub(super) pattern: &'a str,
    /// The first sequence; none for the newest message of each key.
    pub(super) from: Option<u64>,
    /// Without values.
    pub(super) headers_only: bool,
    /// Messages of one pull.
    pub(super) batch: usize,
    /// Whether it waits for messages to come, or ends with the newest one.
    pub(super) waits: bool,
}

/// One message of a bucket.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: String,
    pub(super) revision: u64,
    pub(super) deleted: bool,
    pub(super) value: Bytes,
}

/// A consumer of a bucket, and the pull that is under way.
#[derive(Debug)]
pub(super) struct Cursor {
    connection: Connection,
    stream: String,
    consumer: String,
    prefix: String,
    inbox: String,
    messages: Subscriber,
    broken: watch::Receiver<u64>,
    batch: usize,
    waits: bool,
    /// Messages of the pull that have not come yet.
    left: usize,
    /// Messages that wait in the bucket, by the server's last answer.
    pending: u64,
    /// Pulls in a row that brought nothing although messages were pending.
    empty: u32,
    /// When the server last sent anything.
    last_received: Instant,
    closed: bool,
}

#[derive(Deserialize)]
struct Created {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

impl Kv {
    /// Opens a cursor.
    ///
    /// Errors: `NotFound` when there is no such bucket; `Unavailable`, `Timeout`.
    pub(super) async fn read(&self, reading: &Reading<'_>) -> Result<Cursor, TransportError> {
        let mut config = json!({
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "filter_subject": self.subject(reading.pattern),
            "headers_only": reading.headers_only,
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE,
        });
        if let Some(from) = reading.from
            && let Some(config) = config.as_object_mut()
        {
            config.insert("deliver_policy".to_owned(), json!("by_start_sequence"));
            config.insert("opt_start_seq".to_owned(), json!(from));
        }
        let stream = self.stream();
        let broken = self.connection.inner.health.breaks();
        // Before the consumer: a break from here on is noticed.
        let inbox = self.connection.new_inbox();
        let (messages, _) = self.connection.raw_subscribe(&inbox).await?;
        let call = format!("CONSUMER.CREATE.{stream}");
        let body = json!({ "stream_name": stream, "config": config });
        let created = self.connection.call::<Created>(&call, &body).await;
        let created = created.map_err(|error| self.named(error.into()))?;
        Ok(Cursor {
            connection: self.connection.clone(),
            stream,
            consumer: created.name,
            prefix: self.subject(""),
            inbox,
            messages,
            broken,
            batch: reading.batch,
            waits: reading.waits,
            left: 0,
            pending: created.num_pending,
            empty: 0,
            last_received: Instant::now(),
            closed: false,
        })
    }

    /// Up to `most` messages from a sequence on, each read by the API and not by the library;
    /// unreadable ones are taken out of the way. Slow, and safe. Returns too where to go on.
    pub(super) async fn next_messages(
        &self,
        pattern: &str,
        from: u64,
        most: usize,
    ) -> Result<(Vec<Item>, u64), TransportError> {
        let (stream, filter) = (self.stream(), self.subject(pattern));
        let (mut items, mut next) = (Vec::new(), from.max(1));
        for _ in 0..most {
            let found = self.connection.raw_next(&stream, next, &filter).await;
            let Some(message) = found.map_err(|error| self.named(error.into()))? else {
                break;
            };
            next = message.sequence.saturating_add(1);
            if let Some(message) = self.readable(message).await {
                items.extend(self.item(message));
            }
        }
        Ok((items, next))
    }

    /// The message, unless it is unreadable: then it is taken out of the way.
    pub(super) async fn readable(&self, message: RawMessage) -> Option<RawMessage> {
        let Some(found) = message.unreadable(&self.stream(), "") else {
            return Some(message);
        };
        // One that stays is still the value of its key.
        (!self.connection.bury(&found).await).then_some(message)
    }

    fn item(&self, message: RawMessage) -> Option<Item> {
        Some(Item {
            key: message.subject.strip_prefix(&self.subject(""))?.to_owned(),
            revision: message.sequence,
            deleted: message.is_deletion(),
            value: message.payload,
        })
    }
}

/// A message on the inbox.
enum Received {
    Item(Item),
    Nothing,
    /// The pull is over before it was filled.
    Over,
    Failed(TransportError),
}

impl Cursor {
    /// The next message. None at the end of the bucket, for a cursor that does not wait. Cancel
    /// safe.
    ///
    /// Errors: `Unavailable` when the connection broke, or the consumer is gone: the cursor is of
    /// no more use.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, TransportError> {
        loop {
            if !self.waits && self.pending == 0 {
                return Ok(None);
            }
            if self.left == 0 {
                self.pull().await?;
            }
            match self.receive().await {
                Received::Item(item) => {
                    self.empty = 0;
                    return Ok(Some(item));
                }
                Received::Nothing => {}
                Received::Over => {
                    self.left = 0;
                    // Messages that were pending may be gone meanwhile; or the server was too busy
                    // to send them in time, and a listing that ends here would not be whole.
                    if !self.waits {
                        self.pending = self.still_pending().await?;
                        self.empty += 1;
                        if self.pending > 0 && self.empty >= MAX_EMPTY {
                            return Err(TransportError::Unavailable(
                                "the server does not deliver the pending messages of a bucket"
                                    .to_owned(),
                            ));
                        }
                    }
                }
                Received::Failed(error) => return Err(error),
            }
        }
    }

    async fn pull(&mut self) -> Result<(), TransportError> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (batch, body) = if self.waits {
            let (expires, beat) = (nanos(STANDING), nanos(HEARTBEAT));
            let batch = self.batch;
            (
                batch,
                json!({"batch": batch, "expires": expires, "idle_heartbeat": beat}),
            )
        } else {
            // Exactly as many as there are: a pull that is filled ends without a status.
            let batch = usize::try_from(self.pending).unwrap_or(usize::MAX);
            let batch = batch.min(self.batch);
            (batch, json!({"batch": batch, "expires": nanos(SLACK)}))
        };
        let call = format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        let subject = self.connection.api(&call);
        self.connection
            .send(
                &subject,
                Some(&self.inbox),
                Headers::new(),
                body.to_string().into(),
            )
            .await?;
        self.left = batch;
        self.last_received = Instant::now();
        Ok(())
    }

    /// Messages that the consumer has not delivered yet.
    async fn still_pending(&self) -> Result<u64, TransportError> {
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        let info = self.connection.call::<Created>(&call, &Value::Null).await;
        Ok(info?.num_pending)
    }

    async fn receive(&mut self) -> Received {
        let until = self.last_received + 2 * HEARTBEAT + SLACK;
        let received = tokio::select! {
            biased;
            message = self.messages.next() => match message {
                Some(message) => self.parse(message),
                None => Received::Failed(TransportError::disconnected()),
            },
            _ = self.broken.changed() => Received::Failed(TransportError::Unavailable(
                "the connection broke while reading a bucket".to_owned(),
            )),
            () = tokio::time::sleep_until(until.into()) => Received::Failed(TransportError::Unavailable(
                "the server stopped answering while a bucket was read".to_owned(),
            )),
        };
        self.last_received = Instant::now();
        received
    }

    fn parse(&mut self, message: async_nats::Message) -> Received {
        let info = message.reply.as_deref().and_then(DeliveryInfo::parse);
        let Some(info) = info else {
            return match message.status {
                Some(StatusCode::IDLE_HEARTBEAT) | None => Received::Nothing,
                Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => Received::Over,
                Some(status) => Received::Failed(TransportError::Unavailable(format!(
                    "the server ended a pull from a bucket: {} ({status})",
                    message.description.unwrap_or_default()
                ))),
            };
        };
        self.left = self.left.saturating_sub(1);
        self.pending = info.pending;
        let message = Message::received(message);
        let Some(key) = message.subject.strip_prefix(&self.prefix) else {
            return Received::Nothing;
        };
        Received::Item(Item {
            key: key.to_owned(),
            revision: info.stream_sequence,
            deleted: is_deletion(message.headers.get(OPERATION), message.headers.get(MARKER)),
            value: message.payload,
        })
    }

    /// Removes the consumer, and waits until that is done.
    pub(super) async fn close(mut self) {
        self.closed = true;
        close(&self.connection, &self.stream, &self.consumer).await;
    }
}

async fn close(connection: &Connection, stream: &str, consumer: &str) {
    let call = format!("CONSUMER.DELETE.{stream}.{consumer}");
    // When this fails, the consumer goes by itself after a while.
    let _ = connection.call::<Value>(&call, &Value::Null).await;
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // Outside a runtime everything ends anyway.
        if !self.closed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (connection, stream) = (self.connection.clone(), self.stream.clone());
            let consumer = self.consumer.clone();
            runtime.spawn(async move { close(&connection, &stream, &consumer).await });
        }
    }
}
