//! `[idempotence]` of a manifest: what was done once is not done again for a while.

use std::time::Duration;

use super::section::Section;
use crate::limits::WINDOW;

/// Reads `[idempotence]`.
pub(super) fn read(root: &Section<'_>) -> Option<Duration> {
    let section = root.section("idempotence")?;
    let window = section.need("window", "window = \"10m\"");
    let window = window.and_then(|item| item.duration(WINDOW));
    section.close();
    window
}
