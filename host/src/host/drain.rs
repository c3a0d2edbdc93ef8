//! The drain: ends the process in order, within the grace period.

use std::time::{Duration, Instant};

use crate::status::StopReason;
use mistersmith_core::limits;

use super::Host;

/// Stops taking, finishes or returns what is in flight, publishes `stopped`, gives up the lease,
/// flushes and closes. Anything that exceeds the grace period is dropped; JetStream delivers it
/// again.
pub(super) async fn drain(host: Host) {
    let Host {
        shared,
        mut plugins,
        lease,
        background,
        ..
    } = host;
    let begun = Instant::now();
    let grace = shared.spec.grace;
    let left = || grace.saturating_sub(begun.elapsed());
    tracing::info!(
        grace_s = grace.as_secs(),
        "draining: no new messages are taken"
    );
    shared.draining.cancel();
    // Agents that use the whole grace period must leave time to store the results of the others.
    let calls = shared.spec.grace_of_calls();
    let calls_left = calls.saturating_sub(begun.elapsed());
    plugins.stop(StopReason::Drain, calls_left).await;
    let settled = tokio::time::timeout(left(), shared.deps.settler.idle())
        .await
        .is_ok();
    if !settled {
        tracing::warn!(
            held = shared.ack_progress.len(),
            "the grace period is over; what is in flight will be delivered again"
        );
    }
    if !shared.coordinator.idle(left()).await {
        tracing::warn!("the grace period is over; some gatherings end without a report");
    }
    // One second for each final message, even after the grace period is used up.
    let last = |most: Duration| {
        left()
            .max(limits::LAST_WORDS)
            .min(most.max(limits::LAST_WORDS))
    };
    let close = shared.deps.settler.attempts().close();
    let _ = tokio::time::timeout(last(limits::LAST_WORDS), close).await;
    lease.give_up(last(limits::LAST_WORDS)).await;
    shared.deps.events.flush(last(Duration::from_secs(5))).await;
    for task in background {
        task.abort();
    }
    if !shared.transport.drain(last(Duration::from_secs(5))).await {
        tracing::warn!("the connection closed before everything was sent");
    }
    tracing::info!(took_ms = begun.elapsed().as_millis() as u64, "drained");
}
