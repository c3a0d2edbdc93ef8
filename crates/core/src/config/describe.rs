//! The description of a plugin that `check` prints: patterns, grants and limits, with defaults.

use std::time::Duration;

use serde::Serialize;

use super::{
    InstanceMode, Missing, PluginSpec, Schema, StageSpec, show_duration, show_rate, show_size,
};
use crate::limits::PluginLimits;
use crate::names::Token;

/// One line about a plugin, in the words of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key, such as `limits.memory` or `permissions.publish`.
    pub key: String,
    /// The value, as a manifest would write it, or a phrase for a person.
    pub value: String,
    /// Nobody wrote it: it is the default.
    pub default: bool,
}

/// Everything that a manifest says and implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// The component.
    pub component: String,
    /// How many agents there are, and how long their memory lives.
    pub agents: Vec<Setting>,
    /// What it takes part in: a line for each pattern.
    pub patterns: Vec<Setting>,
    /// What it may do, and what is denied; empty: nothing.
    pub grants: Vec<Setting>,
    /// What it may use.
    pub limits: Vec<Setting>,
}

impl Description {
    /// Everything as lines of text, without the name: sections with their settings indented.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("component {}", self.component)];
        let none = [Setting::of("none", "nothing is allowed")];
        let grants = if self.grants.is_empty() {
            none.as_slice()
        } else {
            &self.grants
        };
        let sections = [
            ("agents", self.agents.as_slice()),
            ("patterns", &self.patterns),
            ("grants", grants),
            ("limits", &self.limits),
        ];
        for (title, settings) in sections {
            lines.push(title.to_owned());
            lines.extend(settings.iter().map(Setting::line));
        }
        lines
    }
}

impl Setting {
    fn of(key: &str, value: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: value.into(),
            default: false,
        }
    }

    fn or_default<T: PartialEq>(
        key: &str,
        value: &T,
        default: &T,
        shown: impl Fn(&T) -> String,
    ) -> Self {
        Self {
            key: key.to_owned(),
            value: shown(value),
            default: value == default,
        }
    }

    fn line(&self) -> String {
        let default = if self.default { "  (default)" } else { "" };
        format!("  {:<14} {}{default}", self.key, self.value)
    }
}

/// Describes a plugin.
pub fn describe(plugin: &PluginSpec) -> Description {
    Description {
        name: plugin.name.to_string(),
        version: plugin.version.clone(),
        description: plugin.description.clone(),
        component: plugin.component.display().to_string(),
        agents: agents(plugin),
        patterns: patterns(plugin),
        grants: grants(plugin),
        limits: limits(&plugin.limits),
    }
}

fn agents(plugin: &PluginSpec) -> Vec<Setting> {
    let mode = |mode: &InstanceMode| match mode {
        InstanceMode::Agent => "agent".to_owned(),
        InstanceMode::Message => "message".to_owned(),
    };
    let mut lines = vec![
        Setting::or_default("instances", &plugin.instances, &1, u32::to_string),
        Setting::or_default("instance", &plugin.instance, &InstanceMode::Agent, mode),
    ];
    if !plugin.capabilities.is_empty() {
        lines.push(Setting::of("capabilities", plugin.capabilities.join(", ")));
    }
    if let Some(file) = &plugin.credentials {
        lines.push(Setting::of("credentials", file.display().to_string()));
    }
    lines
}

fn schema(schema: &Option<Schema>) -> String {
    match schema {
        Some(schema) => format!(", checked by {}", schema.path.display()),
        None => String::new(),
    }
}

/// How often something is tried, and how long apart.
fn tries(max_deliver: u32, backoff: &[Duration]) -> String {
    let backoff: Vec<String> = backoff.iter().map(|d| show_duration(*d)).collect();
    format!("{max_deliver} attempts, {} apart", backoff.join(" "))
}

fn stage(stage: &StageSpec) -> Setting {
    let names = |stages: &[Token]| {
        let names: Vec<&str> = stages.iter().map(Token::as_str).collect();
        names.join(", ")
    };
    let join = stage.join.as_ref().map(|join| {
        let late = match join.missing {
            Missing::Fail => "fails",
            Missing::Continue => "goes on with what is there",
        };
        let (branches, timeout) = (names(&join.branches), show_duration(join.timeout));
        format!(" joins {branches}, {late} after {timeout},")
    });
    let next = if stage.next.is_empty() {
        "completes the workflow".to_owned()
    } else {
        format!("then {}", names(&stage.next))
    };
    let value = format!(
        "{},{} {next}, {}{}",
        stage.stage,
        join.unwrap_or_default(),
        tries(stage.max_deliver, &stage.backoff),
        schema(&stage.schema)
    );
    Setting::of("pipeline", value)
}

fn patterns(plugin: &PluginSpec) -> Vec<Setting> {
    let mut lines = vec![Setting::of(
        "execute",
        format!(
            "agent.{}-*.cmd.execute{}",
            plugin.name,
            schema(&plugin.execute_schema)
        ),
    )];
    for work in &plugin.work {
        let value = format!(
            "{} at every priority, {}{}",
            work.pattern(),
            tries(work.max_deliver, &work.backoff),
            schema(&work.schema)
        );
        lines.push(Setting::of("work", value));
    }
    lines.extend(plugin.pipeline.iter().map(stage));
    for heard in &plugin.subscribe {
        let queue = heard
            .queue
            .as_ref()
            .map(|queue| format!(" as one of {queue:?}"));
        let batch = heard.batch.map(|b| {
            format!(
                ", up to {} at once within {}",
                b.size,
                show_duration(b.wait)
            )
        });
        let value = format!(
            "{}{}{}{}",
            heard.subject,
            queue.unwrap_or_default(),
            batch.unwrap_or_default(),
            schema(&heard.schema)
        );
        lines.push(Setting::of("subscribe", value));
    }
    if let Some(scatter) = &plugin.scatter {
        let who = match &scatter.group {
            Some(group) => format!("one agent of {group:?} answers"),
            None => "every agent answers".to_owned(),
        };
        let value = format!("scatter.*.task: {who}{}", schema(&scatter.schema));
        lines.push(Setting::of("scatter", value));
    }
    if let Some(election) = &plugin.election {
        let value = format!("a candidate for the leader of {}", election.domain);
        lines.push(Setting::of("election", value));
    }
    if let Some(circuit) = &plugin.circuit {
        let value = format!(
            "{}, open after {} failures in a row, tried again after {}",
            circuit.service,
            circuit.failures,
            show_duration(circuit.reset)
        );
        lines.push(Setting::of("circuit", value));
    }
    if let Some(window) = plugin.idempotence {
        let value = format!(
            "what was done is not done again within {}",
            show_duration(window)
        );
        lines.push(Setting::of("idempotence", value));
    }
    lines
}

fn grants(plugin: &PluginSpec) -> Vec<Setting> {
    let granted = &plugin.permissions;
    let lists = [
        ("publish", &granted.publish),
        ("request", &granted.request),
        ("subscribe", &granted.subscribe),
        ("deny", &granted.deny),
    ];
    let subjects = lists
        .into_iter()
        .flat_map(|(key, list)| list.iter().map(move |p| Setting::of(key, p)));
    let kv = granted.kv.iter().flat_map(|grant| {
        let line = |keys| format!("{} {} {keys}", grant.access.as_str(), grant.bucket);
        grant
            .keys
            .iter()
            .map(move |keys| Setting::of("kv", line(keys)))
    });
    subjects.chain(kv).collect()
}

fn limits(limits: &PluginLimits) -> Vec<Setting> {
    let default = PluginLimits::default();
    let time = |d: &std::time::Duration| show_duration(*d);
    let bytes = |n: &usize| show_size(*n as u64);
    let rate = |n: &u32| show_rate(*n);
    let PluginLimits {
        memory,
        timeout,
        cpu,
        payload,
        publish_rate,
        publish_bytes,
        requests,
        subscriptions,
        log_rate,
        handles,
        start_timeout,
        stop_timeout,
        keys,
    } = limits;
    vec![
        Setting::or_default("memory", memory, &default.memory, |n| show_size(*n)),
        Setting::or_default("timeout", timeout, &default.timeout, time),
        Setting::or_default("cpu", cpu, &default.cpu, time),
        Setting::or_default("payload", payload, &default.payload, bytes),
        Setting::or_default("publish_rate", publish_rate, &default.publish_rate, rate),
        Setting::or_default(
            "publish_bytes",
            publish_bytes,
            &default.publish_bytes,
            |n| format!("{}/s", show_size(*n)),
        ),
        Setting::or_default("requests", requests, &default.requests, u32::to_string),
        Setting::or_default(
            "subscriptions",
            subscriptions,
            &default.subscriptions,
            u32::to_string,
        ),
        Setting::or_default("log_rate", log_rate, &default.log_rate, rate),
        Setting::or_default("handles", handles, &default.handles, u32::to_string),
        Setting::or_default("start_timeout", start_timeout, &default.start_timeout, time),
        Setting::or_default("stop_timeout", stop_timeout, &default.stop_timeout, time),
        Setting::or_default("keys", keys, &default.keys, usize::to_string),
    ]
}
