//! A plugin's permissions in sentences, for readers who do not write manifests.

use super::describe::{Description, Setting, describe};
use super::{KvAccess, KvGrant, PluginSpec};

/// The last sentence: nothing is allowed that is not granted.
const NOTHING_ELSE: &str = "may do nothing else: no other subject, key or message, no files, no \
                            sockets, no environment";

/// A sentence for each thing that a plugin takes part in and may do; its agents are the subject.
pub fn permitted(plugin: &PluginSpec) -> Vec<String> {
    let Description {
        patterns, grants, ..
    } = describe(plugin);
    let parts = patterns.iter().map(part);
    let subjects = grants.iter().filter_map(subjects);
    let buckets = plugin.permissions.kv.iter().flat_map(keys);
    let own = plugin.credentials.iter().map(|file| {
        format!(
            "send and receive over a connection of their own, with the credentials in {}",
            file.display()
        )
    });
    let nothing = [NOTHING_ELSE.to_owned()];
    parts
        .chain(own)
        .chain(subjects)
        .chain(buckets)
        .chain(nothing)
        .collect()
}

/// A pattern that the host runs for the plugin.
fn part(pattern: &Setting) -> String {
    let value = &pattern.value;
    match pattern.key.as_str() {
        "execute" => format!("carry out what is sent to {value}"),
        "work" => format!("take work {value}"),
        "pipeline" => format!("do the stage {value}"),
        "subscribe" => format!("receive, and answer, {value}"),
        "scatter" => format!("answer questions on {value}"),
        "election" => format!("stand for election: {value}"),
        "circuit" => format!("depend on the service {value}"),
        "idempotence" => format!("remember: {value}"),
        other => format!("{other}: {value}"),
    }
}

/// A grant of subjects; keys of buckets have sentences of their own.
fn subjects(grant: &Setting) -> Option<String> {
    let value = &grant.value;
    match grant.key.as_str() {
        "publish" => Some(format!("may publish on {value}")),
        "request" => Some(format!(
            "may send requests to {value} and receive the answers"
        )),
        "subscribe" => Some(format!("may subscribe to {value}")),
        "deny" => Some(format!(
            "may neither send to nor receive from {value}, whatever is granted"
        )),
        _ => None,
    }
}

fn keys(grant: &KvGrant) -> impl Iterator<Item = String> {
    let verbs = match grant.access {
        KvAccess::Read => "read and list",
        KvAccess::Write => "write and delete",
        KvAccess::ReadWrite => "read, list, write and delete",
    };
    let sentence = move |keys| format!("may {verbs} the keys {keys} of bucket {}", grant.bucket);
    grant.keys.iter().map(sentence)
}
