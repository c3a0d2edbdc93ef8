//! The failure state of a consumer's pulls.
//!
//! A consumer whose pulls fail for long is reported here, because its agents are ready and nothing
//! else would show it. A single failed pull is not reported: consumers change their leader, servers
//! restart.

use tokio::time::Instant;

use mistersmith_core::limits::PULLS_FAIL_AFTER;

/// The pulls of one consumer, with the start of the current failures.
#[derive(Debug, Default)]
pub(super) struct PullState {
    failing_since: Option<Instant>,
    reported: bool,
}

impl PullState {
    /// Records a failed pull. Returns whether to report it now: once, when no pull has succeeded
    /// for [`PULLS_FAIL_AFTER`].
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= PULLS_FAIL_AFTER;
        long && !std::mem::replace(&mut self.reported, true)
    }

    /// Records a pull that delivered a message or ended normally. Returns whether its failure was
    /// reported before.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self).reported
    }

    pub(super) fn is_reported(&self) -> bool {
        self.reported
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
