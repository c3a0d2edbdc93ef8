//! Exponential backoff with jitter.
//!
//! The pauses double up to a bound. The jitter spreads them: hosts that failed together would
//! otherwise retry together.

use std::time::Duration;

use rand::Rng as _;

/// The pauses of one series of attempts.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins with at most `first`, and never waits longer than `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// The pause after one more failure: between a half and the whole of what doubling gives. It is
    /// never shorter than the one before, until `most` is reached.
    pub fn failed(&mut self) -> Duration {
        let pause = pause(self.first, self.most, self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Resets after a success: the next failure counts as the first.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The pause after a failure that follows `before` others in a row, for callers that count them
/// elsewhere.
pub fn pause(first: Duration, most: Duration, before: u32) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(before)).min(most);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(4);

    #[test]
    fn pauses_grow_to_their_bound() {
        let mut backoff = Backoff::new(FIRST, MOST);
        let mut whole = FIRST;
        for _ in 0..40 {
            let pause = backoff.failed();
            assert!(
                whole / 2 <= pause && pause <= whole,
                "{pause:?} of {whole:?}"
            );
            whole = (whole * 2).min(MOST);
        }
        backoff.succeeded();
        assert!(backoff.failed() <= FIRST);
    }

    #[test]
    fn two_hosts_do_not_wait_equally_long() {
        let pause = || Backoff::new(FIRST, MOST).failed();
        let first = pause();
        assert!((0..100).any(|_| pause() != first));
    }
}
