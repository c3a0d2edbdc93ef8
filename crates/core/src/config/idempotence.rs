//! `[idempotence]` of a manifest: the window in which a handled message is not handled again.

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
