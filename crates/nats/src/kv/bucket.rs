//! One bucket: the newest value of a key, and writes without a condition.

use std::time::Duration;

use bytes::Bytes;

use super::deletion;
use crate::raw::RawMessage;
use crate::stream::StreamInfo;
use crate::{Connection, Headers, Stored, TransportError};
use mistersmith_core::names::headers::WRITE_ID;
use mistersmith_core::names::{Bucket, Key, KeyPattern};

/// The header that makes a write conditional on the newest revision of its key.
pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// How long one write may take.
const ATTEMPT: Duration = Duration::from_secs(4);

/// One bucket. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Kv {
    pub(super) connection: Connection,
    pub(super) bucket: String,
}

/// The newest value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The number of this write in the bucket.
    pub revision: u64,
}

/// The newest message of a key: a value or the mark of a deletion.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(super) revision: u64,
    pub(super) deleted: bool,
    pub(crate) write_id: Option<String>,
    /// The revision on which it was conditional, if it was.
    pub(super) written_on: Option<u64>,
    value: Bytes,
}

impl Connection {
    /// A bucket by its name. The first use fails with `NotFound` when it does not exist.
    pub async fn kv(&self, bucket: &str) -> Result<Kv, TransportError> {
        Bucket::check(bucket).map_err(|error| TransportError::Invalid(error.to_string()))?;
        Ok(Kv {
            connection: self.clone(),
            bucket: bucket.to_owned(),
        })
    }
}

impl Kv {
    /// The newest value of a key; none when there is none, or it was deleted or has expired.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, TransportError> {
        check_key(key)?;
        let newest = self.newest(key).await?;
        Ok(newest.filter(|newest| !newest.deleted).map(|newest| Entry {
            value: newest.value,
            revision: newest.revision,
        }))
    }

    /// Writes a value whatever was there; returns its revision. One attempt: after `Timeout` or
    /// `Unavailable` it may or may not be written.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, TransportError> {
        check_key(key)?;
        let stored = self.write(key, Headers::new(), value).await?;
        Ok(stored.sequence)
    }

    /// Deletes a key; with a revision, only while that is its newest.
    ///
    /// Errors: as [`Kv::update`].
    pub async fn delete(&self, key: &str, revision: Option<u64>) -> Result<(), TransportError> {
        check_key(key)?;
        match revision {
            Some(revision) => self.mark_deleted(key, revision).await,
            None => {
                let written = self.write(key, deletion::headers()?, Bytes::new()).await;
                written.map(drop)
            }
        }
    }

    /// Writes one message of a key. One attempt.
    pub(super) async fn write(
        &self,
        key: &str,
        headers: Headers,
        value: Bytes,
    ) -> Result<Stored, TransportError> {
        let subject = self.connection.key_subject(&self.bucket, key);
        let written = self
            .connection
            .publish_stored(&subject, headers, value, ATTEMPT)
            .await;
        written.map_err(|error| self.named(error))
    }

    /// The newest message of a key.
    pub(crate) async fn newest(&self, key: &str) -> Result<Option<Newest>, TransportError> {
        let (stream, subject) = (self.stream(), self.subject(key));
        match self.connection.raw_newest(&stream, &subject).await {
            Ok(message) => Ok(message.map(Newest::from)),
            Err(error) => Err(self.named(error.into())),
        }
    }

    /// The `STREAM.INFO` of the bucket.
    pub(super) async fn info(&self) -> Result<StreamInfo, TransportError> {
        let info = self.connection.stream_info(&self.stream()).await;
        info.map_err(|error| self.named(error.into()))
    }

    /// The subject of a key, or of a pattern of keys.
    pub(super) fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }

    /// The name of the stream that the bucket is.
    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    /// An error that says which bucket does not exist.
    pub(super) fn named(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::NotFound(_) => {
                TransportError::NotFound(format!("there is no bucket {:?}", self.bucket))
            }
            other => other,
        }
    }
}

pub(super) fn check_key(key: &str) -> Result<(), TransportError> {
    Key::check(key).map_err(|error| TransportError::Invalid(error.to_string()))
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), TransportError> {
    KeyPattern::check(pattern).map_err(|error| TransportError::Invalid(error.to_string()))
}

#[cfg(test)]
impl Newest {
    /// A write at this revision with this mark, conditional or not.
    pub(super) fn of(revision: u64, write_id: &str, written_on: Option<u64>) -> Self {
        Self {
            revision,
            deleted: false,
            write_id: Some(write_id.to_owned()),
            written_on,
            value: Bytes::new(),
        }
    }
}

impl From<RawMessage> for Newest {
    fn from(message: RawMessage) -> Self {
        Self {
            revision: message.sequence,
            deleted: message.is_deletion(),
            write_id: message.header(WRITE_ID),
            written_on: message
                .header(EXPECTED)
                .and_then(|revision| revision.parse().ok()),
            value: message.payload,
        }
    }
}
