//! Conditional writes: create, update and delete a key at a known revision.
//!
//! The answer to a write can be lost although the write was stored, and the next attempt then meets
//! its own success as a conflict. Each write carries an id in a header, by which it is recognised;
//! and the revision on which it is conditional, by which the write that followed it is recognised.
//! A conflict is reported only if the write is known not to be stored: a caller repeats a write
//! that met a conflict, and would otherwise do it twice.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use super::bucket::{EXPECTED, Kv, Newest, check_key};
use super::deletion;
use super::fenced::Write;
use crate::{Headers, TransportError, retry};
use mistersmith_core::names::headers::WRITE_ID;

/// How long a conditional write goes on when answers are lost. Less than a lease of 15 s lives.
const PATIENCE: Duration = Duration::from_secs(8);

impl Kv {
    /// Writes a value if the key has none, also where it was deleted; returns its revision.
    ///
    /// Errors: `Conflict` when there is a value; the rest as [`Kv::update`].
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, TransportError> {
        match self.update(key, value.clone(), 0).await {
            Err(TransportError::Conflict) => {}
            done => return done,
        }
        match self.newest(key).await? {
            Some(newest) if newest.deleted => self.update(key, value, newest.revision).await,
            Some(_) => Err(TransportError::Conflict),
            // It expired meanwhile.
            None => self.update(key, value, 0).await,
        }
    }

    /// Writes a value if the newest revision of the key is `revision`; returns the new one.
    ///
    /// When an answer is lost it tries again for some seconds. Errors: `Conflict`, only when this
    /// write is not stored; `Timeout` and `Unavailable` leave open what happened.
    pub async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
    ) -> Result<u64, TransportError> {
        check_key(key)?;
        self.write_if(key, Headers::new(), value, revision).await
    }

    /// Deletes a key while this is its newest revision, whatever characters are in it.
    pub(crate) async fn mark_deleted(
        &self,
        key: &str,
        revision: u64,
    ) -> Result<(), TransportError> {
        let written = self.write_if(key, deletion::headers()?, Bytes::new(), revision);
        written.await.map(drop)
    }

    async fn write_if(
        &self,
        key: &str,
        mut headers: Headers,
        value: Bytes,
        revision: u64,
    ) -> Result<u64, TransportError> {
        let id = nuid::next().to_string();
        headers.insert(WRITE_ID, &id)?;
        if self.connection.has_unsafe_conditions() {
            let write = Write {
                key,
                headers,
                value,
                revision,
                id: &id,
            };
            let may_be_stored = AtomicBool::new(false);
            let written = retry(PATIENCE, || self.write_fenced(&write, &may_be_stored));
            return written.await?.ok_or(TransportError::Timeout);
        }
        headers.insert(EXPECTED, &revision.to_string())?;
        let mut lost_an_answer = false;
        let written = retry(PATIENCE, || {
            let write = self.write(key, headers.clone(), value.clone());
            let doubt = lost_an_answer;
            lost_an_answer = true;
            let id = &id;
            async move {
                match write.await {
                    Err(TransportError::Conflict) if doubt => self.examine(key, id, revision).await,
                    stored => stored.map(|stored| Some(stored.sequence)),
                }
            }
        });
        written.await?.ok_or(TransportError::Timeout)
    }

    /// After a conflict that our own earlier attempt may have caused: the revision of our write if
    /// it is stored, none if that cannot be known.
    pub(crate) async fn examine(
        &self,
        key: &str,
        id: &str,
        revision: u64,
    ) -> Result<Option<u64>, TransportError> {
        let newest = self.newest(key).await?;
        match fate(newest.as_ref(), id, revision) {
            Fate::Stored(revision) => Ok(Some(revision)),
            Fate::Refused => Err(TransportError::Conflict),
            Fate::Unknown => Ok(None),
        }
    }
}

/// The fate of a write whose answer was lost, and whose repetition met a conflict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is stored, at this revision.
    Stored(u64),
    /// It is not stored, and never will be.
    Refused,
    /// Another write came after it, or instead of it.
    Unknown,
}

/// Reads the fate of a write on `revision` from the newest message of its key.
pub(super) fn fate(newest: Option<&Newest>, id: &str, revision: u64) -> Fate {
    match newest {
        Some(newest) if newest.write_id.as_deref() == Some(id) => Fate::Stored(newest.revision),
        // Nothing was stored between that revision and this write.
        Some(newest) if newest.written_on == Some(revision) => Fate::Refused,
        // The bucket was made again: it counts from one.
        Some(newest) if newest.revision < revision => Fate::Refused,
        _ => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_one_only_if_our_own_write_is_not_stored() {
        let cases = [
            (None, Fate::Unknown),
            (Some((8, "mine", Some(7))), Fate::Stored(8)),
            (Some((8, "theirs", Some(7))), Fate::Refused),
            // Ours may be revision 8, and theirs was written on top of it.
            (Some((9, "theirs", Some(8))), Fate::Unknown),
            // Written without a condition.
            (Some((9, "theirs", None)), Fate::Unknown),
            (Some((3, "theirs", Some(2))), Fate::Refused),
        ];
        for (newest, expected) in cases {
            let newest = newest.map(|(at, id, on)| Newest::of(at, id, on));
            assert_eq!(fate(newest.as_ref(), "mine", 7), expected, "{newest:?}");
        }
    }
}
