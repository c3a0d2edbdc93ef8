//! The consumers of a plugin whose pulls keep failing, for the status of its agents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use mistersmith_core::limits::MAX_ERROR_CHARS;

/// The consumers of one plugin on this host whose pulls keep failing, with the last error of each.
#[derive(Debug, Default)]
pub struct FailingPulls {
    errors: Mutex<BTreeMap<String, String>>,
    /// Counts insertions and removals.
    changes: AtomicU64,
}

impl FailingPulls {
    /// Records that pulls of a consumer keep failing, with the last error.
    pub fn insert(&self, consumer: &str, error: &str) {
        let error = error.chars().take(MAX_ERROR_CHARS).collect();
        if self.errors().insert(consumer.to_owned(), error).is_none() {
            self.changed();
        }
    }

    /// Records that the pulls of a consumer succeed again.
    pub fn remove(&self, consumer: &str) {
        if self.errors().remove(consumer).is_some() {
            self.changed();
        }
    }

    /// Removes all consumers, when pulling has ended.
    pub fn clear(&self) {
        self.errors().clear();
        self.changed();
    }

    /// A counter that changes whenever a consumer is inserted or removed.
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
        self.errors.lock()
    }
}
