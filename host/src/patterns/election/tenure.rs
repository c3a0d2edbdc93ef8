//! What follows from the writes to the key of an election: pure.
//!
//! A leader believes in its leadership for [`limits::LEASE_SAFE`] from *before* it sent its last
//! good write. The key lives longer than that from when the server stored the write, so nobody else
//! can have it in that time, whatever became of the answers.

use std::time::Instant;

use crate::limits;

/// What is known of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It was done, with this revision.
    Done(u64),
    /// The key is not as it was expected to be.
    Conflict,
    /// Nobody knows.
    Unknown,
}

/// The key, held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenure {
    /// The revision of the write that acquired the key.
    pub(super) term: u64,
    /// The revision of the newest write.
    pub(super) revision: u64,
    /// Not to be relied on from then on.
    pub(super) until: Instant,
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does not have the key, or cannot know.
    Follows,
    /// The key is its own, and its value does not say the term yet. It leads nobody.
    Acquired(Tenure),
    /// It leads.
    Leads(Tenure),
}

impl Standing {
    /// After a write that creates the key and was sent at `sent`.
    pub(super) fn created(sent: Instant, written: Written) -> Self {
        match written {
            Written::Done(revision) => Self::Acquired(Tenure {
                term: revision,
                revision,
                until: sent + limits::LEASE_SAFE,
            }),
            Written::Conflict | Written::Unknown => Self::Follows,
        }
    }

    /// After a write on top of the newest revision, sent at `sent` and answered, or not, at `now`.
    pub(super) fn renewed(self, sent: Instant, now: Instant, written: Written) -> Self {
        // An answer that comes after the end does not bring back what has ended.
        let standing = self.at(now);
        let Some(tenure) = standing.tenure() else {
            return Self::Follows;
        };
        match written {
            Written::Done(revision) => Self::Leads(Tenure {
                revision,
                until: sent + limits::LEASE_SAFE,
                ..tenure
            }),
            Written::Conflict => Self::Follows,
            Written::Unknown => standing,
        }
    }

    /// As time goes by.
    pub(super) fn at(self, now: Instant) -> Self {
        match self.tenure() {
            Some(tenure) if now < tenure.until => self,
            _ => Self::Follows,
        }
    }

    /// The key, if it is held.
    pub(super) fn tenure(self) -> Option<Tenure> {
        match self {
            Self::Follows => None,
            Self::Acquired(tenure) | Self::Leads(tenure) => Some(tenure),
        }
    }
}

#[cfg(test)]
mod tests;
