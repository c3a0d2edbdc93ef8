//! Conditional writes on clusters that do not keep the condition on a key.
//!
//! A cluster of servers before 2.9.21 checks "the newest revision of the key is n" before the write
//! goes to the replicas, and not again: of ten writers at the same moment all ten succeed
//! (nats-io/nats-server issue 4320). It checks "the last sequence of the stream is n" when the
//! write is applied, the same on every replica. So the key is read here, and the write carries the
//! condition on the whole stream. That is slower, and correct.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;

use super::bucket::Kv;
use crate::{Connection, Headers, TransportError, version};

/// The first version whose clusters check the condition of a key for sure.
const SAFE: (u64, u64, u64) = (2, 9, 21);
/// The condition on the whole stream.
const EXPECTED_OF_STREAM: &str = "Nats-Expected-Last-Sequence";
/// How often it is tried while others write to the same bucket.
const TRIES: usize = 100;
/// Longest pause between two tries, in milliseconds: somebody must get through.
const MAX_PAUSE: u64 = 40;

/// One conditional write.
pub(super) struct Write<'a> {
    pub(super) key: &'a str,
    pub(super) headers: Headers,
    pub(super) value: Bytes,
    /// The required newest revision; 0 for no message at all.
    pub(super) revision: u64,
    /// The mark by which it is recognised.
    pub(super) id: &'a str,
}

impl Connection {
    /// Whether the server is part of a cluster that lets concurrent conditional writes through.
    pub(crate) fn has_unsafe_conditions(&self) -> bool {
        let info = self.server_info();
        info.cluster.is_some() && version::numbers(&info.version).is_some_and(|found| found < SAFE)
    }
}

impl Kv {
    /// Writes once; the revision, or none if an earlier attempt may be stored under a later write.
    /// `may_be_stored` says that of the attempts so far.
    pub(super) async fn write_fenced(
        &self,
        write: &Write<'_>,
        may_be_stored: &AtomicBool,
    ) -> Result<Option<u64>, TransportError> {
        for _ in 0..TRIES {
            // In this order: what is written after the first is noticed when ours is applied.
            let last = self.info().await?.state.last_seq;
            let newest = self.newest(write.key).await?;
            if let Some(newest) = &newest
                && newest.write_id.as_deref() == Some(write.id)
            {
                return Ok(Some(newest.revision));
            }
            if newest.map_or(0, |newest| newest.revision) != write.revision {
                // These writes do not say on which revision of the key they were made.
                let unknown = may_be_stored.load(Ordering::Relaxed);
                return if unknown {
                    Ok(None)
                } else {
                    Err(TransportError::Conflict)
                };
            }
            let mut headers = write.headers.clone();
            headers.insert(EXPECTED_OF_STREAM, &last.to_string())?;
            match self.write(write.key, headers, write.value.clone()).await {
                Err(TransportError::Conflict) => {}
                Err(error) => {
                    may_be_stored.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                Ok(stored) => return Ok(Some(stored.sequence)),
            }
            let pause = rand::rng().random_range(1..MAX_PAUSE);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Err(TransportError::Unavailable(format!(
            "others write to bucket {:?} too often for a conditional write; \
             fix: a cluster of nats-server 2.9.21 or newer",
            self.bucket
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_safe_ones() {
        for (text, safe) in [
            ("2.9.10", false),
            ("v2.9.9", false),
            ("2.9.20-RC.1", false),
            ("2.9.21", true),
            ("2.10.0", true),
            ("2.10.0-beta.4", true),
            ("3.0.0", true),
        ] {
            assert_eq!(
                version::numbers(text).map(|found| found >= SAFE),
                Some(safe),
                "{text}"
            );
        }
    }
}
