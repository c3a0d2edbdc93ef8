//! Compares the time limits of a plugin's calls with the grace period of its host.

use super::{Finding, HostSpec, PluginSpec, show_duration};
use crate::limits::{GRACE, SETTLE};

/// Finds a plugin whose calls may take longer than its host waits for them when it drains. Such a
/// call is cut off at every restart of the host, and begins again elsewhere: that is no mistake,
/// but its author should know.
pub fn outlasts_drain(plugin: &PluginSpec, host: &HostSpec) -> Option<Finding> {
    let (timeout, waits) = (plugin.limits.timeout, host.grace_of_calls());
    if timeout <= waits {
        return None;
    }
    let enough = timeout + SETTLE;
    let fix = if enough <= GRACE.max {
        format!(
            "lower it, or write grace = \"{}\" in [host] of mistersmith.toml",
            show_duration(enough)
        )
    } else {
        format!(
            "lower it, or let a call do less; the most for [host] grace is {}",
            show_duration(GRACE.max)
        )
    };
    Some(Finding {
        file: plugin.manifest.clone(),
        line: 0,
        key: "limits.timeout".to_owned(),
        problem: format!(
            "a call may take {}, and a host that drains waits {} for it; a longer one is cut off, \
             and a message that it had from a stream is delivered again",
            show_duration(timeout),
            show_duration(waits)
        ),
        fix,
    })
}
