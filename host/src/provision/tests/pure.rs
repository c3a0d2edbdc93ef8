//! What is wanted, and what a difference means.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::assets::desired_with;
use super::super::current::{Current, State, Stream};
use super::super::diff::{compare, updated};
use super::super::fit::fit;
use super::super::{Action, Asset, Cluster, Effect, ServerFacts, Storage, plan};
use crate::config::{BucketOverride, Discard, JetstreamSpec, StreamOverride};

fn wanted(spec: &JetstreamSpec, facts: &ServerFacts) -> Vec<Asset> {
    wanted_beside(spec, facts, &Current::default())
}

fn wanted_beside(spec: &JetstreamSpec, facts: &ServerFacts, current: &Current) -> Vec<Asset> {
    let mut assets = desired_with(spec, &BTreeSet::new(), facts);
    fit(&mut assets, facts, current);
    assets
}

fn storage(most: u64, used: u64, reserved: u64) -> Option<Storage> {
    Some(Storage {
        most,
        used,
        reserved,
    })
}

fn asset(name: &str) -> Asset {
    let assets = wanted(&JetstreamSpec::default(), &ServerFacts::default());
    assets.into_iter().find(|asset| asset.name == name).unwrap()
}

fn of<'a>(assets: &'a [Asset], name: &str) -> &'a Map<String, Value> {
    &assets
        .iter()
        .find(|asset| asset.name == name)
        .unwrap()
        .config
}

fn cluster(servers: Option<usize>) -> ServerFacts {
    ServerFacts {
        cluster: Some(Cluster {
            name: "C".into(),
            servers,
        }),
        ..ServerFacts::default()
    }
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
        Stream {
            config: config.as_object().unwrap().clone(),
            state: State {
                bytes: bytes / 2,
                ..State::default()
            },
        }
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

#[test]
fn a_difference_is_safe_narrowing_or_impossible() {
    use Effect::{Impossible, Narrows, Safe};
    let day = 86_400_000_000_000_u64;
    for (name, field, now, effect) in [
        ("WORK_QUEUE", "retention", json!("limits"), Some(Impossible)),
        ("WORK_QUEUE", "storage", json!("memory"), Some(Impossible)),
        ("WORK_QUEUE", "discard", json!("old"), Some(Safe)),
        (
            "WORK_QUEUE",
            "discard_new_per_subject",
            Value::Null,
            Some(Safe),
        ),
        ("WORK_QUEUE", "max_age", json!(day / 2), Some(Safe)),
        ("WORK_QUEUE", "max_age", json!(2 * day), Some(Narrows)),
        ("WORK_QUEUE", "max_age", json!(0), Some(Narrows)),
        ("WORK_QUEUE", "max_msgs_per_subject", json!(10), Some(Safe)),
        (
            "WORK_QUEUE",
            "max_msgs_per_subject",
            json!(-1),
            Some(Narrows),
        ),
        ("WORK_QUEUE", "max_bytes", json!(5), Some(Safe)),
        ("WORK_QUEUE", "max_bytes", json!(-1), None),
        ("WORK_QUEUE", "subjects", json!([]), Some(Safe)),
        (
            "WORK_QUEUE",
            "subjects",
            json!(["work.>", "more"]),
            Some(Narrows),
        ),
        ("WORK_QUEUE", "subjects", json!(["other"]), Some(Narrows)),
        (
            "WORK_QUEUE",
            "subjects",
            json!(["work.a", "work.b.>"]),
            Some(Safe),
        ),
        ("WORK_QUEUE", "subjects", json!([">"]), Some(Narrows)),
        ("WORK_QUEUE", "allow_direct", json!(false), Some(Safe)),
        ("WORK_QUEUE", "sealed", json!(true), Some(Impossible)),
        (
            "WORK_QUEUE",
            "mirror",
            json!({ "name": "X" }),
            Some(Impossible),
        ),
        ("WORK_QUEUE", "num_replicas", json!(3), None),
        ("WORK_QUEUE", "unknown", json!("x"), None),
        ("COORDINATION", "max_bytes", json!(1_000_000), None),
        (
            "COORDINATION",
            "max_bytes",
            json!(60_000_000_000_u64),
            Some(Narrows),
        ),
        ("COORDINATION", "max_bytes", json!(-1), Some(Narrows)),
        (
            "COORDINATION",
            "subjects",
            json!(["gather.>", "scatter.>", "pipeline.>", "coord.>"]),
            None,
        ),
        ("AGENT_LEASES", "max_age", json!(0), Some(Safe)),
        ("AGENT_CLAIMS", "max_age", json!(day), Some(Safe)),
        (
            "AGENT_CLAIMS",
            "max_msgs_per_subject",
            json!(5),
            Some(Narrows),
        ),
    ] {
        let asset = asset(name);
        let mut current = asset.config.clone();
        current.insert(field.to_owned(), now.clone());
        let diffs = compare(&asset, &current, false);
        let found: Vec<_> = diffs.iter().map(|diff| diff.effect).collect();
        assert_eq!(
            found,
            effect.into_iter().collect::<Vec<_>>(),
            "{name} {field} {now}"
        );
        assert!(diffs.iter().all(|diff| diff.field == field));
    }
}

#[test]
fn replicas_are_compared_in_a_cluster_only() {
    let three = wanted(&JetstreamSpec::default(), &cluster(Some(3)));
    let work = three
        .iter()
        .find(|asset| asset.name == "WORK_QUEUE")
        .unwrap();
    let mut current = work.config.clone();
    current.insert("num_replicas".into(), json!(1));
    assert_eq!(compare(work, &current, true)[0].effect, Effect::Safe);
    assert_eq!(compare(work, &current, false), []);
}

#[test]
fn an_update_keeps_what_it_does_not_know_and_what_is_wider() {
    let asset = asset("WORK_QUEUE");
    let mut current = asset.config.clone();
    for (field, value) in [
        ("subjects", json!(["more", "other"])),
        ("max_age", json!(0)),
        ("discard", json!("old")),
        ("from_a_newer_server", json!({ "a": 1 })),
    ] {
        current.insert(field.to_owned(), value);
    }
    let diffs = compare(&asset, &current, false);
    let config = updated(&current, &diffs, false);
    assert_eq!(config["subjects"], json!(["more", "other", "work.>"]));
    current.insert("subjects".into(), json!(["more", "work.a"]));
    let partly = updated(&current, &compare(&asset, &current, false), false);
    assert_eq!(partly["subjects"], json!(["more", "work.>"]));
    assert_eq!(
        (&config["max_age"], &config["discard"]),
        (&json!(0), &json!("new"))
    );
    assert_eq!(config["from_a_newer_server"], json!({ "a": 1 }));
    let forced = updated(&current, &diffs, true);
    assert_eq!(forced["subjects"], json!(["work.>"]));
    assert_eq!(forced["max_age"], 86_400_000_000_000_u64);
}

#[test]
fn a_granted_bucket_of_somebody_else_is_taken_as_it_is() {
    let granted = BTreeSet::from(["CACHE".parse().unwrap(), "AGENT_STATE".parse().unwrap()]);
    let facts = ServerFacts::default();
    let assets = desired_with(&JetstreamSpec::default(), &granted, &facts);
    assert_eq!(
        assets
            .iter()
            .filter(|asset| asset.name == "AGENT_STATE")
            .count(),
        1
    );
    let cache = assets
        .into_iter()
        .find(|asset| asset.name == "CACHE")
        .unwrap();
    assert_eq!(
        (cache.stream.as_str(), &cache.config["storage"]),
        ("KV_CACHE", &json!("file"))
    );
    let mut current = cache.config.clone();
    for (field, value) in [
        ("storage", json!("memory")),
        ("max_msgs_per_subject", json!(64)),
        ("max_age", json!(1)),
    ] {
        current.insert(field.to_owned(), value);
    }
    assert_eq!(compare(&cache, &current, false), []);
    current.insert("subjects".into(), json!(["else.>"]));
    assert_eq!(compare(&cache, &current, false).len(), 1);
}

#[test]
fn a_plan_reads_like_this() {
    let facts = ServerFacts::default();
    let keep = [
        "WORK_QUEUE",
        "DLQ",
        "AUDIT",
        "RESULTS",
        "COORDINATION",
        "AGENT_STATE",
    ];
    let assets: Vec<Asset> = wanted(&JetstreamSpec::default(), &facts)
        .into_iter()
        .filter(|asset| keep.contains(&asset.name.as_str()))
        .collect();
    let mut current = Current::default();
    let mut exists = |name: &str, field: &str, value: Value| {
        let mut config = of(&assets, name).clone();
        config.insert(field.to_owned(), value);
        current.streams.insert(
            name.to_owned(),
            Stream {
                config,
                state: State {
                    messages: 12,
                    ..State::default()
                },
            },
        );
    };
    exists("DLQ", "max_age", json!(604_800_000_000_000_u64));
    exists("AUDIT", "max_age", json!(0));
    exists("RESULTS", "storage", json!("memory"));
    exists("AGENT_STATE", "name", json!("KV_AGENT_STATE"));
    let state = current.streams.remove("AGENT_STATE").unwrap();
    current.streams.insert("KV_AGENT_STATE".into(), state);
    current
        .in_the_way
        .insert("COORDINATION".into(), vec!["OLD".into()]);
    let plan = plan(assets.clone(), &current, &facts);
    assert!(!plan.is_same());
    assert_eq!(
        plan.to_string(),
        "create   stream `WORK_QUEUE`: work.>, workqueue, kept 1d, 1 replica(s), per subject at most 1000, discard new\n\
         refused  stream `COORDINATION`: its subjects are captured by stream `OLD`; take them out of there\n\
         refused  stream `RESULTS`: storage memory → file; this cannot be changed: --force deletes it with its 12 messages and makes it anew\n\
         update   stream `DLQ`: max_age 7d → 30d\n\
         drift    stream `AUDIT`: max_age for ever → 30d; left as it is, --force narrows it, which can delete messages\n\
         same     bucket `AGENT_STATE`\n\
         note     one replica of everything: this is a single server, and what it stores is lost with its disk\n\
         note     byte limits are reservations: COORDINATION 50 GB; where the server has no more, a stream is created with less\n"
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["changes"][3]["action"], "update");
    assert_eq!(json["changes"][3]["diffs"][0]["field"], "max_age");
    assert_eq!(json["changes"][2]["action"]["refused"]["messages"], 12);
    assert_eq!(plan.changes[5].action, Action::Same);
}
