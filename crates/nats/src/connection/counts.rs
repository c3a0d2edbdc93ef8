//! Counts of a connection, for metrics and tests.

use std::sync::atomic::Ordering;

use super::Connection;

impl Connection {
    /// How many requests wait for an answer.
    pub fn waiting_requests(&self) -> usize {
        self.inner.replies.len()
    }

    /// How many messages the client library dropped on this connection because a queue was full.
    pub fn overflowed(&self) -> u64 {
        self.inner.health.overflowed()
    }

    /// How often the connection was lost and came back.
    pub fn reconnects(&self) -> u64 {
        let before = self.inner.connected_before.load(Ordering::Relaxed);
        let connects = before.saturating_add(self.inner.current().connects());
        connects.saturating_sub(1)
    }

    /// How often it was ended by a message that the client library cannot read, and made again.
    pub fn revivals(&self) -> u64 {
        self.inner.health.client_deaths()
    }
}
