//! The streams and buckets that the host works with, as they should be. Pure.

mod ages;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ServerFacts;
use crate::config::{BucketOverride, Discard, JetstreamSpec, PluginSpec, StreamOverride};
use crate::names::Bucket;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GB: u64 = 1_000_000_000;

/// How long a stream recognises a repeated message id, where nothing else is said: the server's own default.
const DUPLICATES: Duration = Duration::from_secs(120);

/// What an asset is for its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stream.
    Stream,
    /// A key-value bucket.
    Bucket,
    /// An object store.
    ObjectStore,
}

impl Kind {
    /// Its name for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Bucket => "bucket",
            Self::ObjectStore => "object store",
        }
    }
}

/// One stream, bucket or object store as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asset {
    /// What it is.
    pub kind: Kind,
    /// Its name for its users: `WORK_QUEUE`, `AGENT_STATE`.
    pub name: String,
    /// The name of the stream that it is.
    pub stream: String,
    /// The settings that the host manages, as the JetStream API writes them.
    pub config: Map<String, Value>,
    /// The byte limit may be less when the server has no more.
    pub elastic: bool,
    /// What it holds is written again all the time, so that a shorter age takes nothing from anybody.
    pub ephemeral: bool,
    /// Somebody else may have made it in another way: only these settings are compared when it exists.
    pub compare_only: Option<Vec<&'static str>>,
}

/// Everything the host needs, with what `[jetstream]` says, and the buckets that plugins are granted.
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
    // `old` would drop the oldest unprocessed item of a subject without a word.
    work.set("discard", "new");
    work.set("discard_new_per_subject", true);
    work.set("allow_direct", true);
    let mut dlq = Asset::stream("DLQ", &["dlq.>"], 30 * DAY);
    // A dead letter may be written again long after the first time: when its host was down in between.
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

impl Asset {
    fn stream(name: &str, subjects: &[&str], max_age: Duration) -> Self {
        let mut asset = Self {
            kind: Kind::Stream,
            name: name.to_owned(),
            stream: String::new(),
            config: Map::new(),
            elastic: false,
            ephemeral: false,
            compare_only: None,
        };
        asset.named(name);
        asset.set("subjects", json!(subjects));
        asset.set("retention", "limits");
        asset.set("storage", "file");
        asset.set("discard", "old");
        asset.set("max_age", nanos(max_age));
        asset.set("max_bytes", -1);
        asset.set("max_msgs_per_subject", -1);
        asset.set("duplicate_window", nanos(DUPLICATES));
        asset
    }

    /// With the settings that every client of NATS gives a bucket.
    fn bucket(name: &str, ttl: Option<Duration>) -> Self {
        let age = ttl.unwrap_or_default();
        let mut asset = Self::stream(name, &[], age);
        asset.kind = Kind::Bucket;
        asset.named(&format!("KV_{name}"));
        asset.set("subjects", json!([format!("$KV.{name}.>")]));
        asset.set("max_msgs_per_subject", 1);
        asset.set("discard", "new");
        asset.set("allow_rollup_hdrs", true);
        asset.set("deny_delete", true);
        asset.set("allow_direct", true);
        asset.set(
            "duplicate_window",
            nanos(ttl.map_or(DUPLICATES, |ttl| ttl.min(DUPLICATES))),
        );
        asset.ephemeral = ttl.is_some();
        asset
    }

    fn named(&mut self, stream: &str) {
        self.stream = stream.to_owned();
        self.set("name", stream);
    }

    fn reserving(mut self, bytes: u64) -> Self {
        self.set("max_bytes", bytes);
        self.elastic = true;
        self
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.config.insert(field.to_owned(), value.into());
    }

    /// A bucket that the host itself has no use for: it is here because plugins are granted it.
    pub(super) fn is_granted(&self) -> bool {
        self.compare_only.is_some()
    }

    /// The byte limit; none for no limit.
    pub(super) fn max_bytes(&self) -> Option<u64> {
        self.config.get("max_bytes").and_then(Value::as_u64)
    }

    pub(super) fn replicas(&self) -> u64 {
        self.config
            .get("num_replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    }

    fn override_stream(&mut self, change: &StreamOverride) {
        if let Some(age) = change.max_age {
            self.set_age(age);
        }
        if let Some(bytes) = change.max_bytes {
            self.set("max_bytes", bytes);
            self.elastic = false;
        }
        if let Some(messages) = change.max_msgs_per_subject {
            self.set("max_msgs_per_subject", messages);
        }
        if let Some(discard) = change.discard {
            let new = discard == Discard::New;
            self.set("discard", if new { "new" } else { "old" });
            if self.config.contains_key("discard_new_per_subject") {
                self.set("discard_new_per_subject", new);
            }
        }
    }

    fn override_bucket(&mut self, change: &BucketOverride) {
        if let Some(ttl) = change.ttl {
            self.set_age(ttl);
            self.also_compare("max_age");
        }
        if let Some(bytes) = change.max_bytes {
            self.set("max_bytes", bytes);
            self.also_compare("max_bytes");
        }
        if change.replicas.is_some() {
            self.also_compare("num_replicas");
        }
    }

    /// The window for duplicates may not be longer than messages are kept.
    fn set_age(&mut self, age: Duration) {
        self.set("max_age", nanos(age));
        let window = self.config.get("duplicate_window").and_then(Value::as_u64);
        if !age.is_zero() && window.is_some_and(|window| window > nanos(age)) {
            self.set("duplicate_window", nanos(age));
        }
    }

    fn also_compare(&mut self, field: &'static str) {
        if let Some(fields) = &mut self.compare_only {
            fields.push(field);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
