//! The settings that are wanted, and how they follow configuration, cluster and account.

use std::time::Duration;

use serde_json::json;

use super::{cluster, of, wanted, wanted_beside};
use crate::provision::current::Current;
use crate::provision::{ServerFacts, Storage};
use crate::stream::StreamState;
use mistersmith_core::config::{BucketOverride, Discard, JetstreamSpec, StreamOverride};

fn storage(most: u64, used: u64, reserved: u64) -> Option<Storage> {
    Some(Storage {
        most,
        used,
        reserved,
    })
}

#[test]
fn replicas_need_a_cluster_of_three() {
    for (facts, asked, replicas) in [
        (ServerFacts::default(), None, 1),
        (ServerFacts::default(), Some(3), 1),
        (cluster(Some(1)), None, 1),
        (cluster(Some(2)), None, 1),
        (cluster(Some(3)), None, 3),
        (cluster(Some(9)), None, 3),
        (cluster(None), None, 3),
        (cluster(Some(3)), Some(1), 1),
        (cluster(Some(5)), Some(5), 5),
    ] {
        let spec = JetstreamSpec {
            replicas: asked,
            ..JetstreamSpec::default()
        };
        for asset in wanted(&spec, &facts) {
            assert_eq!(
                asset.config["num_replicas"], replicas,
                "{facts:?} {asked:?} {}",
                asset.name
            );
        }
    }
}

#[test]
fn payloads_outlive_the_messages_that_need_them() {
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let kept = |letters: Option<Duration>, payloads: Option<Duration>| {
        let mut spec = JetstreamSpec::default();
        let dlq = StreamOverride {
            max_age: letters,
            ..StreamOverride::default()
        };
        let store = BucketOverride {
            ttl: payloads,
            ..BucketOverride::default()
        };
        spec.streams.insert("DLQ".into(), dlq);
        spec.buckets.insert("PAYLOADS".into(), store);
        let assets = wanted(&spec, &ServerFacts::default());
        Duration::from_nanos(of(&assets, "PAYLOADS")["max_age"].as_u64().unwrap())
    };
    assert_eq!(kept(None, None), days(31));
    assert_eq!(kept(Some(days(1)), None), days(31));
    assert_eq!(kept(Some(days(90)), None), days(91));
    assert_eq!(
        kept(Some(days(90)), Some(days(5))),
        days(5),
        "as it is said"
    );
}

#[test]
fn one_stream_may_have_settings_of_its_own() {
    let mut spec = JetstreamSpec::default();
    spec.streams.insert(
        "WORK_QUEUE".into(),
        StreamOverride {
            discard: Some(Discard::Old),
            max_msgs_per_subject: Some(5),
            max_age: Some(Duration::from_secs(60)),
            max_bytes: Some(7),
            replicas: Some(5),
        },
    );
    spec.buckets.insert(
        "AGENT_STATE".into(),
        BucketOverride {
            ttl: Some(Duration::from_secs(600)),
            ..BucketOverride::default()
        },
    );
    let assets = wanted(&spec, &cluster(Some(5)));
    let work = of(&assets, "WORK_QUEUE");
    assert_eq!(work["discard"], "old");
    assert_eq!(work["discard_new_per_subject"], false);
    assert_eq!(
        (&work["max_msgs_per_subject"], &work["max_bytes"]),
        (&json!(5), &json!(7))
    );
    assert_eq!(work["max_age"], 60_000_000_000_u64);
    assert_eq!(work["duplicate_window"], 60_000_000_000_u64);
    assert_eq!(work["num_replicas"], 5);
    assert_eq!(of(&assets, "AGENT_STATE")["max_age"], 600_000_000_000_u64);
    assert_eq!(of(&assets, "DLQ")["num_replicas"], 3);
}

#[test]
fn reservations_fit_the_account() {
    let facts = ServerFacts {
        storage: storage(10_000_000_000, 0, 0),
        ..cluster(Some(3))
    };
    let assets = wanted(&JetstreamSpec::default(), &facts);
    let reserved = |name| of(&assets, name)["max_bytes"].as_u64().unwrap();
    let sum = 3 * (reserved("AGENT_LIFECYCLE") + reserved("COORDINATION"));
    assert!(sum <= 8_000_000_000 && sum > 7_900_000_000, "{sum}");
    assert_eq!(reserved("COORDINATION") / reserved("AGENT_LIFECYCLE"), 5);
    let plenty = ServerFacts {
        storage: storage(1_000_000_000_000, 0, 0),
        ..ServerFacts::default()
    };
    let assets = wanted(&JetstreamSpec::default(), &plenty);
    assert_eq!(of(&assets, "COORDINATION")["max_bytes"], 50_000_000_000_u64);

    let strict = ServerFacts {
        max_bytes_required: true,
        max_stream_bytes: Some(500_000_000),
        ..plenty
    };
    for asset in wanted(&JetstreamSpec::default(), &strict) {
        assert_eq!(asset.config["max_bytes"], 500_000_000, "{}", asset.name);
    }
}

#[test]
fn what_our_own_streams_hold_is_room_for_them_and_what_others_hold_is_not() {
    const GB: u64 = 1_000_000_000;
    let facts = |used, reserved| ServerFacts {
        storage: storage(10 * GB, used, reserved),
        ..ServerFacts::default()
    };
    let reserved = |facts: &ServerFacts, current: &Current| {
        let assets = wanted_beside(&JetstreamSpec::default(), facts, current);
        ["AGENT_LIFECYCLE", "COORDINATION"].map(|name| {
            let bytes = of(&assets, name)["max_bytes"].as_u64().unwrap();
            (name.to_owned(), bytes)
        })
    };
    let first = reserved(&facts(0, 0), &Current::default());
    let sum: u64 = first.iter().map(|(_, bytes)| bytes).sum();
    assert!(sum <= 8 * GB && sum > 79 * GB / 10, "{sum}");
    // Once they are made and half full, whether or not the server tells what is reserved.
    let stream = |bytes: u64| {
        let config = json!({ "max_bytes": bytes, "num_replicas": 1, "storage": "file" });
        let state = StreamState {
            bytes: bytes / 2,
            ..StreamState::default()
        };
        super::stream(config.as_object().unwrap().clone(), state)
    };
    let current = Current {
        streams: first
            .iter()
            .map(|(name, bytes)| (name.clone(), stream(*bytes)))
            .collect(),
        ..Current::default()
    };
    for reported in [0, sum] {
        assert_eq!(reserved(&facts(sum / 2, reported), &current), first);
    }
    // Somebody else reserves and uses as much as is left.
    for (used, reported) in [(0, sum + 5 * GB), (sum / 2 + 5 * GB, 0)] {
        let now = reserved(&facts(used, reported), &current);
        let sum: u64 = now.iter().map(|(_, bytes)| bytes).sum();
        assert!(sum <= 4 * GB && sum > 39 * GB / 10, "{sum}");
    }
}
