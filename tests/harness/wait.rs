//! Waits for a condition, with a deadline. No test here waits for time to pass.

use std::time::{Duration, Instant};

/// Time limit for a condition that should hold soon: generous, because a test machine is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` returns a value.
///
/// # Panics
/// After [`PATIENCE`], with `what`.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_in(PATIENCE, what, look).await
}

/// As [`until`], with a deadline of its own.
pub async fn until_in<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The outcome of a future that should end soon.
///
/// # Panics
/// After [`PATIENCE`], with `what`.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
