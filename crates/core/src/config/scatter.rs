//! `[scatter]` of a manifest: the agents of the plugin answer scatter questions.

use std::path::Path;

use super::ScatterSpec;
use super::files;
use super::grants::sample;
use super::patterns::{queue, transpose};
use super::section::Section;
use crate::names::subject;
use crate::permissions::PermissionSpec;

/// The subject of the questions.
const QUESTIONS: &str = "scatter.*.task";

/// Reads `[scatter]`.
pub(super) fn read(
    root: &Section<'_>,
    dir: &Path,
    permissions: &PermissionSpec,
    plugin: &str,
) -> Option<ScatterSpec> {
    let section = root.section("scatter")?;
    let group = section.get("group").map(|item| queue(&item, None));
    let schema = section.get("schema").map(|item| files::schema(&item, dir));
    let forbids = |deny: &&String| subject::covers(&sample(deny, plugin), QUESTIONS);
    if let Some(deny) = permissions.deny.iter().find(forbids) {
        let problem = format!("{deny:?} in [permissions] deny forbids every question");
        section.note(problem, "delete one of them");
    }
    section.close();
    Some(ScatterSpec {
        group: transpose(group)?,
        schema: transpose(schema)?,
    })
}
