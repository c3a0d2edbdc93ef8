//! One stream, bucket or object store: its settings, and what a configuration changes of them.
//! Pure.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use mistersmith_core::config::{BucketOverride, Discard, StreamOverride};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a stream recognises a repeated message id, where nothing else is said: the server's own
/// default.
const DUPLICATES: Duration = Duration::from_secs(120);

/// The kind of an asset, as its users see it.
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
    /// Its kind.
    pub kind: Kind,
    /// Its name for its users: `WORK_QUEUE`, `AGENT_STATE`.
    pub name: String,
    /// The name of the stream that it is.
    pub stream: String,
    /// The settings that the host manages, as the JetStream API writes them.
    pub config: Map<String, Value>,
    /// The byte limit may be less when the server has no more.
    pub elastic: bool,
    /// Its content is written again all the time, so that a shorter age takes nothing from anybody.
    pub ephemeral: bool,
    /// Somebody else may have made it in another way: only these settings are compared when it
    /// exists.
    pub compare_only: Option<Vec<&'static str>>,
}

impl Asset {
    pub(super) fn stream(name: &str, subjects: &[&str], max_age: Duration) -> Self {
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
    pub(super) fn bucket(name: &str, ttl: Option<Duration>) -> Self {
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

    pub(super) fn named(&mut self, stream: &str) {
        self.stream = stream.to_owned();
        self.set("name", stream);
    }

    pub(super) fn reserving(mut self, bytes: u64) -> Self {
        self.set("max_bytes", bytes);
        self.elastic = true;
        self
    }

    pub(crate) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.config.insert(field.to_owned(), value.into());
    }

    /// A bucket that the host itself has no use for: it is here because plugins are granted it.
    pub(crate) fn is_granted(&self) -> bool {
        self.compare_only.is_some()
    }

    /// The byte limit; none for no limit.
    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.config.get("max_bytes").and_then(Value::as_u64)
    }

    pub(crate) fn replicas(&self) -> u64 {
        self.config
            .get("num_replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    }

    pub(super) fn override_stream(&mut self, change: &StreamOverride) {
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

    pub(super) fn override_bucket(&mut self, change: &BucketOverride) {
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
    pub(super) fn set_age(&mut self, age: Duration) {
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

/// A time as the API writes it, in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
