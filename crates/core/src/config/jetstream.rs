//! `[jetstream]`: settings that replace the defaults of the provisioned streams and buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::item::Item;
use super::nearest::nearest;
use super::section::Section;
use super::{BucketOverride, Discard, JetstreamSpec, StreamOverride, show_duration};
use crate::limits::{Bounded, MAX_LABEL};
use crate::names::Bucket;

/// The streams that can be changed.
pub const STREAMS: [&str; 6] = [
    "AGENT_LIFECYCLE",
    "WORK_QUEUE",
    "COORDINATION",
    "RESULTS",
    "DLQ",
    "AUDIT",
];

/// Buckets whose values must not vanish, or whose age is what makes a lease a lease.
const AGELESS: [&str; 3] = ["AGENT_LEASES", "AGENT_CLAIMS", "AGENT_CONFIG"];

/// Copies; what a NATS server accepts.
const REPLICAS: Bounded<u32> = bounded(3, 1, 5);

/// An age: at least a minute, or a message would expire before it is used.
const AGE: Bounded<Duration> = bounded(
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(60),
    Duration::from_secs(10 * 365 * 24 * 60 * 60),
);

/// Bytes of a stream or bucket; the most is what the server's signed number holds.
const SIZE: Bounded<u64> = bounded(1 << 30, 1 << 20, i64::MAX as u64);

/// From how many bytes on a payload goes through the object store.
const CLAIM_OVER: Bounded<u64> = bounded(512 << 10, 1 << 10, 64 << 20);

/// Messages of one subject.
const PER_SUBJECT: Bounded<u32> = bounded(1000, 1, u32::MAX);

const fn bounded<T>(default: T, min: T, max: T) -> Bounded<T> {
    Bounded { default, min, max }
}

/// Reads the section. `heartbeat` is how often AGENT_STATE is written.
pub(super) fn read(section: &Section<'_>, heartbeat: Duration) -> JetstreamSpec {
    let mut spec = JetstreamSpec {
        replicas: replicas(section),
        domain: section.get("domain").and_then(|item| domain(&item)),
        leave_missing: section.get("heal").and_then(|item| item.boolean()) == Some(false),
        claim_over: section
            .get("claim_over")
            .and_then(|item| item.size(CLAIM_OVER))
            .and_then(|bytes| usize::try_from(bytes).ok()),
        ..JetstreamSpec::default()
    };
    if let Some(streams) = section.section("streams") {
        for (name, item) in streams.entries() {
            spec.streams
                .extend(stream(name, &item).map(|stream| (name.to_owned(), stream)));
        }
    }
    if let Some(buckets) = section.section("buckets") {
        spec.buckets = read_buckets(&buckets, heartbeat);
    }
    section.close();
    spec
}

fn stream(name: &str, item: &Item<'_>) -> Option<StreamOverride> {
    if !STREAMS.contains(&name) {
        let fix = match nearest(name, &STREAMS) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("streams are {}", STREAMS.join(", ")),
        };
        item.note("the host provisions no stream of this name", fix);
        return None;
    }
    let section = Section::of(item, "write [jetstream.streams.WORK_QUEUE] above its keys")?;
    let discards = [("new", Discard::New), ("old", Discard::Old)];
    let per_subject = section.get("max_msgs_per_subject");
    let read = StreamOverride {
        max_age: section.get("max_age").and_then(|item| item.duration(AGE)),
        max_bytes: section.get("max_bytes").and_then(|item| item.size(SIZE)),
        max_msgs_per_subject: per_subject
            .and_then(|item| item.integer(PER_SUBJECT))
            .map(u64::from),
        discard: section
            .get("discard")
            .and_then(|item| item.choice(&discards)),
        replicas: replicas(&section),
    };
    section.close();
    Some(read)
}

fn read_buckets(section: &Section<'_>, heartbeat: Duration) -> BTreeMap<String, BucketOverride> {
    let mut read = BTreeMap::new();
    for (name, item) in section.entries() {
        if let Err(error) = Bucket::check(name) {
            item.note(error.to_string(), "write the name of a bucket");
            continue;
        }
        let Some(section) = Section::of(
            &item,
            "write [jetstream.buckets.AGENT_STATE] above its keys",
        ) else {
            continue;
        };
        let bucket = BucketOverride {
            ttl: section
                .get("ttl")
                .and_then(|item| ttl(name, &item, heartbeat)),
            max_bytes: section.get("max_bytes").and_then(|item| item.size(SIZE)),
            replicas: replicas(&section),
        };
        section.close();
        read.insert(name.to_owned(), bucket);
    }
    read
}

fn ttl(bucket: &str, item: &Item<'_>, heartbeat: Duration) -> Option<Duration> {
    if AGELESS.contains(&bucket) {
        let problem = format!("how long the values of {bucket} live cannot be changed");
        item.note(problem, "delete it");
        return None;
    }
    let ttl = item.duration(AGE)?;
    let least = heartbeat.saturating_mul(2);
    if bucket == "AGENT_STATE" && ttl < least {
        let problem = format!("{} is less than two heartbeats", item.shown());
        item.note(problem, format!("write {:?} or more", show_duration(least)));
        return None;
    }
    Some(ttl)
}

/// One token of a subject: the server makes `$JS.<domain>.API.>` of it.
fn domain(item: &Item<'_>) -> Option<String> {
    let name = item.line(MAX_LABEL, "\"hub\"")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(allowed) {
        item.note(
            format!("{} is not the name of a JetStream domain", item.shown()),
            "write the `domain` of the block `jetstream` in the server's configuration, like \
             \"hub\"",
        );
        return None;
    }
    Some(name)
}

fn replicas(section: &Section<'_>) -> Option<usize> {
    let replicas = section
        .get("replicas")
        .and_then(|item| item.integer(REPLICAS))?;
    usize::try_from(replicas).ok()
}
