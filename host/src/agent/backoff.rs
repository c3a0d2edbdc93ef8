//! How long to wait before an instance that died is started again: pure.

use std::time::Duration;

use crate::limits;

/// Deaths in a row, and the wait that follows from them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after one more death: doubling from [`limits::RESTART_FIRST`] to
    /// [`limits::RESTART_MOST`].
    pub(super) fn died(&mut self) -> Duration {
        let wait = limits::RESTART_FIRST.saturating_mul(2u32.saturating_pow(self.deaths));
        self.deaths = self.deaths.saturating_add(1);
        wait.min(limits::RESTART_MOST)
    }

    /// A message was handled: the next death is the first again.
    pub(super) fn lived(&mut self) {
        self.deaths = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_ends_growing() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.died()).collect();
        assert_eq!(waits.first(), Some(&limits::RESTART_FIRST));
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&limits::RESTART_MOST));
        backoff.lived();
        assert_eq!(backoff.died(), limits::RESTART_FIRST);
    }
}
