//! `[[pipeline]]` of a manifest: the stages that a plugin does.

use std::path::Path;

use super::files;
use super::item::Item;
use super::patterns::{backoff, denied, transpose};
use super::section::Section;
use super::{JoinSpec, Missing, StageSpec};
use crate::limits::{DEFAULT_BACKOFF, JOIN_TIMEOUT, MAX_DELIVER, MAX_ENTRIES};
use crate::names::Token;
use crate::permissions::PermissionSpec;

/// What `missing` can say.
const MISSING: [(&str, Missing); 2] = [("fail", Missing::Fail), ("continue", Missing::Continue)];

/// Reads every `[[pipeline]]`.
pub(super) fn stages(
    root: &Section<'_>,
    dir: &Path,
    permissions: &PermissionSpec,
    plugin: &str,
) -> Vec<StageSpec> {
    let mut read: Vec<StageSpec> = Vec::new();
    for section in root.sections("pipeline", MAX_ENTRIES) {
        let Some(stage) = one(&section, dir) else {
            section.close();
            continue;
        };
        if read.iter().any(|other| other.stage == stage.stage) {
            let problem = format!("stage {:?} is there twice", stage.stage);
            section.note(problem, "delete one of them");
        }
        if let Some(deny) = denied(&stage.patterns(), permissions, plugin) {
            let problem = format!(
                "{deny:?} in [permissions] deny forbids a part of what this stage takes or hands on"
            );
            section.note(
                problem,
                "delete one of them: an input that is taken cannot be left unseen",
            );
        }
        section.close();
        read.push(stage);
    }
    read
}

fn one(section: &Section<'_>, dir: &Path) -> Option<StageSpec> {
    let stage = section
        .need("stage", "stage = \"analyze\"")
        .and_then(|item| item.name::<Token>("\"analyze\""));
    let itself = stage.as_ref();
    let next = section
        .get("next")
        .map(|item| names(&item, "[\"summarize\"]", itself));
    let max_deliver = section
        .get("max_deliver")
        .map(|item| item.integer(MAX_DELIVER));
    let backoff = section.get("backoff").map(|item| backoff(&item));
    let schema = section.get("schema").map(|item| files::schema(&item, dir));
    let join = join(section, itself);
    Some(StageSpec {
        next: next.unwrap_or_else(|| Some(Vec::new()))?,
        join: join?,
        max_deliver: max_deliver.unwrap_or(Some(MAX_DELIVER.default))?,
        backoff: backoff.unwrap_or_else(|| Some(DEFAULT_BACKOFF.to_vec()))?,
        schema: transpose(schema)?,
        stage: stage?,
    })
}

/// `join` and what belongs to it; the outer none for a mistake.
fn join(section: &Section<'_>, itself: Option<&Token>) -> Option<Option<JoinSpec>> {
    let item = section.get("join");
    let timeout = section.get("join_timeout");
    let missing = section.get("missing");
    let Some(item) = item else {
        for lone in [timeout, missing].iter().flatten() {
            lone.note(
                "it belongs to `join`, which is missing",
                "delete it, or add join = [\"a\", \"b\"]",
            );
        }
        return Some(None);
    };
    let branches = names(&item, "[\"entities\", \"sentiment\"]", itself);
    let timeout = timeout.map(|item| item.duration(JOIN_TIMEOUT));
    let missing = missing.map(|item| item.choice(&MISSING));
    let branches = branches?;
    if branches.len() < 2 {
        item.note(
            format!(
                "a stage that joins waits for two stages or more, not for {}",
                branches.len()
            ),
            "name all of them, or delete it: a stage that follows one other needs no join",
        );
        return None;
    }
    Some(Some(JoinSpec {
        branches,
        timeout: timeout.unwrap_or(Some(JOIN_TIMEOUT.default))?,
        missing: missing.unwrap_or(Some(Missing::Fail))?,
    }))
}

/// A list of stages, each once, the stage itself not among them.
fn names(item: &Item<'_>, example: &str, itself: Option<&Token>) -> Option<Vec<Token>> {
    let mut read: Vec<Token> = Vec::new();
    let mut good = true;
    for item in item.items(example, MAX_ENTRIES) {
        let Some(name) = item.name::<Token>(example) else {
            good = false;
            continue;
        };
        let problem = if itself == Some(&name) {
            "is this stage itself"
        } else if read.contains(&name) {
            "is there twice"
        } else {
            read.push(name);
            continue;
        };
        item.note(format!("{:?} {problem}", name.as_str()), "delete it");
        good = false;
    }
    good.then_some(read)
}
