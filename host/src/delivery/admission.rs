//! Admission of payloads: the size and schema check, and the bytes that a waiting call is charged.

use mistersmith_core::config::Schema;
use mistersmith_core::limits;

use super::reason::{Reason, ReasonKind};

/// The bytes that a call with parts of `bytes` bytes is charged.
pub fn waiting_bytes(bytes: usize) -> usize {
    // The bookkeeping of an empty message is charged too.
    bytes.saturating_add(limits::MESSAGE_OVERHEAD)
}

/// Checks that a payload has at most `most` bytes and matches the schema.
///
/// # Errors
/// `too-large` or `schema`.
pub fn admit(payload: &[u8], most: usize, schema: Option<&Schema>) -> Result<(), Reason> {
    let size = payload.len();
    if size > most {
        let text = format!("the payload has {size} bytes, [limits] payload allows {most}");
        return Err(Reason::new(ReasonKind::TooLarge, text));
    }
    schema.map_or(Ok(()), |schema| {
        schema
            .check(payload)
            .map_err(|text| Reason::new(ReasonKind::Schema, text))
    })
}
