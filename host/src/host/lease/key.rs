//! The key of the host's lease, and the age of its bucket.

use std::time::Duration;

use bytes::Bytes;

use mistersmith_nats::{Connection, Entry, TransportError};
use mistersmith_runtime::clock;

use super::BUCKET;
use crate::kv_key::{KeyPort, KvKey};
use crate::kv_lease::Clock;

/// Everything a host's lease needs of its bucket.
pub(super) trait HostKey: KeyPort {
    /// The creation time of the bucket: it distinguishes an expired lease from one that was lost
    /// with its bucket.
    fn bucket_made(&self) -> impl Future<Output = Result<String, TransportError>> + Send;
}

/// The key on the server.
pub(super) struct ServerKey {
    connection: Connection,
    key: KvKey,
}

impl ServerKey {
    pub(super) async fn new(connection: &Connection, key: String) -> Result<Self, TransportError> {
        Ok(Self {
            connection: connection.clone(),
            key: KvKey::new(connection.kv(BUCKET).await?, key),
        })
    }
}

impl KeyPort for ServerKey {
    async fn read(&self) -> Result<Option<Entry>, TransportError> {
        self.key.read().await
    }

    async fn create(&self, value: Bytes) -> Result<u64, TransportError> {
        self.key.create(value).await
    }

    async fn update(&self, value: Bytes, revision: u64) -> Result<u64, TransportError> {
        self.key.update(value, revision).await
    }

    async fn delete(&self, revision: u64) -> Result<(), TransportError> {
        self.key.delete(revision).await
    }
}

impl HostKey for ServerKey {
    async fn bucket_made(&self) -> Result<String, TransportError> {
        self.connection
            .stream(&format!("KV_{BUCKET}"))?
            .created()
            .await
    }
}

/// A clock that runs on while the machine sleeps.
pub(super) struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        clock()
    }
}

#[cfg(test)]
impl HostKey for crate::kv_key::memory::MemoryKey {
    async fn bucket_made(&self) -> Result<String, TransportError> {
        self.bucket().made()
    }
}
