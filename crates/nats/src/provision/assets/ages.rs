//! Ages that depend on each other: payloads and attempts live as long as the messages that point to
//! them.

use std::time::Duration;

use serde_json::Value;

use super::asset::{Asset, DAY, Kind, nanos};

/// Payloads are kept a day longer than any message that may need one.
pub(super) fn outlive(assets: &mut [Asset]) {
    let streams = assets.iter().filter(|asset| asset.kind == Kind::Stream);
    let longest = streams
        .filter(|asset| asset.name != "AUDIT" && asset.name != "AGENT_LIFECYCLE")
        .filter_map(|asset| asset.config.get("max_age").and_then(Value::as_u64))
        .max();
    for asset in assets.iter_mut().filter(|a| a.kind == Kind::ObjectStore) {
        let own = asset.config.get("max_age").and_then(Value::as_u64);
        let least = longest.map(|age| age.saturating_add(nanos(DAY)));
        if least > own {
            asset.set("max_age", least);
        }
    }
}

/// Attempts are known for as long as the items that they are about.
pub(super) fn remember(assets: &mut [Asset]) {
    let age = |asset: &Asset| asset.config.get("max_age").and_then(Value::as_u64);
    let streams = assets.iter().filter(|asset| asset.kind == Kind::Stream);
    let inputs = streams.filter(|asset| matches!(&*asset.name, "WORK_QUEUE" | "COORDINATION"));
    // Zero stands for no end.
    let ages: Vec<u64> = inputs.filter_map(age).collect();
    let longest = match ages.contains(&0) {
        true => 0,
        false => ages.into_iter().max().unwrap_or_default(),
    };
    if let Some(bucket) = assets.iter_mut().find(|asset| asset.name == "ATTEMPTS") {
        bucket.set_age(Duration::from_nanos(longest));
        // It is written once for each attempt: a shorter age would forget some.
        bucket.ephemeral = false;
    }
}
