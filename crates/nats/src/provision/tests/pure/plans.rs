//! The text of a plan, and its JSON.

use serde_json::{Value, json};

use super::{of, wanted};
use crate::provision::current::Current;
use crate::provision::{Action, Asset, ServerFacts, plan};
use crate::stream::StreamState;
use mistersmith_core::config::JetstreamSpec;

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
            super::stream(
                config,
                StreamState {
                    messages: 12,
                    ..StreamState::default()
                },
            ),
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
         refused  stream `RESULTS`: storage memory → file; this cannot be changed: --force deletes it with its 12 messages and creates it again\n\
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
