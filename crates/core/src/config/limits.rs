//! `[limits]` of a manifest.

use super::item::Item;
use super::section::Section;
use super::show_duration;
use crate::limits::{self, Bounded, PluginLimits};

/// Reads the section; what it does not say has its default.
pub(super) fn read(section: &Section<'_>) -> PluginLimits {
    let default = PluginLimits::default();
    let count = |key, bounds| section.get(key).and_then(|item| item.integer(bounds));
    let time = |key, bounds| section.get(key).and_then(|item| item.duration(bounds));
    let rate = |key, bounds| section.get(key).and_then(|item| item.rate(bounds));
    let memory = section
        .get("memory")
        .and_then(|item| item.size(limits::MEMORY));
    let payload = section.get("payload").and_then(|item| payload(&item));
    let keys = section
        .get("keys")
        .and_then(|item| item.integer(limits::KEYS));
    let timeout = time("timeout", limits::TIMEOUT).unwrap_or(default.timeout);
    let publish_rate = rate("publish_rate", limits::PUBLISH_RATE).unwrap_or(default.publish_rate);
    let bytes = section
        .get("publish_bytes")
        .and_then(|item| item.size(limits::PUBLISH_BYTES));
    let limits = PluginLimits {
        memory: memory.unwrap_or(default.memory),
        timeout,
        cpu: cpu(section, timeout),
        payload: payload.unwrap_or(default.payload),
        publish_rate,
        publish_bytes: bytes.unwrap_or(publish_bytes(publish_rate)),
        requests: count("requests", limits::REQUESTS).unwrap_or(default.requests),
        subscriptions: count("subscriptions", limits::SUBSCRIPTIONS)
            .unwrap_or(default.subscriptions),
        log_rate: rate("log_rate", limits::LOG_RATE).unwrap_or(default.log_rate),
        handles: count("handles", limits::HANDLES).unwrap_or(default.handles),
        start_timeout: time("start_timeout", limits::START_TIMEOUT)
            .unwrap_or(default.start_timeout),
        stop_timeout: time("stop_timeout", limits::STOP_TIMEOUT).unwrap_or(default.stop_timeout),
        keys: keys.map_or(default.keys, |keys| keys as usize),
    };
    section.close();
    limits
}

/// The default of `publish_bytes`: a plugin that may send many messages may send small ones at that
/// rate.
fn publish_bytes(publish_rate: u32) -> u64 {
    let small = u64::from(publish_rate) * limits::KIB as u64;
    limits::PUBLISH_BYTES.default.max(small)
}

/// The CPU budget of a call; by default no more than its wall time, which is over first.
fn cpu(section: &Section<'_>, timeout: std::time::Duration) -> std::time::Duration {
    let default = limits::CPU.default.min(timeout);
    let Some(item) = section.get("cpu") else {
        return default;
    };
    let Some(cpu) = item.duration(limits::CPU) else {
        return default;
    };
    if cpu > timeout {
        let shown = show_duration(timeout);
        let problem = format!("{} is more than timeout, {shown:?}", item.shown());
        item.note(
            problem,
            format!("write {shown:?} or less, or a longer timeout"),
        );
    }
    cpu
}

/// Bytes of a message or value.
pub(super) fn payload(item: &Item<'_>) -> Option<usize> {
    let Bounded { default, min, max } = limits::PAYLOAD;
    let bounds = Bounded {
        default: default as u64,
        min: min as u64,
        max: max as u64,
    };
    item.size(bounds)?.try_into().ok()
}
