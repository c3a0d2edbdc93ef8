//! The bounds of a pull: messages, bytes, and how long the server may be silent.

use std::time::Duration;

/// Most messages of one pull: they wait in one queue of the client library, which holds more.
pub(super) const MAX_PULL: usize = 4_096;
/// Most bytes of one pull, so that a batch of large messages does not fill the memory.
pub(super) const MAX_PULL_BYTES: usize = 32 * 1024 * 1024;
/// How often the server confirms that a pull still waits. Two missing heartbeats end the pull.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How late an answer of the server may be, and a message after its status.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// Whether the server sends heartbeats for a pull that stands so long.
pub(super) fn has_heartbeats(expires: Duration) -> bool {
    expires >= 2 * HEARTBEAT
}
