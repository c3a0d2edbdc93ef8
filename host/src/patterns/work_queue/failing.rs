//! Consumers whose pulls keep failing: found, logged, and shown where the agents are shown.
//!
//! A pull that fails once is nothing: consumers change their leader, servers restart. A consumer
//! that brings nothing for long is trouble that nobody else reports, because its agents are ready.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::{MAX_ERROR_CHARS, PULLS_FAIL_AFTER};

/// The pulls of one consumer: since when each has failed.
#[derive(Debug, Default)]
pub(super) struct PullState {
    failing_since: Option<Instant>,
    reported: bool,
}

impl PullState {
    /// A pull failed. Whether that is to be reported now: once, when no pull has succeeded for
    /// [`PULLS_FAIL_AFTER`].
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= PULLS_FAIL_AFTER;
        long && !std::mem::replace(&mut self.reported, true)
    }

    /// A pull brought a message or ended as agreed. Whether its failing was reported before.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self).reported
    }

    pub(super) fn is_reported(&self) -> bool {
        self.reported
    }
}

/// The consumers of one plugin on this host whose pulls keep failing, with the last error of each.
#[derive(Debug, Default)]
pub struct FailingPulls {
    errors: Mutex<BTreeMap<String, String>>,
    /// How often a consumer came or went.
    changes: AtomicU64,
}

impl FailingPulls {
    pub(super) fn insert(&self, consumer: &str, error: &str) {
        let error = error.chars().take(MAX_ERROR_CHARS).collect();
        if self.errors().insert(consumer.to_owned(), error).is_none() {
            self.changed();
        }
    }

    pub(super) fn remove(&self, consumer: &str) {
        if self.errors().remove(consumer).is_some() {
            self.changed();
        }
    }

    /// Nothing is pulled any more.
    pub(super) fn clear(&self) {
        self.errors().clear();
        self.changed();
    }

    /// Changes whenever a consumer comes or goes.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The names of the consumers, and the last error of each.
    pub fn list(&self) -> BTreeMap<String, String> {
        self.errors().clone()
    }

    fn errors(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_consumer_is_reported_once_when_its_pulls_keep_failing() {
        let (mut state, start) = (PullState::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!state.failed(after(0)));
        assert!(!state.failed(after(9)));
        assert!(!state.succeeded(), "nothing was reported");
        assert!(!state.failed(after(11)), "the time begins again");
        assert!(!state.failed(after(20)));
        assert!(state.failed(after(21)));
        assert!(!state.failed(after(300)), "once");
        assert!(state.is_reported());
        assert!(state.succeeded());
        assert!(!state.is_reported());
        assert!(!state.succeeded());
    }
}
