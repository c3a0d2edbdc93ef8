//! Key-value buckets.
//!
//! Reads ask the leader of the bucket's stream, not a replica that may lag. A conditional write whose
//! answer is lost is tried again and then recognised by a mark of its own, so that a caller never takes
//! its own success for somebody else's.

mod fenced;
mod keys;
mod purge;
mod watch;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::api::code;
use super::stored::persist;
use super::{Headers, Link, Stored, TransportError};
use crate::names::headers::WRITE_ID;
use crate::names::{Bucket, Key, KeyPattern};

pub use watch::{Change, Watch};

const OPERATION: &str = "KV-Operation";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// How long one write may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How long a conditional write goes on when answers are lost. Less than a lease of 15 s lives.
const PATIENCE: Duration = Duration::from_secs(8);

/// One bucket. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Kv {
    link: Link,
    bucket: String,
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
pub(super) struct Newest {
    revision: u64,
    deleted: bool,
    pub(super) write_id: Option<String>,
    value: Bytes,
}

impl Link {
    /// A bucket by its name. Whether it exists is told by the first use: `NotFound`.
    pub async fn kv(&self, bucket: &str) -> Result<Kv, TransportError> {
        Bucket::check(bucket).map_err(|error| TransportError::Invalid(error.to_string()))?;
        Ok(Kv {
            link: self.clone(),
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
    /// When an answer is lost it tries again for some seconds. Errors: `Conflict`; `Timeout` and
    /// `Unavailable` leave open what happened.
    pub async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
    ) -> Result<u64, TransportError> {
        self.write_if(key, Headers::new(), value, revision).await
    }

    /// Deletes a key; with a revision, only while that is its newest.
    ///
    /// Errors: as [`Kv::update`].
    pub async fn delete(&self, key: &str, revision: Option<u64>) -> Result<(), TransportError> {
        let mut headers = Headers::new();
        headers.insert(OPERATION, "DEL")?;
        match revision {
            Some(revision) => self.write_if(key, headers, Bytes::new(), revision).await?,
            None => {
                check_key(key)?;
                self.write(key, headers, Bytes::new()).await?.sequence
            }
        };
        Ok(())
    }

    async fn write_if(
        &self,
        key: &str,
        mut headers: Headers,
        value: Bytes,
        revision: u64,
    ) -> Result<u64, TransportError> {
        check_key(key)?;
        let id = nuid::next().to_string();
        headers.insert(WRITE_ID, &id)?;
        if self.link.has_unsafe_conditions() {
            let write = fenced::Write {
                key,
                headers,
                value,
                revision,
                id: &id,
            };
            return persist(PATIENCE, || self.write_fenced(&write)).await;
        }
        headers.insert(EXPECTED, &revision.to_string())?;
        let mut lost_an_answer = false;
        let written = persist(PATIENCE, || {
            let write = self.write(key, headers.clone(), value.clone());
            let doubt = lost_an_answer;
            lost_an_answer = true;
            let id = &id;
            async move {
                match write.await {
                    Err(TransportError::Conflict) if doubt => self.mine(key, id).await,
                    stored => stored.map(|stored| stored.sequence),
                }
            }
        });
        written.await
    }

    /// After a conflict that our own earlier attempt may have caused: the revision if it did.
    pub(super) async fn mine(&self, key: &str, id: &str) -> Result<u64, TransportError> {
        match self.newest(key).await? {
            Some(newest) if newest.write_id.as_deref() == Some(id) => Ok(newest.revision),
            _ => Err(TransportError::Conflict),
        }
    }

    async fn write(
        &self,
        key: &str,
        headers: Headers,
        value: Bytes,
    ) -> Result<Stored, TransportError> {
        let subject = format!("$KV.{}.{key}", self.bucket);
        let written = self
            .link
            .publish_stored(&subject, headers, value, ATTEMPT)
            .await;
        written.map_err(|error| self.named(error))
    }

    pub(super) async fn newest(&self, key: &str) -> Result<Option<Newest>, TransportError> {
        let call = format!("STREAM.MSG.GET.{}", self.stream());
        let body = json!({ "last_by_subj": format!("$KV.{}.{key}", self.bucket) });
        match self.link.call::<Answer>(&call, &body).await {
            Ok(answer) => answer.message.read().map(Some),
            Err(error) if error.is(code::NO_MESSAGE) => Ok(None),
            Err(error) => Err(self.named(error.into())),
        }
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    /// An error that says which bucket does not exist.
    fn named(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::NotFound(_) => {
                TransportError::NotFound(format!("there is no bucket {:?}", self.bucket))
            }
            other => other,
        }
    }
}

fn check_key(key: &str) -> Result<(), TransportError> {
    Key::check(key).map_err(|error| TransportError::Invalid(error.to_string()))
}

fn check_pattern(pattern: &str) -> Result<(), TransportError> {
    KeyPattern::check(pattern).map_err(|error| TransportError::Invalid(error.to_string()))
}

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

/// A stored message as the API shows it.
#[derive(Deserialize)]
struct Raw {
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Raw {
    fn read(self) -> Result<Newest, TransportError> {
        let malformed =
            |_| TransportError::Other("JetStream's answer is malformed: no base64".to_owned());
        let headers = STANDARD.decode(self.hdrs).map_err(malformed)?;
        let value = STANDARD.decode(self.data).map_err(malformed)?;
        let headers = String::from_utf8_lossy(&headers);
        Ok(Newest {
            revision: self.seq,
            deleted: is_deletion(
                header(&headers, OPERATION),
                header(&headers, "Nats-Marker-Reason"),
            ),
            write_id: header(&headers, WRITE_ID).map(str::to_owned),
            value: value.into(),
        })
    }
}

/// Whether a message of a bucket marks a deletion, by its operation or by a newer server's own marker.
fn is_deletion(operation: Option<&str>, marker: Option<&str>) -> bool {
    matches!(operation, Some("DEL" | "PURGE")) || marker.is_some()
}

/// A header in the block that goes over the wire.
fn header<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
