//! Hearing of changes in a bucket.

use async_nats::jetstream;
use async_nats::jetstream::kv::Operation;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Kv, check_pattern};
use crate::transport::TransportError;

/// One change, or one value that stood there when the watch began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The new value; none when it was deleted. Expiry is told by newer servers only.
    pub value: Option<Bytes>,
    /// The number of the write in the bucket.
    pub revision: u64,
    /// How many values that stand there already are still to come; 0 from then on.
    pub pending: u64,
}

/// Changes of the keys that match a pattern. Survives reconnects; dropping it ends it.
pub struct Watch {
    inner: jetstream::kv::Watch,
}

impl Kv {
    /// First the values that stand there, then each change. An empty bucket sends nothing at first.
    pub async fn watch(&self, pattern: &str) -> Result<Watch, TransportError> {
        check_pattern(pattern)?;
        if !self.link.is_connected() {
            return Err(TransportError::disconnected());
        }
        let other = |error: &dyn std::fmt::Display| {
            TransportError::Unavailable(format!("cannot watch bucket {:?}: {error}", self.bucket))
        };
        // Asked with our own words first, because the library's error hides that there is no bucket.
        self.newest("-").await?;
        let store = jetstream::new(self.link.inner.client.clone())
            .get_key_value(self.bucket.as_str())
            .await
            .map_err(|error| other(&error))?;
        let inner = store
            .watch_with_history(pattern)
            .await
            .map_err(|error| other(&error))?;
        Ok(Watch { inner })
    }
}

impl Watch {
    /// The next change; none when the connection was closed for good. After an error the watch goes on.
    pub async fn next(&mut self) -> Option<Result<Change, TransportError>> {
        let entry = match self.inner.next().await? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(TransportError::Unavailable(error.to_string()))),
        };
        Some(Ok(Change {
            key: entry.key,
            value: (entry.operation == Operation::Put).then_some(entry.value),
            revision: entry.revision,
            pending: entry.delta,
        }))
    }
}
