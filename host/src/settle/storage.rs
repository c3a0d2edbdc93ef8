//! The storage port of settling: recorded results, dead letters and audit entries, beside the
//! outputs that patterns store.
//!
//! Production uses the server's streams and buckets, tests use memory.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

use mistersmith_nats::{Connection, Quarantine as _, Stored, TransportError, Unreadable};

use super::dead_letter;
use super::quarantine::DeadLetterQuarantine;
use crate::delivery::{Claimed, FinalFailure};
use crate::events::publisher::EventPublisher;

/// The bucket of recorded results.
const RESULTS: &str = "IDEMPOTENCE";

/// A pending call of the storage.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, TransportError>>;

/// The storage of settling.
///
/// After `Timeout` and `Unavailable` the effect may or may not have happened; each call can be
/// repeated.
pub(crate) trait Storage: Debug + Send + Sync {
    /// The result recorded under a key.
    fn read_result<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Bytes>>;

    /// Records a result under a key.
    fn write_result<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()>;

    /// Stores the dead letter of a message; its id makes a repetition recognisable.
    fn store_letter<'a>(&'a self, failure: FinalFailure<'a>) -> Asked<'a, Stored>;

    /// Queues an entry for the audit trail without waiting.
    fn audit(&self, kind: &str, entry: Value);

    /// Removes the payload of an acknowledged message.
    fn discard<'a>(&'a self, claimed: &'a Claimed, subject: &'a str) -> BoxFuture<'a, ()>;

    /// Dead-letters a message that the client library cannot parse; returns whether it is removed.
    fn bury_unreadable<'a>(&'a self, found: &'a Unreadable) -> BoxFuture<'a, bool>;
}

/// The streams and buckets of a server.
#[derive(Debug)]
pub(super) struct ServerStorage {
    connection: Connection,
    events: EventPublisher,
    quarantine: DeadLetterQuarantine,
}

impl ServerStorage {
    pub(super) fn new(connection: Connection, events: EventPublisher) -> Self {
        Self {
            quarantine: DeadLetterQuarantine::new(connection.clone(), events.clone()),
            connection,
            events,
        }
    }
}

impl Storage for ServerStorage {
    fn read_result<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Bytes>> {
        Box::pin(async move {
            let entry = self.connection.kv(RESULTS).await?.get(key).await?;
            Ok(entry.map(|entry| entry.value))
        })
    }

    fn write_result<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()> {
        Box::pin(async move {
            self.connection
                .kv(RESULTS)
                .await?
                .put(key, value)
                .await
                .map(drop)
        })
    }

    fn store_letter<'a>(&'a self, failure: FinalFailure<'a>) -> Asked<'a, Stored> {
        Box::pin(dead_letter::store(&self.connection, failure))
    }

    fn audit(&self, kind: &str, entry: Value) {
        self.events.audit(kind, entry);
    }

    fn discard<'a>(&'a self, claimed: &'a Claimed, subject: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(claimed.discard(&self.connection, subject))
    }

    fn bury_unreadable<'a>(&'a self, found: &'a Unreadable) -> BoxFuture<'a, bool> {
        self.quarantine.bury(found)
    }
}
