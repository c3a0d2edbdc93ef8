//! Reports of refusals: counted always, reported within a rate.
//!
//! A hostile agent can be refused a million times a second; the operator sees a few reports with
//! the number of those left out, and the counters stay exact.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::rate::Rate;
use mistersmith_core::names::{AgentId, PluginName};

/// Most reports of one agent a second.
const REPORTS_PER_SECOND: u32 = 5;

/// Receives refusals. Called on the agent's own path: it must not block.
pub trait Audit: Send + Sync + 'static {
    /// Receives one refusal.
    fn refused(&self, refused: Refused);
}

/// A call that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The agent.
    pub agent: AgentId,
    /// The plugin it is an agent of.
    pub plugin: PluginName,
    /// The function: `publish`, `request`, `subscribe`, `kv.get`, `reply`, ….
    pub action: &'static str,
    /// The reason: a full sentence that quotes the subject, bucket or key.
    pub reason: String,
    /// How many refusals of this agent went unreported before this one.
    pub unreported: u64,
}

/// Keeps the reports of one agent within their rate.
#[derive(Debug)]
pub(super) struct Reports {
    rate: Rate,
    unreported: AtomicU64,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            rate: Rate::new(REPORTS_PER_SECOND),
            unreported: AtomicU64::new(0),
        }
    }

    /// Whether this refusal is reported, and how many before it were not.
    pub(super) fn admit(&self) -> Option<u64> {
        if self.rate.take() {
            Some(self.unreported.swap(0, Ordering::Relaxed))
        } else {
            self.unreported.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_few_reports() {
        let reports = Reports::new();
        let admitted: Vec<u64> = (0..10_000).filter_map(|_| reports.admit()).collect();
        // A slow machine may take longer than a fifth of a second for the loop and admit one more.
        assert!(admitted.len() < 50, "{}", admitted.len());
        let reported = admitted.len() as u64 + admitted.iter().sum::<u64>();
        assert_eq!(
            reported + reports.unreported.load(Ordering::Relaxed),
            10_000
        );
    }
}
