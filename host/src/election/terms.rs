//! The record of an election's newest term, which outlives the key: `term.<domain>` in
//! AGENT_CLAIMS, a bucket without a ttl.
//!
//! Revisions restart at one when the bucket of the leases was lost, and an old leader would then
//! pass for a newer one. So a term is greater than the record and than what the candidate has seen.
//! Without a record the terms begin at the milliseconds since 1970: should it have been lost, they
//! go on above the earlier ones, which grow more slowly than the clock. A host that has seen a
//! higher one, begun by a clock that was ahead, writes it into the new record ([`raise`]).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use mistersmith_core::names::Token;
use mistersmith_nats::{Kv, TransportError};

use crate::clock;
use crate::kv_key::{KeyPort, KvKey};

/// The number of attempts to write a record that others write at the same moment.
const TRIES: usize = 32;

/// The value of a record.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    term: u64,
}

/// The milliseconds since 1970, by which terms without a record begin.
pub(super) type Epoch = fn() -> u64;

/// The record of one election.
#[derive(Debug)]
pub(super) struct TermRecord<K> {
    key: K,
    epoch: Epoch,
}

/// Raises the record of an election to at least this term, where 0 stands for none. Returns the
/// term recorded afterwards.
///
/// # Errors
/// The record cannot be read or written.
pub async fn raise(kv: &Kv, domain: &Token, seen: u64) -> Result<u64, TransportError> {
    of(kv, domain).raise(seen).await
}

/// The record of an election.
pub(super) fn of(kv: &Kv, domain: &Token) -> TermRecord<KvKey> {
    let key = KvKey::new(kv.clone(), format!("term.{domain}"));
    TermRecord::new(key, clock::unix_millis)
}

impl<K: KeyPort> TermRecord<K> {
    pub(super) fn new(key: K, epoch: Epoch) -> Self {
        Self { key, epoch }
    }

    /// The recorded term, and the revision of its record.
    async fn read(&self) -> Result<Option<(u64, u64)>, TransportError> {
        let entry = self.key.read().await?;
        Ok(entry.map(|entry| {
            let record: Record = serde_json::from_slice(&entry.value).unwrap_or_default();
            (record.term, entry.revision)
        }))
    }

    /// Writes a record over a revision, or creates it; false if another write came first.
    async fn write(&self, term: u64, revision: Option<u64>) -> Result<bool, TransportError> {
        let value = Bytes::from(serde_json::to_vec(&Record { term }).unwrap_or_default());
        let written = match revision {
            Some(revision) => self.key.update(value, revision).await,
            None => self.key.create(value).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(TransportError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Raises the record to at least `seen`; returns the term recorded afterwards.
    pub(super) async fn raise(&self, seen: u64) -> Result<u64, TransportError> {
        for _ in 0..TRIES {
            let found = self.read().await?;
            let recorded = found.map_or(0, |(recorded, _)| recorded);
            if recorded >= seen {
                return Ok(recorded);
            }
            if self
                .write(seen, found.map(|(_, revision)| revision))
                .await?
            {
                return Ok(seen);
            }
        }
        Err(TransportError::Conflict)
    }

    /// Records and returns the term of a leader that acquired the key with this revision. If the
    /// record was written and its answer lost, that term stays unused.
    pub(super) async fn next(&self, revision: u64, seen: u64) -> Result<u64, TransportError> {
        for _ in 0..TRIES {
            let found = self.read().await?;
            let recorded = found.map(|(recorded, _)| recorded);
            let term = after(revision, recorded, seen, (self.epoch)());
            if self
                .write(term, found.map(|(_, revision)| revision))
                .await?
            {
                return Ok(term);
            }
        }
        Err(TransportError::Conflict)
    }
}

/// A term greater than all known ones, and than all that may have been forgotten; 0 stands for
/// none.
fn after(revision: u64, recorded: Option<u64>, seen: u64, epoch: u64) -> u64 {
    let recorded = recorded.filter(|recorded| *recorded > 0).unwrap_or(epoch);
    revision.max(recorded.max(seen).saturating_add(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_core::config::JetstreamSpec;
    use mistersmith_nats::Role;
    use mistersmith_testing::TestServer;
    use std::time::Duration;

    use crate::kv_key::memory::{Bucket, Fault};

    #[test]
    fn a_term_is_after_all_that_are_known() {
        for (revision, recorded, seen, term) in [
            (7, Some(3), 0, 7),
            (7, Some(3), 5, 7),
            // The bucket of the leases was lost and restarts at one.
            (1, Some(41), 0, 42),
            (1, Some(12), 41, 42),
            (41, Some(41), 41, 42),
            (1, Some(u64::MAX), 0, u64::MAX),
            // No record: none was written yet, or it was lost.
            (7, None, 0, 1_001),
            (7, Some(0), 41, 1_001),
            (7, None, 2_000, 2_001),
            (3_000, None, 0, 3_000),
        ] {
            assert_eq!(
                after(revision, recorded, seen, 1_000),
                term,
                "{revision} {recorded:?} {seen}"
            );
        }
    }

    const EPOCH: u64 = 5;

    fn epoch() -> u64 {
        EPOCH
    }

    async fn never_fall<K: KeyPort>(record: impl Fn(&str) -> TermRecord<K>) {
        let lab = record("lab");
        assert_eq!(lab.raise(0).await, Ok(0));
        assert_eq!(lab.next(2, 0).await.unwrap(), EPOCH + 1);
        assert_eq!(lab.raise(4).await, Ok(EPOCH + 1));
        assert_eq!(lab.next(9, 0).await.unwrap(), 9);
        assert_eq!(lab.next(2, 0).await.unwrap(), 10);
        assert_eq!(lab.next(2, 0).await.unwrap(), 11);
        assert_eq!(lab.raise(30).await, Ok(30));
        // Several hosts raise the record at once.
        let several: Vec<TermRecord<K>> = (0..8).map(|_| record("lab")).collect();
        let all = several.iter().map(|host| host.next(1, 0));
        let mut terms: Vec<u64> = futures_util::future::try_join_all(all).await.unwrap();
        terms.sort_unstable();
        assert_eq!(terms, (31..39).collect::<Vec<u64>>());
    }
    #[tokio::test]
    async fn terms_are_recorded_and_never_fall() {
        let server = TestServer::start().await;
        let transport = crate::testing::connect(&server).await;
        mistersmith_nats::provision::ensure(&transport, &JetstreamSpec::default())
            .await
            .unwrap();
        let connection = transport.connection(Role::Control);
        let kv = connection.kv("AGENT_CLAIMS").await.unwrap();
        let domain = |domain: &str| domain.parse().unwrap();
        never_fall(|name| TermRecord {
            epoch,
            ..of(&kv, &domain(name))
        })
        .await;
        assert_eq!(raise(&kv, &domain("lab"), 50).await, Ok(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_whose_answer_was_lost_is_left_out() {
        let bucket = Bucket::new(Duration::MAX);
        never_fall(|name| TermRecord::new(bucket.key(name), epoch)).await;
        let key = bucket.key("other");
        let record = TermRecord::new(key.clone(), epoch);
        assert_eq!(record.next(7, 0).await, Ok(7));
        key.next(None);
        key.next(Fault::AnswerLost(Duration::from_secs(1)));
        assert_eq!(record.next(7, 0).await, Err(TransportError::Timeout));
        assert_eq!(record.next(7, 0).await, Ok(9), "nobody leads the eighth");
    }
}
