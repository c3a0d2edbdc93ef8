//! Compares what a manifest asks for with the `[policy]` of the host.
//!
//! Of a manifest with other mistakes nothing is compared: of a wrong value nobody knows what it
//! asks for. What a manifest does not say asks for nothing, so a default beyond a ceiling is
//! lowered to it.

use std::fmt::Display;

use super::item::Item;
use super::policy::{self, Ceiling, LimitCeilings, PolicySpec};
use super::section::Section;
use super::{PluginSpec, show_duration, show_rate, show_size};
use crate::limits::{MAX_ENTRIES, MAX_GRANTS};
use crate::names::Token;
use crate::permissions::KvGrant;

/// Most entries of a list of ceilings that a finding shows.
const SHOWN: usize = 3;

/// Notes everything that goes beyond the policy, and lowers defaults to it.
pub(super) fn check(root: &Section<'_>, plugin: &mut PluginSpec, policy: &PolicySpec) {
    if !root.notes.is_empty() {
        return;
    }
    head(root, plugin, policy);
    permissions(root, plugin, policy);
    work(root, plugin, policy);
    stages(root, plugin, policy);
    subscriptions(root, plugin, policy);
    roles(root, plugin, policy);
    limits(root, plugin, &policy.limits);
}

fn head(root: &Section<'_>, plugin: &mut PluginSpec, policy: &PolicySpec) {
    let section = root.section("plugin");
    let instances = section
        .as_ref()
        .and_then(|section| section.get("instances"));
    let most = policy.limits.instances.as_ref();
    at_most(
        "instances",
        instances,
        &mut plugin.instances,
        most,
        u32::to_string,
    );
    let credentials = section.and_then(|section| section.get("credentials"));
    if let (Some(item), Some(place)) = (credentials, forbidden(policy.credentials.as_ref())) {
        item.note(
            format!("[policy] credentials = false in {place} forbids credentials of its own"),
            "delete it, or allow it there",
        );
    }
}

fn permissions(root: &Section<'_>, plugin: &PluginSpec, policy: &PolicySpec) {
    let Some(section) = root.section("permissions") else {
        return;
    };
    let lists = [
        ("publish", &policy.publish),
        ("request", &policy.request),
        ("subscribe", &policy.subscribe),
    ];
    for (key, ceiling) in lists {
        let (Some(list), Some(ceiling)) = (section.get(key), ceiling) else {
            continue;
        };
        for item in list.items("", MAX_GRANTS) {
            let pattern = item.value.as_str().unwrap_or_default();
            if !policy::covers(&ceiling.value, pattern, plugin.name.as_str()) {
                let (problem, fix) = beyond(&format!("{pattern:?}"), key, ceiling, quoted);
                item.note(problem, fix);
            }
        }
    }
    if let (Some(list), Some(ceiling)) = (section.get("kv"), &policy.kv) {
        let entries = list.items("", MAX_GRANTS);
        for (entry, grant) in entries.iter().zip(&plugin.permissions.kv) {
            keys(entry, grant, plugin.name.as_str(), ceiling);
        }
    }
}

/// One entry of `kv`.
fn keys(entry: &Item<'_>, grant: &KvGrant, plugin: &str, ceiling: &Ceiling<Vec<KvGrant>>) {
    let listed = Section::of(entry, "").and_then(|section| section.get("keys"));
    let listed = listed.map(|list| list.items("", MAX_GRANTS));
    for item in listed.unwrap_or_default() {
        let keys = item.value.as_str().unwrap_or_default();
        if !policy::covers_keys(&ceiling.value, grant, keys, plugin) {
            let what = format!("{} of {keys:?} in {}", grant.access.as_str(), grant.bucket);
            let shown =
                |kv: &KvGrant| format!("{} of {:?} in {}", kv.access.as_str(), kv.keys, kv.bucket);
            let (problem, fix) = beyond(&what, "kv", ceiling, shown);
            item.note(problem, fix);
        }
    }
}

fn work(root: &Section<'_>, plugin: &mut PluginSpec, policy: &PolicySpec) {
    let sections = root.sections("work", MAX_ENTRIES);
    for (section, work) in sections.iter().zip(&mut plugin.work) {
        let (pattern, name) = (work.pattern(), plugin.name.as_str());
        if let Some(ceiling) = &policy.work
            && !policy::covers(&ceiling.value, &pattern, name)
        {
            let (problem, fix) = beyond(&pattern, "work", ceiling, quoted);
            section.note(problem, fix);
        }
        attempts(section, &mut work.max_deliver, policy);
    }
}

fn attempts(section: &Section<'_>, value: &mut u32, policy: &PolicySpec) {
    let (key, most) = ("max_deliver", policy.limits.max_deliver.as_ref());
    at_most(key, section.get(key), value, most, u32::to_string);
}

fn stages(root: &Section<'_>, plugin: &mut PluginSpec, policy: &PolicySpec) {
    let sections = root.sections("pipeline", MAX_ENTRIES);
    for (section, stage) in sections.iter().zip(&mut plugin.pipeline) {
        let named = std::iter::once(&stage.stage).chain(&stage.next);
        for name in named {
            one_of(section, name, "stages", policy.stages.as_ref());
        }
        attempts(section, &mut stage.max_deliver, policy);
    }
}

fn subscriptions(root: &Section<'_>, plugin: &PluginSpec, policy: &PolicySpec) {
    let Some(ceiling) = &policy.subscribe else {
        return;
    };
    let sections = root.sections("subscribe", MAX_ENTRIES);
    for (section, subscribed) in sections.iter().zip(&plugin.subscribe) {
        let subject = subscribed.subject.as_str();
        if !policy::covers(&ceiling.value, subject, plugin.name.as_str()) {
            let (problem, fix) = beyond(&format!("{subject:?}"), "subscribe", ceiling, quoted);
            section.note(problem, fix);
        }
    }
}

/// Elections, circuits and scatters.
fn roles(root: &Section<'_>, plugin: &PluginSpec, policy: &PolicySpec) {
    if let (Some(section), Some(election)) = (root.section("election"), &plugin.election) {
        one_of(
            &section,
            &election.domain,
            "elections",
            policy.elections.as_ref(),
        );
    }
    if let (Some(section), Some(circuit)) = (root.section("circuit"), &plugin.circuit) {
        one_of(
            &section,
            &circuit.service,
            "circuits",
            policy.circuits.as_ref(),
        );
    }
    if let (Some(section), Some(place)) =
        (root.section("scatter"), forbidden(policy.scatter.as_ref()))
    {
        section.note(
            format!("[policy] scatter = false in {place} forbids answering questions"),
            "delete it, or allow it there",
        );
    }
}

fn limits(root: &Section<'_>, plugin: &mut PluginSpec, most: &LimitCeilings) {
    let section = root.section("limits");
    let item = |key| section.as_ref().and_then(|section| section.get(key));
    let of = &mut plugin.limits;
    let bytes = |n: &u64| text(&show_size(*n));
    let small = |n: &usize| text(&show_size(*n as u64));
    let time = |d: &std::time::Duration| text(&show_duration(*d));
    let rate = |n: &u32| text(&show_rate(*n));
    let count = u32::to_string;
    macro_rules! each {
        ($($key:ident: $shown:expr),* $(,)?) => {
            $({
                let key = stringify!($key);
                at_most(key, item(key), &mut of.$key, most.$key.as_ref(), $shown);
            })*
        };
    }
    each!(
        memory: bytes,
        timeout: time,
        cpu: time,
        payload: small,
        publish_rate: rate,
        publish_bytes: bytes,
        requests: count,
        subscriptions: count,
        log_rate: rate,
        handles: count,
        start_timeout: time,
        stop_timeout: time,
        keys: usize::to_string,
    );
    if of.cpu > of.timeout {
        match item("cpu") {
            Some(written) => written.note(
                format!(
                    "{} is more than timeout, which [policy] lowers",
                    written.shown()
                ),
                format!("write {:?} or less", show_duration(of.timeout)),
            ),
            None => of.cpu = of.timeout,
        }
    }
}

/// Notes a value beyond its ceiling; lowers one that the manifest does not say.
fn at_most<T: PartialOrd + Copy>(
    key: &str,
    written: Option<Item<'_>>,
    value: &mut T,
    ceiling: Option<&Ceiling<T>>,
    shown: impl Fn(&T) -> String,
) {
    let Some(ceiling) = ceiling.filter(|ceiling| *value > ceiling.value) else {
        return;
    };
    let Some(item) = written else {
        *value = ceiling.value;
        return;
    };
    let (most, place) = (shown(&ceiling.value), &ceiling.place);
    item.note(
        format!(
            "{} is more than {most}, the ceiling [policy.limits] {key} in {place}",
            item.shown()
        ),
        format!("write {most} or less, or raise the ceiling there"),
    );
}

fn one_of(section: &Section<'_>, name: &Token, key: &str, ceiling: Option<&Ceiling<Vec<Token>>>) {
    let Some(ceiling) = ceiling.filter(|ceiling| !ceiling.value.contains(name)) else {
        return;
    };
    let (problem, fix) = beyond(&format!("{name:?}"), key, ceiling, |t| format!("{t:?}"));
    section.note(problem, fix);
}

/// The place of a ceiling that forbids something altogether.
fn forbidden(ceiling: Option<&Ceiling<bool>>) -> Option<&str> {
    let ceiling = ceiling.filter(|ceiling| !ceiling.value)?;
    Some(&ceiling.place)
}

/// Problem and fix of something that no entry of a list covers.
fn beyond<T>(
    what: &str,
    key: &str,
    ceiling: &Ceiling<Vec<T>>,
    shown: impl Fn(&T) -> String,
) -> (String, String) {
    let mut listed: Vec<String> = ceiling.value.iter().take(SHOWN).map(shown).collect();
    if ceiling.value.len() > SHOWN {
        listed.push("…".to_owned());
    }
    let allowed = match listed.is_empty() {
        true => "nothing".to_owned(),
        false => listed.join(", "),
    };
    let place = &ceiling.place;
    (
        format!("{what} is beyond [policy] {key} in {place}, which allows {allowed}"),
        "keep to it, or widen it there".to_owned(),
    )
}

/// A value as a manifest writes it, in quotes.
fn text(value: &str) -> String {
    format!("{value:?}")
}

fn quoted(pattern: &impl Display) -> String {
    format!("\"{pattern}\"")
}
