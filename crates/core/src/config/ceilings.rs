//! Reads `[policy]` of `mistersmith.toml`.

use super::grants;
use super::item::Item;
use super::limits::payload;
use super::policy::{Ceiling, LimitCeilings, PolicySpec};
use super::section::Section;
use crate::limits::{self, MAX_ENTRIES};
use crate::names::Token;

/// Stands for the plugin while a pattern is tried.
const ANY: &str = "plugin";

/// Why a pattern without `work` in front covers no work.
const NO_WORK: &str = "a [[work]] is compared as work.<domain>.<task>";

/// Reads the section; what it does not say is no ceiling.
pub(super) fn read(section: &Section<'_>) -> PolicySpec {
    let free = |key| patterns(section, key, |_| None);
    let work = |pattern: &str| (!pattern.starts_with("work.")).then_some(NO_WORK);
    let policy = PolicySpec {
        publish: free("publish"),
        request: free("request"),
        subscribe: free("subscribe"),
        kv: ceiling(section, "kv", |_| Some(grants::keys(section, ANY))),
        work: patterns(section, "work", work),
        stages: names(section, "stages", "[\"extract\"]"),
        elections: names(section, "elections", "[\"nlp\"]"),
        circuits: names(section, "circuits", "[\"nlp-service\"]"),
        scatter: ceiling(section, "scatter", |item| item.boolean()),
        credentials: ceiling(section, "credentials", |item| item.boolean()),
        limits: section
            .section("limits")
            .map(|section| read_limits(&section))
            .unwrap_or_default(),
    };
    section.close();
    policy
}

fn read_limits(section: &Section<'_>) -> LimitCeilings {
    let time = |key, bounds| ceiling(section, key, |item| item.duration(bounds));
    let count = |key, bounds| ceiling(section, key, |item| item.integer(bounds));
    let rate = |key, bounds| ceiling(section, key, |item| item.rate(bounds));
    let keys = |item: &Item<'_>| item.integer(limits::KEYS)?.try_into().ok();
    let read = LimitCeilings {
        memory: ceiling(section, "memory", |item| item.size(limits::MEMORY)),
        timeout: time("timeout", limits::TIMEOUT),
        cpu: time("cpu", limits::CPU),
        payload: ceiling(section, "payload", payload),
        publish_rate: rate("publish_rate", limits::PUBLISH_RATE),
        publish_bytes: ceiling(section, "publish_bytes", |item| {
            item.size(limits::PUBLISH_BYTES)
        }),
        requests: count("requests", limits::REQUESTS),
        subscriptions: count("subscriptions", limits::SUBSCRIPTIONS),
        log_rate: rate("log_rate", limits::LOG_RATE),
        handles: count("handles", limits::HANDLES),
        start_timeout: time("start_timeout", limits::START_TIMEOUT),
        stop_timeout: time("stop_timeout", limits::STOP_TIMEOUT),
        keys: ceiling(section, "keys", keys),
        instances: count("instances", limits::INSTANCES),
        max_deliver: count("max_deliver", limits::MAX_DELIVER),
    };
    section.close();
    read
}

fn ceiling<T>(
    section: &Section<'_>,
    key: &'static str,
    read: impl Fn(&Item<'_>) -> Option<T>,
) -> Option<Ceiling<T>> {
    let item = section.get(key)?;
    let value = read(&item)?;
    let place = item.place();
    Some(Ceiling { value, place })
}

fn patterns(
    section: &Section<'_>,
    key: &'static str,
    refused: impl Fn(&str) -> Option<&'static str>,
) -> Option<Ceiling<Vec<String>>> {
    let read = |_: &Item<'_>| Some(grants::subjects(section, key, ANY, &refused));
    ceiling(section, key, read)
}

fn names(section: &Section<'_>, key: &'static str, example: &str) -> Option<Ceiling<Vec<Token>>> {
    ceiling(section, key, |list| {
        let items = list.items(example, MAX_ENTRIES);
        Some(items.iter().filter_map(|item| item.name(example)).collect())
    })
}
