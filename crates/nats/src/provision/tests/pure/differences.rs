//! The meaning of a difference, and the configuration that an update sends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{asset, cluster, wanted};
use crate::provision::assets::desired_with;
use crate::provision::diff::{compare, updated};
use crate::provision::{Effect, ServerFacts};
use mistersmith_core::config::JetstreamSpec;

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
