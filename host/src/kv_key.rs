//! The port to one key of a bucket, with an implementation on the server and one in memory.
//!
//! Leases, records of terms and circuits are decided by conditional writes to a single key. Through
//! this port they are tested without a server, including lost answers.

#[cfg(test)]
pub(crate) mod memory;

use bytes::Bytes;

use mistersmith_nats::{Entry, Kv, TransportError};

/// One key of a bucket. Writes are conditional; `Conflict` means that another write came first.
///
/// A future may be dropped at any time; its write may then be stored or not.
pub(crate) trait KeyPort: Send + Sync {
    /// The newest value, as stored by the leader of the bucket.
    fn read(&self) -> impl Future<Output = Result<Option<Entry>, TransportError>> + Send;

    /// Writes a value if the key has none; returns its revision.
    fn create(&self, value: Bytes) -> impl Future<Output = Result<u64, TransportError>> + Send;

    /// Writes a value if this is the newest revision; returns the new one.
    fn update(
        &self,
        value: Bytes,
        revision: u64,
    ) -> impl Future<Output = Result<u64, TransportError>> + Send;

    /// Deletes the key if this is its newest revision.
    fn delete(&self, revision: u64) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// A key of a bucket on the server.
#[derive(Debug, Clone)]
pub(crate) struct KvKey {
    kv: Kv,
    key: String,
}

impl KvKey {
    pub(crate) fn new(kv: Kv, key: impl Into<String>) -> Self {
        Self {
            kv,
            key: key.into(),
        }
    }
}

impl KeyPort for KvKey {
    async fn read(&self) -> Result<Option<Entry>, TransportError> {
        self.kv.get(&self.key).await
    }

    async fn create(&self, value: Bytes) -> Result<u64, TransportError> {
        self.kv.create(&self.key, value).await
    }

    async fn update(&self, value: Bytes, revision: u64) -> Result<u64, TransportError> {
        self.kv.update(&self.key, value, revision).await
    }

    async fn delete(&self, revision: u64) -> Result<(), TransportError> {
        self.kv.delete(&self.key, Some(revision)).await
    }
}
