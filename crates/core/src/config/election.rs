//! `[election]` of a manifest: the agents of the plugin are candidates, and at most one of them
//! leads.

use super::ElectionSpec;
use super::section::Section;

/// Reads `[election]`.
pub(super) fn read(root: &Section<'_>) -> Option<ElectionSpec> {
    let section = root.section("election")?;
    let domain = section
        .need("domain", "domain = \"nlp\"")
        .and_then(|item| item.name("\"nlp\""));
    section.close();
    Some(ElectionSpec { domain: domain? })
}
