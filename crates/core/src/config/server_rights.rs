//! The permissions of a plugin as those of a user of nats-server, for a plugin with credentials of
//! its own: the server is then a second wall behind the host's.
//!
//! The server knows users and subjects; the host also knows agents, keys and calls. Where the
//! server cannot say what the host says it allows more, never less, and the difference is listed.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::PluginSpec;
use crate::names::subject;
use crate::permissions::{AGENT, Access, HOST_ALONE, NOT_HEARD, PLUGIN};

/// How long a message may wait before its handler begins, after which its answer is refused.
const WAIT: Duration = Duration::from_secs(120);

/// The permissions of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerRights {
    /// Where it may publish.
    pub publish: Subjects,
    /// Where it may subscribe; `subject queue` allows a queue group only.
    pub subscribe: Subjects,
    /// For how many seconds it may answer a message once, on the reply subject; none: never.
    pub allow_responses: Option<u64>,
    /// The actions that the host refuses and the server would allow.
    pub differences: Vec<String>,
}

/// Patterns that are allowed, and those that are not although a wider one is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subjects {
    /// The patterns that are allowed.
    pub allow: Vec<String>,
    /// The patterns that are refused.
    pub deny: Vec<String>,
}

/// Permissions while they are put together.
#[derive(Default)]
struct Draft {
    /// Granted by the manifest: the host refuses reserved subjects within them.
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// Needed by the host's own protocol.
    sent: Vec<String>,
    heard: Vec<String>,
    differences: Vec<String>,
}

impl ServerRights {
    /// The permissions that this plugin needs, and no more than the server can be told.
    pub fn of(plugin: &PluginSpec) -> Self {
        let mut draft = Draft::default();
        draft.grants(plugin);
        draft.buckets(plugin);
        draft.coordination(plugin);
        let mut rights = Self {
            allow_responses: answers(plugin),
            ..Self::default()
        };
        draft.close(&mut rights);
        draft.denials(plugin, &mut rights);
        rights.publish.allow = once(draft.publish.iter().chain(&draft.sent));
        rights.subscribe.allow = once(draft.subscribe.iter().chain(&draft.heard));
        if rights.publish.allow.is_empty() {
            // To the server an empty list is no restriction.
            rights.publish.deny = vec![">".to_owned()];
        }
        draft.differences.push(
            "the host alone bounds sizes, rates and numbers, and the headers that a plugin sets"
                .to_owned(),
        );
        rights.differences = once(&draft.differences);
        rights
    }

    /// A block of a nats-server configuration that defines these permissions under `name`.
    pub fn conf(&self, name: &str) -> String {
        let mut text = String::new();
        for difference in &self.differences {
            let _ = writeln!(text, "# {difference}");
        }
        let _ = writeln!(text, "{name} = {{");
        for (verb, subjects) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            let _ = writeln!(text, "  {verb}: {{");
            list(&mut text, "allow", &subjects.allow);
            list(&mut text, "deny", &subjects.deny);
            text.push_str("  }\n");
        }
        if let Some(seconds) = self.allow_responses {
            let _ = writeln!(
                text,
                "  allow_responses: {{ max: 1, expires: \"{seconds}s\" }}"
            );
        }
        text.push_str("}\n");
        text
    }
}

fn list(text: &mut String, key: &str, patterns: &[String]) {
    if patterns.is_empty() {
        return;
    }
    let quoted: Vec<String> = patterns.iter().map(|p| format!("{p:?}")).collect();
    let _ = writeln!(text, "    {key}: [{}]", quoted.join(", "));
}

/// Each of them once, in the order of their first places.
fn once<'a>(all: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in all {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    kept
}

/// Whether it answers messages, and for how long it may.
fn answers(plugin: &PluginSpec) -> Option<u64> {
    let hears = !plugin.subscribe.is_empty() || !plugin.permissions.subscribe.is_empty();
    hears.then(|| (plugin.limits.timeout + WAIT).as_secs())
}

/// May both match one subject? A permission may be followed by a queue group.
fn meet(a: &str, b: &str) -> bool {
    let bare = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    subject::overlaps(&bare(a), &bare(b))
}

impl Draft {
    /// The pattern as the server can hold it: no agent has a user of its own.
    fn on_server(&mut self, pattern: &str, plugin: &PluginSpec) -> String {
        let named = pattern.replace(PLUGIN, plugin.name.as_str());
        if !named.contains(AGENT) {
            return named;
        }
        let token = |token: &str| if token.contains(AGENT) { "*" } else { token }.to_owned();
        let wide: Vec<String> = named.split('.').map(token).collect();
        let wide = wide.join(".");
        self.differences.push(format!(
            "{pattern}: the host allows each agent its own id, the server all of {wide}"
        ));
        wide
    }

    fn grants(&mut self, plugin: &PluginSpec) {
        let granted = &plugin.permissions;
        for pattern in granted.publish.iter().chain(&granted.request) {
            let pattern = self.on_server(pattern, plugin);
            self.publish.push(pattern);
        }
        for pattern in &granted.subscribe {
            let pattern = self.on_server(pattern, plugin);
            self.subscribe.push(pattern);
        }
        for heard in &plugin.subscribe {
            let subject = heard.subject.as_str();
            self.subscribe.push(match &heard.queue {
                Some(queue) => format!("{subject} {queue}"),
                None => subject.to_owned(),
            });
        }
        // Answers to requests, to reads and to what is stored.
        self.heard.push("_INBOX.>".to_owned());
        self.differences.push(
            "_INBOX.>: the host makes the reply subjects, and a plugin hears the answers to itself \
             only; the server would let it hear those to everybody in the account"
                .to_owned(),
        );
    }

    fn buckets(&mut self, plugin: &PluginSpec) {
        for grant in &plugin.permissions.kv {
            let bucket = &grant.bucket;
            if grant.access.allows(Access::Write) {
                for keys in &grant.keys {
                    let keys = self.on_server(keys, plugin);
                    self.sent.push(format!("$KV.{bucket}.{keys}"));
                }
            }
            if grant.access.allows(Access::Read) {
                let calls = [
                    format!("STREAM.MSG.GET.KV_{bucket}"),
                    format!("STREAM.INFO.KV_{bucket}"),
                    format!("CONSUMER.CREATE.KV_{bucket}"),
                    format!("CONSUMER.*.KV_{bucket}.>"),
                    format!("CONSUMER.MSG.NEXT.KV_{bucket}.>"),
                ];
                self.sent
                    .extend(calls.map(|call| format!("$JS.API.{call}")));
                self.differences.push(format!(
                    "{bucket}: the host allows {} to be read, the server every key of the bucket",
                    grant.keys.join(", ")
                ));
            }
        }
    }

    /// Calls of the interface `coordination`, and payloads that are larger than a message.
    fn coordination(&mut self, plugin: &PluginSpec) {
        let grants = |list: &[String], pattern| list.iter().any(|grant| meet(grant, pattern));
        let publishes = |draft: &Self, pattern| grants(&draft.publish, pattern);
        let mut sent: Vec<&str> = Vec::new();
        if publishes(self, "scatter.*.task") {
            sent.push("gather.*.complete");
            self.heard.push("gather.*.result".to_owned());
        }
        if plugin.scatter.is_some() {
            sent.push("gather.*.result");
            self.heard.push(
                match plugin.scatter.as_ref().and_then(|s| s.group.as_ref()) {
                    Some(group) => format!("scatter.*.task {group}"),
                    None => "scatter.*.task".to_owned(),
                },
            );
        }
        let starts = publishes(self, "pipeline.*.01.*");
        if starts {
            self.heard.push("pipeline.*.complete".to_owned());
        }
        if starts || grants(&self.subscribe, "coord.*.*") {
            sent.push("$JS.API.STREAM.MSG.GET.COORDINATION");
        }
        if starts || publishes(self, "work.>") {
            sent.extend([
                "$O.PAYLOADS.>",
                "$JS.API.STREAM.MSG.GET.OBJ_PAYLOADS",
                "$JS.API.STREAM.PURGE.OBJ_PAYLOADS",
            ]);
            self.differences.push(
                "payloads that are larger than a message: the host touches those of this plugin, \
                 the server would let it read and remove all"
                    .to_owned(),
            );
        }
        self.sent.extend(sent.into_iter().map(str::to_owned));
    }

    /// Closes what no grant opens, where a wide grant would have the server open it.
    fn close(&mut self, rights: &mut ServerRights) {
        let sides = [
            (
                HOST_ALONE,
                &self.publish,
                &self.sent,
                &mut rights.publish.deny,
            ),
            (
                NOT_HEARD,
                &self.subscribe,
                &self.heard,
                &mut rights.subscribe.deny,
            ),
        ];
        for (closed, granted, needed, deny) in sides {
            let opened = |pattern: &&&str| granted.iter().any(|grant| meet(grant, pattern));
            for pattern in closed.iter().filter(opened) {
                // A refusal would win over what the host itself needs there.
                if needed.iter().any(|need| meet(need, pattern)) {
                    self.differences.push(format!(
                        "{pattern}: the host closes it to every grant, the server only in part"
                    ));
                } else {
                    deny.push((*pattern).to_owned());
                }
            }
        }
    }

    fn denials(&mut self, plugin: &PluginSpec, rights: &mut ServerRights) {
        for pattern in &plugin.permissions.deny {
            let named = pattern.replace(PLUGIN, plugin.name.as_str());
            let mut needed = self.sent.iter().chain(&self.heard);
            let cuts = named.contains(AGENT) || needed.any(|need| meet(need, &named));
            if cuts {
                self.differences.push(format!(
                    "deny {pattern}: by the host alone; on the server it would cut off what the \
                     host needs, or other agents"
                ));
                continue;
            }
            if self.publish.iter().any(|grant| meet(grant, &named)) {
                rights.publish.deny.push(named.clone());
            }
            if self.subscribe.iter().any(|grant| meet(grant, &named)) {
                rights.subscribe.deny.push(named);
            }
        }
    }
}
