//! The patterns of a manifest: reads `[[work]]`, `[[subscribe]]` and `[execute]`.

use std::path::Path;

use super::files;
use super::grants::{sample, unknown_placeholder};
use super::item::Item;
use super::section::Section;
use super::{BatchSpec, Schema, SubscribeSpec, TaskFilter, WorkSpec};
use crate::limits::{
    BACKOFF, BATCH, BATCH_WAIT, Bounded, DEFAULT_BACKOFF, MAX_DELIVER, MAX_ENTRIES,
};
use crate::names::{SubjectPattern, Token, is_version, subject};
use crate::permissions::{AGENT, PLUGIN, PermissionSpec, Refusal, check_queue, reserved};

/// Versions of a work subject, `work.v<N>`.
const VERSION: Bounded<u32> = Bounded {
    default: 2,
    min: 0,
    max: 999_999_999,
};

/// Most delays of a `backoff`.
const MAX_BACKOFF: usize = 32;

/// Reads every `[[work]]`.
pub(super) fn work(
    root: &Section<'_>,
    dir: &Path,
    permissions: &PermissionSpec,
    plugin: &str,
) -> Vec<WorkSpec> {
    let mut read: Vec<WorkSpec> = Vec::new();
    for section in root.sections("work", MAX_ENTRIES) {
        let Some(work) = one_work(&section, dir) else {
            section.close();
            continue;
        };
        if let Some(other) = read.iter().find(|other| other.overlaps(&work)) {
            let problem = format!("it overlaps the [[work]] that takes {}", other.pattern());
            section.note(problem, "delete one of them");
        }
        if let Some(deny) = denied(&work.patterns(), permissions, plugin) {
            let problem = format!("{deny:?} in [permissions] deny forbids a part of this work");
            section.note(
                problem,
                "delete one of them: an item that is taken cannot be left unseen",
            );
        }
        section.close();
        read.push(work);
    }
    read
}

fn one_work(section: &Section<'_>, dir: &Path) -> Option<WorkSpec> {
    let domain = section
        .need("domain", "domain = \"nlp\"")
        .and_then(|item| domain(&item));
    let task = section
        .need("task", "task = \"*\" for every task")
        .and_then(|item| task(&item));
    let version = section.get("version").map(|item| item.integer(VERSION));
    let max_deliver = section
        .get("max_deliver")
        .map(|item| item.integer(MAX_DELIVER));
    let backoff = section.get("backoff").map(|item| backoff(&item));
    let schema = section.get("schema").map(|item| files::schema(&item, dir));
    let version = match version {
        None => None,
        Some(number) => Some(format!("v{}", number?).parse().ok()?),
    };
    Some(WorkSpec {
        domain: domain?,
        version,
        task: task?,
        max_deliver: max_deliver.unwrap_or(Some(MAX_DELIVER.default))?,
        backoff: backoff.unwrap_or_else(|| Some(DEFAULT_BACKOFF.to_vec()))?,
        schema: transpose(schema)?,
    })
}

/// A domain cannot look like a version, alone or after a dash: `workers-nlp-v2` is the consumer of
/// version 2 of `nlp`.
fn domain(item: &Item<'_>) -> Option<Token> {
    let domain: Token = item.name("\"nlp\"")?;
    let last = domain.as_str().rsplit('-').next().unwrap_or_default();
    if is_version(last) {
        let problem = format!("{:?} ends like a version of a domain", domain.as_str());
        item.note(problem, "write the number of the version as version = 2");
        return None;
    }
    Some(domain)
}

/// A task cannot be called `all`: that is the name of the consumer of every task.
fn task(item: &Item<'_>) -> Option<TaskFilter> {
    match item.text("\"sentiment\"")? {
        "*" => Some(TaskFilter::All),
        "all" => {
            item.note(
                "\"all\" cannot be the name of a task",
                "write \"*\" for every task of the domain",
            );
            None
        }
        _ => item.name("\"sentiment\"").map(TaskFilter::One),
    }
}

/// The delays between attempts.
pub(super) fn backoff(item: &Item<'_>) -> Option<Vec<std::time::Duration>> {
    let example = "[\"1s\", \"5s\", \"30s\"]";
    let items = item.items(example, MAX_BACKOFF);
    if item.is_empty_list() {
        item.note(
            "it has no delay",
            format!("write it like {example}, or delete it"),
        );
    }
    let delays: Option<Vec<_>> = items.iter().map(|item| item.duration(BACKOFF)).collect();
    delays.filter(|delays| !delays.is_empty())
}

/// The first `deny` that forbids a part of these patterns.
pub(super) fn denied<'a>(
    patterns: &[String],
    permissions: &'a PermissionSpec,
    plugin: &str,
) -> Option<&'a str> {
    let hits = |deny: &&String| {
        let deny = sample(deny, plugin);
        patterns
            .iter()
            .any(|pattern| subject::overlaps(&deny, pattern))
    };
    permissions.deny.iter().find(hits).map(String::as_str)
}

/// Reads every `[[subscribe]]`.
pub(super) fn subscribe(
    root: &Section<'_>,
    dir: &Path,
    plugin: &str,
    permissions: &PermissionSpec,
) -> Vec<SubscribeSpec> {
    let mut read: Vec<SubscribeSpec> = Vec::new();
    for section in root.sections("subscribe", MAX_ENTRIES) {
        let found = one_subscribe(&section, dir, plugin, permissions);
        if let Some(found) = found {
            let same = |other: &&SubscribeSpec| {
                other.subject == found.subject && other.queue == found.queue
            };
            if read.iter().any(|other| same(&other)) {
                let problem = format!("{:?} is subscribed to twice", found.subject);
                section.note(problem, "delete one of them");
            }
            read.push(found);
        }
        section.close();
    }
    read
}

fn one_subscribe(
    section: &Section<'_>,
    dir: &Path,
    plugin: &str,
    permissions: &PermissionSpec,
) -> Option<SubscribeSpec> {
    let example = "subject = \"broadcast.domain.nlp.*\"";
    let subject = section.need("subject", example);
    let subject = subject.and_then(|item| subscribed(&item, plugin, permissions));
    let queue = section
        .get("queue")
        .map(|item| queue(&item, subject.as_ref()));
    let batch = batch(section);
    let schema = section.get("schema").map(|item| files::schema(&item, dir));
    Some(SubscribeSpec {
        subject: subject?,
        queue: transpose(queue)?,
        batch: batch?,
        schema: transpose(schema)?,
    })
}

/// A subject pattern that the host may subscribe to on behalf of the plugin.
fn subscribed(
    item: &Item<'_>,
    plugin: &str,
    permissions: &PermissionSpec,
) -> Option<SubjectPattern> {
    let example = "\"broadcast.domain.nlp.*\"";
    let text = item.text(example)?;
    if text.contains(AGENT) || unknown_placeholder(text).is_some() {
        let fix = format!("write {PLUGIN}, or subscribe when the agent starts");
        item.note(
            format!("{} has a placeholder that is not known here", item.shown()),
            fix,
        );
        return None;
    }
    let pattern: SubjectPattern = match text.replace(PLUGIN, plugin).parse() {
        Ok(pattern) => pattern,
        Err(error) => {
            item.note(error.to_string(), format!("write it like {example}"));
            return None;
        }
    };
    if let Some(reason) = reserved::subscribe(pattern.as_str()) {
        item.note(
            format!("{text:?} can never be subscribed to: {reason}"),
            "write another subject",
        );
        return None;
    }
    let covers = |deny: &&String| subject::covers(&sample(deny, plugin), pattern.as_str());
    if let Some(deny) = permissions.deny.iter().find(covers) {
        let problem = format!("{deny:?} in [permissions] deny forbids all of {text:?}");
        item.note(problem, "delete one of them");
    }
    Some(pattern)
}

pub(super) fn queue(item: &Item<'_>, subject: Option<&SubjectPattern>) -> Option<String> {
    let queue = item.text("\"workers-nlp\"")?;
    if let Err(Refusal::Invalid(reason) | Refusal::Denied(reason) | Refusal::TooLarge(reason)) =
        check_queue(queue)
    {
        item.note(reason, "write it like \"workers-nlp\"");
        return None;
    }
    if let Some(reason) = subject.and_then(|subject| reserved::queue(subject.as_str())) {
        item.note(
            format!("{queue:?} cannot be used here: {reason}"),
            "delete the queue",
        );
        return None;
    }
    Some(queue.to_owned())
}

/// `batch`, and `batch_wait`, which has no effect without it.
fn batch(section: &Section<'_>) -> Option<Option<BatchSpec>> {
    let size = section.get("batch").map(|item| item.integer(BATCH));
    let wait = section.get("batch_wait");
    if let (None, Some(wait)) = (&size, &wait) {
        wait.note(
            "it means nothing without batch",
            format!("add batch = {}, or delete it", BATCH.default),
        );
    }
    let wait = wait.map(|item| item.duration(BATCH_WAIT));
    let wait = transpose(wait)?.unwrap_or(BATCH_WAIT.default);
    Some(transpose(size)?.map(|size| BatchSpec {
        size: size as usize,
        wait,
    }))
}

/// Reads `[execute]`.
pub(super) fn execute(root: &Section<'_>, dir: &Path) -> Option<Schema> {
    let section = root.section("execute")?;
    let schema = section.need("schema", "schema = \"input.schema.json\"");
    let schema = schema.and_then(|item| files::schema(&item, dir));
    section.close();
    schema
}

/// A missing value is allowed; a wrong one is not.
pub(super) fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
