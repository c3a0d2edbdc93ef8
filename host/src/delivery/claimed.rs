//! A claim check's payload, fetched from the object store for a held message.

use tokio::sync::OwnedSemaphorePermit;

use mistersmith_nats::{Claim, Connection, Headers};

/// A fetched payload; removed from the object store when its message is acknowledged.
#[derive(Debug)]
pub struct Claimed {
    claim: Claim,
    /// In bytes.
    size: usize,
    /// The memory permit that it occupies here.
    _room: Option<OwnedSemaphorePermit>,
}

impl Claimed {
    /// A payload of `size` bytes with its memory permit.
    pub fn new(claim: Claim, size: usize, room: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            claim,
            size,
            _room: room,
        }
    }

    /// Adds the location of the payload to the headers of a dead letter.
    pub fn stamp(&self, headers: &mut Headers) {
        self.claim.stamp(self.size, headers);
    }

    /// Removes the payload of a message on `subject` that is acknowledged. A payload that stays,
    /// because the process dies or the server does not answer, is swept later.
    pub async fn discard(&self, connection: &Connection, subject: &str) {
        if let Err(error) = self.claim.discard(connection, subject).await {
            tracing::debug!(%error, claim = self.claim.name(), "payload not removed; it will be swept");
        }
    }
}
