//! The clock of a lease's owner.

use std::time::Duration;

/// A monotonic clock.
pub(crate) trait Clock: Send + Sync {
    /// The time since a fixed moment.
    fn now(&self) -> Duration;
}

#[cfg(test)]
pub(crate) use test::TestClock;

#[cfg(test)]
mod test {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::{Clock, Duration};

    /// Follows tokio's paused time, and jumps when a test calls `jump`.
    #[derive(Debug, Clone)]
    pub(crate) struct TestClock {
        begun: Instant,
        base: Duration,
        ahead: Arc<Mutex<Duration>>,
    }

    impl TestClock {
        /// A clock that starts at `base`.
        pub(crate) fn from(base: Duration) -> Self {
            Self {
                begun: Instant::now(),
                base,
                ahead: Arc::default(),
            }
        }

        /// Advances the clock as if the machine had slept, without firing timers.
        pub(crate) fn jump(&self, by: Duration) {
            *self.ahead.lock() += by;
        }
    }

    impl Clock for TestClock {
        fn now(&self) -> Duration {
            self.base + self.begun.elapsed() + *self.ahead.lock()
        }
    }
}
