//! The retry rule: the limit of attempts, and the pauses between them.

use std::time::Duration;

/// The limit of attempts, and the pauses between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRule {
    /// The attempt after which a failure is final, from 1.
    pub max_deliver: u32,
    /// The pause after the first, second, … failure; the last one repeats. Never empty in a parsed
    /// manifest.
    pub backoff: Vec<Duration>,
}

impl RetryRule {
    /// The pause after attempt number `attempts`.
    pub fn delay(&self, attempts: u32) -> Duration {
        let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.backoff
            .get(step)
            .or(self.backoff.last())
            .copied()
            .unwrap_or(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_wait_repeats() {
        let rule = RetryRule {
            max_deliver: 9,
            backoff: vec![Duration::from_secs(1), Duration::from_secs(5)],
        };
        let waits: Vec<u64> = (1..5).map(|n| rule.delay(n).as_secs()).collect();
        assert_eq!(waits, [1, 5, 5, 5]);
    }
}
