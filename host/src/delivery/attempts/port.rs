//! The port to the bucket ATTEMPTS; tests implement it in memory.
//!
//! A call through the port costs an allocation. The first attempt at an item that succeeds makes
//! none.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};

use mistersmith_core::limits;
use mistersmith_nats::{Connection, Entry, Kv, TransportError};

use super::BUCKET;

/// The stream of the bucket.
const STREAM: &str = "KV_ATTEMPTS";
/// How many registers are read concurrently.
const AT_ONCE: usize = 32;

/// A pending call of the store.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, TransportError>>;

/// The keys and values of ATTEMPTS.
///
/// A future may be dropped at any time, and after `Timeout` and `Unavailable` a write may or may
/// not be stored.
pub(crate) trait AttemptStore: Debug + Send + Sync {
    /// The newest value of a key.
    fn get<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Entry>>;

    /// Writes a value unconditionally.
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()>;

    /// Writes a value if the key has this revision, 0 for a missing key; returns the new revision.
    fn update<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Asked<'a, u64>;

    /// Removes the keys that match a pattern.
    fn purge<'a>(&'a self, pattern: &'a str) -> Asked<'a, ()>;

    /// The values of all registers, of all processes.
    fn registers(&self) -> Asked<'_, Vec<Bytes>>;

    /// The size limit of a register's value.
    fn largest_value(&self) -> usize;
}

/// The bucket on the server.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) connection: Connection,
    pub(super) kv: Kv,
}

impl AttemptStore for Bucket {
    fn get<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(self.kv.get(key))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()> {
        Box::pin(async move { self.kv.put(key, value).await.map(drop) })
    }

    fn update<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Asked<'a, u64> {
        Box::pin(self.kv.update(key, value, revision))
    }

    fn purge<'a>(&'a self, pattern: &'a str) -> Asked<'a, ()> {
        Box::pin(async move { self.kv.purge(pattern).await.map(drop) })
    }

    fn registers(&self) -> Asked<'_, Vec<Bytes>> {
        Box::pin(async move {
            let view = self.connection.stream(STREAM)?;
            let pattern = format!("$KV.{BUCKET}.open.>");
            let subjects = view.subjects(&pattern, limits::MAX_REGISTERS).await?;
            let read = stream::iter(subjects.into_keys().map(|subject| {
                let view = &view;
                async move { view.newest(&subject).await }
            }));
            let mut read = std::pin::pin!(read.buffer_unordered(AT_ONCE));
            let mut values = Vec::new();
            while let Some(message) = read.try_next().await? {
                values.extend(message.map(|message| message.payload));
            }
            Ok(values)
        })
    }

    fn largest_value(&self) -> usize {
        // Half of the server's maximum payload leaves room for the bucket's headers.
        self.connection.max_payload() / 2
    }
}
