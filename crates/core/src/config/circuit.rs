//! `[circuit]` of a manifest: the service that the plugin depends on.

use super::CircuitSpec;
use super::section::Section;
use crate::limits::{CIRCUIT_FAILURES, CIRCUIT_RESET};

/// Reads `[circuit]`.
pub(super) fn read(root: &Section<'_>) -> Option<CircuitSpec> {
    let section = root.section("circuit")?;
    let service = section
        .need("service", "service = \"nlp-service\"")
        .and_then(|item| item.name("\"nlp-service\""));
    let failures = section
        .get("failures")
        .map(|item| item.integer(CIRCUIT_FAILURES));
    let reset = section
        .get("reset")
        .map(|item| item.duration(CIRCUIT_RESET));
    section.close();
    Some(CircuitSpec {
        service: service?,
        failures: failures.unwrap_or(Some(CIRCUIT_FAILURES.default))?,
        reset: reset.unwrap_or(Some(CIRCUIT_RESET.default))?,
    })
}
