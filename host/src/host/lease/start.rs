//! The pure decision whether a starting host may take the lease that it finds.

use std::time::Duration;

use mistersmith_nats::Entry;

use super::value::{Owner, Writer};
use mistersmith_core::limits::LEASE_WATCH;

/// A lease that may belong to a living host, watched until it is renewed or old.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The revision found first, and the time.
    watched: Option<(u64, Duration)>,
}

/// The next step of a starting host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StartDecision {
    /// Write over this revision, or create the key.
    Take(Option<u64>),
    /// Read the key again a little later. The name of the host is given the first time.
    Wait(Option<String>),
    /// Refuse to start: the host of this name lives and has the same id.
    Refuse(String),
}

impl Start {
    /// Decides about the value of the key, read at `now`.
    pub(super) fn judge(
        &mut self,
        found: Option<&Entry>,
        writer: &Writer,
        now: Duration,
    ) -> StartDecision {
        let Some(entry) = found else {
            return StartDecision::Take(None);
        };
        let name = match writer.owner_at_start(&entry.value) {
            Owner::Before => return StartDecision::Take(Some(entry.revision)),
            Owner::Another(name) => name,
        };
        match self.watched {
            None => {
                self.watched = Some((entry.revision, now));
                StartDecision::Wait(Some(name))
            }
            Some((revision, _)) if revision != entry.revision => StartDecision::Refuse(name),
            // Renewed by nobody, whatever the bucket's ttl is.
            Some((_, since)) if now.saturating_sub(since) > LEASE_WATCH => {
                StartDecision::Take(Some(entry.revision))
            }
            Some(_) => StartDecision::Wait(None),
        }
    }
}
