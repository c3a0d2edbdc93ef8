//! `[permissions]` of a manifest.

use std::path::Path;

use super::item::Item;
use super::section::Section;
use crate::limits::MAX_GRANTS;
use crate::names::{KeyPattern, NameError, SubjectPattern};
use crate::permissions::reserved::{self, Own};
use crate::permissions::{
    AGENT, Access, KvAccess, KvGrant, PLUGIN, PermissionSpec, internal_bucket,
};

/// Reads the section; grants that can never be used are mistakes, since their author expects
/// something.
pub(super) fn read(section: &Section<'_>, plugin: &str, manifest: &Path) -> PermissionSpec {
    let own = Own::Plugin(plugin);
    let spec = PermissionSpec {
        manifest: manifest.to_owned(),
        publish: subjects(section, "publish", plugin, |p| reserved::publish(p, own)),
        subscribe: subjects(section, "subscribe", plugin, reserved::subscribe_grant),
        request: subjects(section, "request", plugin, |p| reserved::request(p, own)),
        deny: subjects(section, "deny", plugin, |_| None),
        kv: keys(section, plugin),
    };
    section.close();
    spec
}

/// A list of subject patterns; `refused` says why one of them can never be granted.
pub(super) fn subjects(
    section: &Section<'_>,
    key: &'static str,
    plugin: &str,
    refused: impl Fn(&str) -> Option<&'static str>,
) -> Vec<String> {
    let Some(list) = section.get(key) else {
        return Vec::new();
    };
    let mut read = Vec::new();
    for item in list.items("[\"results.nlp.>\"]", MAX_GRANTS) {
        let Some(text) = pattern::<SubjectPattern>(&item, plugin, "\"results.nlp.>\"") else {
            continue;
        };
        if let Some(reason) = refused(&sample(text, plugin)) {
            item.note(
                format!("{text:?} can never be granted: {reason}"),
                "delete it",
            );
        }
        read.push(text.to_owned());
    }
    read
}

/// The entries of `kv`.
pub(super) fn keys(section: &Section<'_>, plugin: &str) -> Vec<KvGrant> {
    let example = "[{ bucket = \"NLP_CACHE\", keys = [\"{plugin}.>\"], access = \"read-write\" }]";
    let Some(list) = section.get("kv") else {
        return Vec::new();
    };
    let entries = list.items(example, MAX_GRANTS).into_iter();
    entries
        .filter_map(|item| {
            kv(
                Section::of(&item, &format!("write it like {example}"))?,
                plugin,
            )
        })
        .collect()
}

fn kv(entry: Section<'_>, plugin: &str) -> Option<KvGrant> {
    let bucket = entry
        .need("bucket", "bucket = \"NLP_CACHE\"")
        .and_then(|item| {
            let bucket: Option<crate::names::Bucket> = item.name("\"NLP_CACHE\"");
            Some((bucket?, item))
        });
    let keys = entry.need("keys", "keys = [\"{plugin}.>\"]");
    if let Some(list) = keys.as_ref().filter(|list| list.is_empty_list()) {
        list.note(
            "the list is empty, and so grants nothing",
            "write the keys, such as \"{plugin}.>\"",
        );
    }
    let keys: Vec<String> = keys
        .map(|list| list.items("[\"{plugin}.>\"]", MAX_GRANTS))
        .unwrap_or_default()
        .iter()
        .filter_map(|item| pattern::<KeyPattern>(item, plugin, "\"{plugin}.>\""))
        .map(str::to_owned)
        .collect();
    let access = match entry.get("access") {
        None => Some(KvAccess::default()),
        Some(item) => {
            let all = [KvAccess::Read, KvAccess::Write, KvAccess::ReadWrite];
            item.choice(&all.map(|access| (access.as_str(), access)))
        }
    };
    entry.close();
    let ((bucket, item), access) = (bucket?, access?);
    let uses = [Access::Read, Access::Write]
        .into_iter()
        .filter(|a| access.allows(*a));
    if let Some(reason) = uses
        .filter_map(|a| internal_bucket(bucket.as_str(), a))
        .next()
    {
        let readable = internal_bucket(bucket.as_str(), Access::Read).is_none();
        let fix = if readable {
            "write access = \"read\""
        } else {
            "use a bucket of your own"
        };
        item.note(
            format!(
                "{} of {bucket} can never be granted: {reason}",
                access.as_str()
            ),
            fix,
        );
    }
    Some(KvGrant {
        bucket,
        keys,
        access,
    })
}

/// A pattern, valid once its placeholders are filled in.
fn pattern<'a, T>(item: &Item<'a>, plugin: &str, example: &str) -> Option<&'a str>
where
    T: std::str::FromStr<Err = NameError>,
{
    let text = item.text(example)?;
    if let Some(unknown) = unknown_placeholder(text) {
        let fix = format!("write {AGENT} or {PLUGIN}");
        item.note(format!("{unknown:?} stands for nothing"), fix);
        return None;
    }
    if let Err(error) = sample(text, plugin).parse::<T>() {
        item.note(error.to_string(), format!("write it like {example}"));
        return None;
    }
    Some(text)
}

/// The pattern as it would be for the first agent of the plugin.
pub(super) fn sample(pattern: &str, plugin: &str) -> String {
    pattern
        .replace(AGENT, &format!("{plugin}-001"))
        .replace(PLUGIN, plugin)
}

/// What is in braces and neither `{agent}` nor `{plugin}`: a typing error, as nobody names a token
/// so.
pub(super) fn unknown_placeholder(text: &str) -> Option<String> {
    let rest = text.replace(AGENT, "").replace(PLUGIN, "");
    let (_, after) = rest.split_once('{')?;
    let (name, _) = after.split_once('}')?;
    Some(format!("{{{name}}}"))
}
