//! Deletion marks: how a message of a bucket says that its key has no value.

use crate::raw::RawMessage;
use crate::{Headers, TransportError};

pub(super) const OPERATION: &str = "KV-Operation";
/// The header of a newer server's own mark of a deletion.
pub(super) const MARKER: &str = "Nats-Marker-Reason";

impl RawMessage {
    /// Whether a message of a bucket marks a deletion.
    pub(super) fn is_deletion(&self) -> bool {
        is_deletion(
            self.header(OPERATION).as_deref(),
            self.header(MARKER).as_deref(),
        )
    }
}

/// The headers of the mark of a deletion.
pub(super) fn headers() -> Result<Headers, TransportError> {
    let mut headers = Headers::new();
    headers.insert(OPERATION, "DEL")?;
    Ok(headers)
}

/// Whether a message of a bucket marks a deletion, by its operation or by a newer server's own
/// marker.
pub(super) fn is_deletion(operation: Option<&str>, marker: Option<&str>) -> bool {
    matches!(operation, Some("DEL" | "PURGE")) || marker.is_some()
}
