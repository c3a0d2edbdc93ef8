//! Claim checks: a payload that is too large for a message is stored in the object store PAYLOADS,
//! and the message names the object.
//!
//! An object serves messages on one subject only: its description is that subject. Otherwise a
//! publisher on one subject could make a host read, or remove, what was stored for another.

use bytes::Bytes;
use thiserror::Error;

use super::{Connection, Headers, MESSAGE_ID, ObjectFacts, Stored, TransportError};
use mistersmith_core::limits;
pub use mistersmith_core::names::headers::{CLAIM, CLAIM_SIZE};

/// The object store.
pub const PAYLOADS: &str = "PAYLOADS";
/// Of what the server takes, the part that is left for headers: 64 KiB of a megabyte.
const ROOM_PART: usize = 16;
/// Bytes that storing a message adds to its headers: its id.
const MESSAGE_ID_ROOM: usize = 512;

/// The name of an object that holds the payload of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim(String);

/// Why the payload of a message cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// The claim is none, or not for this message.
    #[error("{0}")]
    Bad(String),
    /// There is no such object, or it is not whole.
    #[error("{0}")]
    Missing(String),
    /// The object is larger than allowed.
    #[error("the claimed payload has {0} bytes")]
    TooLarge(usize),
    /// The server did not say; later it may.
    #[error("{0}")]
    Later(TransportError),
}

impl Claim {
    /// The claim of a message; none where it has its payload itself.
    pub fn of(headers: &Headers) -> Option<Result<Self, ClaimError>> {
        headers.get(CLAIM).map(Self::parse)
    }

    /// Whether hosts take what is published there, so that they fetch and remove the payload.
    pub fn is_for(subject: &str) -> bool {
        subject.starts_with("work.") || subject.starts_with("pipeline.")
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Says in the headers of a message where its payload is.
    pub fn stamp(&self, size: usize, headers: &mut Headers) {
        headers.set(CLAIM, &self.0);
        headers.set(CLAIM_SIZE, &size.to_string());
    }

    /// A name is two tokens or more with dots between.
    fn parse(name: &str) -> Result<Self, ClaimError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let token = |token: &str| !token.is_empty() && token.bytes().all(good);
        if name.len() <= limits::MAX_SUBJECT && name.contains('.') && name.split('.').all(token) {
            return Ok(Self(name.to_owned()));
        }
        let shown: String = name.chars().take(100).collect();
        Err(ClaimError::Bad(format!(
            "{CLAIM} {shown:?} is no name of a payload"
        )))
    }

    /// The object for what is published on `subject` under a message id: the same again for the
    /// same id, so that a repetition leaves nothing behind.
    fn made(subject: &str, msg_id: &str) -> Self {
        let first = subject.split('.').next().unwrap_or("x");
        let rest: String = msg_id
            .chars()
            .map(|c| match c {
                ':' | '.' => '.',
                c if c.is_ascii_alphanumeric() || c == '-' => c,
                _ => '_',
            })
            .take(limits::MAX_SUBJECT - first.len() - 1)
            .collect();
        Self(format!(
            "{first}.{}",
            rest.replace("..", "._.").trim_matches('.')
        ))
    }

    /// The payload, for a message on `subject`, of at most `most` bytes.
    pub async fn fetch(
        &self,
        connection: &Connection,
        subject: &str,
        most: usize,
    ) -> Result<Bytes, ClaimError> {
        let store = connection.objects(PAYLOADS)?;
        let object = self.find(connection, subject, most).await?;
        match store.read(&object).await {
            // It may have been put again, and its pieces changed, while it was read.
            Err(TransportError::NotFound(_) | TransportError::Invalid(_)) => {
                let object = self.find(connection, subject, most).await?;
                Ok(store.read(&object).await?)
            }
            read => Ok(read?),
        }
    }

    /// The object that holds the payload, for a message on `subject`, of at most `most` bytes.
    pub async fn find(
        &self,
        connection: &Connection,
        subject: &str,
        most: usize,
    ) -> Result<ObjectFacts, ClaimError> {
        let Some(object) = connection.objects(PAYLOADS)?.find(&self.0).await? else {
            return Err(ClaimError::Missing(format!(
                "the payload {:?} is not in the object store",
                self.0
            )));
        };
        if object.about != subject {
            return Err(ClaimError::Bad(format!(
                "the payload {:?} was not stored for this subject",
                self.0
            )));
        }
        if object.size > most {
            return Err(ClaimError::TooLarge(object.size));
        }
        Ok(object)
    }

    /// Makes the payload as young as a message on `subject` that is about to be published with it.
    pub async fn renew(
        &self,
        connection: &Connection,
        subject: &str,
    ) -> Result<(), TransportError> {
        let store = connection.objects(PAYLOADS)?;
        match store.find(&self.0).await {
            Ok(Some(object)) if object.about == subject => store.renew(&object).await,
            Err(TransportError::NotFound(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the payload of a message that is done, if it was stored for that subject.
    pub async fn discard(
        &self,
        connection: &Connection,
        subject: &str,
    ) -> Result<(), TransportError> {
        let store = connection.objects(PAYLOADS)?;
        match store.find(&self.0).await? {
            Some(object) if object.about == subject => store.delete(&self.0).await.map(drop),
            _ => Ok(()),
        }
    }
}

impl From<TransportError> for ClaimError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NotFound(text) => Self::Missing(text),
            TransportError::Invalid(text) => Self::Bad(text),
            error => Self::Later(error),
        }
    }
}

impl Connection {
    /// From how many bytes on a payload is stored as a claim. Follows what the server takes now.
    pub fn claim_over(&self) -> usize {
        let most = self.max_payload();
        let most = most - most / ROOM_PART;
        most.min(
            self.inner
                .claim_over
                .load(std::sync::atomic::Ordering::Relaxed),
        )
    }

    /// Has payloads become claims from fewer bytes on than the server takes.
    pub fn set_claim_over(&self, bytes: usize) {
        let over = &self.inner.claim_over;
        over.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether a payload of so many bytes goes into a message with these headers.
    pub fn takes(&self, headers: &Headers, payload: usize) -> bool {
        let size = payload.saturating_add(headers.wire_size());
        payload <= self.claim_over() && size.saturating_add(MESSAGE_ID_ROOM) <= self.max_payload()
    }

    /// As [`Connection::store`], for a payload of any size that a host handles: a large one is put
    /// into the object store first. The claim is on the subject `about`, on which the payload will
    /// be asked for.
    pub async fn store_any(
        &self,
        subject: &str,
        msg_id: &str,
        mut headers: Headers,
        payload: Bytes,
    ) -> Result<Stored, TransportError> {
        if self.takes(&headers, payload.len()) {
            let stored = self.store(subject, msg_id, headers.clone(), payload.clone());
            match stored.await {
                // The server takes less since it was looked at.
                Err(TransportError::TooLarge(_)) if !self.takes(&headers, payload.len()) => {}
                stored => return stored,
            }
        }
        let claim = Box::pin(self.claim(subject, msg_id, &payload)).await?;
        claim.stamp(payload.len(), &mut headers);
        self.store(subject, msg_id, headers, Bytes::new()).await
    }

    /// As [`Connection::publish_stored`] in one attempt, for a payload of any size.
    pub async fn publish_stored_any(
        &self,
        subject: &str,
        mut headers: Headers,
        payload: Bytes,
        timeout: std::time::Duration,
    ) -> Result<Stored, TransportError> {
        if self.takes(&headers, payload.len()) {
            return self
                .publish_stored(subject, headers, payload, timeout)
                .await;
        }
        // The sender's own message id makes the same object again.
        let id = headers.get(MESSAGE_ID).map(str::to_owned);
        let id = id.unwrap_or_else(|| nuid::next().to_string());
        let claim = Box::pin(self.claim(subject, &id, &payload)).await?;
        claim.stamp(payload.len(), &mut headers);
        let stored = self
            .publish_stored(subject, headers, Bytes::new(), timeout)
            .await;
        if stored.as_ref().is_err_and(|error| !error.is_transient()) {
            // Surely not stored. What stays here in spite of this is swept.
            let _ = claim.discard(self, subject).await;
        }
        stored
    }

    /// Stores a payload for a message on `subject`.
    pub async fn claim(
        &self,
        subject: &str,
        msg_id: &str,
        payload: &Bytes,
    ) -> Result<Claim, TransportError> {
        if payload.len() > limits::PAYLOAD.max {
            return Err(TransportError::TooLarge(format!(
                "the payload has {} bytes; at most {} can be stored",
                payload.len(),
                limits::PAYLOAD.max
            )));
        }
        let claim = Claim::made(subject, msg_id);
        self.objects(PAYLOADS)?
            .put(claim.name(), subject, payload)
            .await?;
        Ok(claim)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_made_and_read() {
        let id = "WORK_QUEUE:17:1790230470084404000:result";
        let claim = Claim::made("agent.echo-001.resp.r", id);
        assert_eq!(
            claim.name(),
            "agent.WORK_QUEUE.17.1790230470084404000.result"
        );
        for id in ["next.analyze", "a::b", "\u{e9} x>*", "..", &"x".repeat(999)] {
            let claim = Claim::made("work.nlp.x", id);
            assert_eq!(Claim::parse(claim.name()), Ok(claim.clone()), "{claim:?}");
        }
        for bad in [
            "",
            "x",
            "a.*",
            "a.>",
            "a..b",
            ".a",
            "a b.c",
            "a/b.c",
            &"x.".repeat(200),
        ] {
            assert!(Claim::parse(bad).is_err(), "{bad:?}");
        }
    }
}
