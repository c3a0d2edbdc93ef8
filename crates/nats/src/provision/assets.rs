//! The streams, buckets and object stores of a host, with the settings that they should have. Pure.

mod ages;
mod asset;

use std::collections::BTreeSet;
use std::time::Duration;

use super::ServerFacts;
use asset::{DAY, nanos};
use mistersmith_core::config::{BucketOverride, JetstreamSpec, PluginSpec, StreamOverride};
use mistersmith_core::names::Bucket;

pub use asset::{Asset, Kind};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const GB: u64 = 1_000_000_000;

/// Everything the host needs, with what `[jetstream]` says, and the buckets that plugins are
/// granted.
pub fn desired(spec: &JetstreamSpec, plugins: &[&PluginSpec], facts: &ServerFacts) -> Vec<Asset> {
    let granted = plugins
        .iter()
        .flat_map(|plugin| {
            plugin
                .permissions
                .kv
                .iter()
                .map(|grant| grant.bucket.clone())
        })
        .collect();
    desired_with(spec, &granted, facts)
}

/// As [`desired`], with the granted buckets by name.
pub(super) fn desired_with(
    spec: &JetstreamSpec,
    granted: &BTreeSet<Bucket>,
    facts: &ServerFacts,
) -> Vec<Asset> {
    let mut assets = streams();
    assets.extend(buckets());
    assets.push(payloads());
    let known: BTreeSet<String> = assets.iter().map(|asset| asset.name.clone()).collect();
    let more = granted
        .iter()
        .filter(|bucket| !known.contains(bucket.as_str()));
    assets.extend(more.map(|name| granted_bucket(name.as_str())));
    for asset in &mut assets {
        let nothing = (StreamOverride::default(), BucketOverride::default());
        let replicas = match asset.kind {
            Kind::Stream => {
                let change = spec.streams.get(&asset.name).unwrap_or(&nothing.0);
                asset.override_stream(change);
                change.replicas
            }
            Kind::Bucket | Kind::ObjectStore => {
                let change = spec.buckets.get(&asset.name).unwrap_or(&nothing.1);
                asset.override_bucket(change);
                change.replicas
            }
        };
        let replicas = facts.replicas(replicas.or(spec.replicas));
        asset.set("num_replicas", replicas);
    }
    let own = |name| {
        spec.buckets
            .get(name)
            .is_some_and(|change| change.ttl.is_some())
    };
    if !own("PAYLOADS") {
        ages::outlive(&mut assets);
    }
    if !own("ATTEMPTS") {
        ages::remember(&mut assets);
    }
    assets
}

fn streams() -> Vec<Asset> {
    let lifecycle =
        ["created", "started", "ready", "stopped", "error"].map(|event| format!("agent.*.{event}"));
    let mut work = Asset::stream("WORK_QUEUE", &["work.>"], DAY);
    work.set("retention", "workqueue");
    work.set("max_msgs_per_subject", 1000);
    // `old` would drop the oldest unprocessed item of a subject silently.
    work.set("discard", "new");
    work.set("discard_new_per_subject", true);
    work.set("allow_direct", true);
    let mut dlq = Asset::stream("DLQ", &["dlq.>"], 30 * DAY);
    // A dead letter may be written again long after the first time: when its host was down in
    // between.
    dlq.set("duplicate_window", nanos(DAY));
    let lifecycle: Vec<&str> = lifecycle.iter().map(String::as_str).collect();
    vec![
        Asset::stream("AGENT_LIFECYCLE", &lifecycle, 7 * DAY).reserving(10 * GB),
        work,
        Asset::stream(
            "COORDINATION",
            &["coord.>", "pipeline.>", "scatter.>", "gather.>"],
            48 * HOUR,
        )
        .reserving(50 * GB),
        Asset::stream("RESULTS", &["agent.*.resp.*"], DAY),
        dlq,
        Asset::stream("AUDIT", &["audit.>"], 30 * DAY),
    ]
}

fn buckets() -> Vec<Asset> {
    let of = |name, description, ttl| {
        let mut bucket = Asset::bucket(name, ttl);
        bucket.set("description", description);
        bucket
    };
    vec![
        of(
            "AGENT_STATE",
            "Current state of all agents",
            Some(5 * MINUTE),
        ),
        of(
            "AGENT_LEASES",
            "Who is alive: hosts, and leaders of elections",
            Some(Duration::from_secs(15)),
        ),
        of(
            "AGENT_CLAIMS",
            "Which host has which agent and which consumer",
            None,
        ),
        of(
            "AGENT_CONFIG",
            "What was changed at run time: configuration, pauses",
            None,
        ),
        of("CIRCUITS", "State of the circuit of each service", None),
        of(
            "IDEMPOTENCE",
            "Results of requests that are not to be handled again",
            Some(DAY),
        ),
        of(
            "ATTEMPTS",
            "How often items were begun that are not done with",
            // As long as the items themselves: see `outlive`.
            Some(48 * HOUR),
        ),
        of(
            "PIPELINES",
            "Which branches of each workflow have come to the stage that joins them",
            // As long as COORDINATION remembers the branches.
            Some(48 * HOUR),
        ),
    ]
}

fn payloads() -> Asset {
    // Longer than a dead letter lives that may point into it.
    let mut asset = Asset::stream(
        "PAYLOADS",
        &["$O.PAYLOADS.C.>", "$O.PAYLOADS.M.>"],
        31 * DAY,
    );
    asset.kind = Kind::ObjectStore;
    asset.named("OBJ_PAYLOADS");
    asset.set("discard", "new");
    asset.set("allow_rollup_hdrs", true);
    asset.set("allow_direct", true);
    asset
}

fn granted_bucket(name: &str) -> Asset {
    let mut bucket = Asset::bucket(name, None);
    bucket.compare_only = Some(vec!["subjects"]);
    bucket
}
