//! `mistersmith provision`: the difference, before it is made.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use futures_util::StreamExt;
use serde_json::{Value, json};

use harness::{Host, Nats, Running};

async fn streams(nats: &Nats) -> Vec<String> {
    let mut names: Vec<String> = nats.js.stream_names().map(Result::unwrap).collect().await;
    names.sort();
    names
}

/// What a plan wants to do with each asset.
async fn actions(host: &Running) -> Vec<(String, String)> {
    let plan = host
        .cli(&["provision", "--plan", "--json"])
        .await
        .ok()
        .json();
    let changes = plan["changes"].as_array().expect("changes").clone();
    let action = |change: &Value| match &change["action"] {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.keys().next().unwrap().clone(),
        other => panic!("{other}"),
    };
    changes
        .iter()
        .map(|change| {
            (
                change["asset"]["name"].as_str().unwrap().to_owned(),
                action(change),
            )
        })
        .collect()
}

fn all_are(actions: &[(String, String)], wanted: &str) -> bool {
    actions.iter().all(|(_, action)| action == wanted)
}

#[tokio::test]
async fn a_plan_changes_nothing_and_doing_it_twice_neither() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.grant_kv("NOTES", "mine.>", "read"))
        .written();
    let plan = host.cli(&["provision", "--plan"]).await.ok();
    for asset in ["WORK_QUEUE", "AGENT_STATE", "AUDIT", "PAYLOADS", "NOTES"] {
        let line = plan.stdout.lines().find(|line| line.contains(asset));
        assert!(
            line.is_some_and(|line| line.starts_with("create")),
            "{asset}: {plan:#?}"
        );
    }
    let planned = actions(&host).await;
    assert_eq!(planned.len(), 16, "{planned:?}");
    assert!(all_are(&planned, "create"), "{planned:?}");
    assert!(streams(&nats).await.is_empty(), "nothing was made");

    let done = host.cli(&["provision"]).await.ok();
    assert_eq!(
        done.stdout
            .lines()
            .filter(|line| line.starts_with("create"))
            .count(),
        16,
        "{done:#?}"
    );
    let made = streams(&nats).await;
    assert_eq!(made.len(), 16, "{made:?}");
    assert!(all_are(&actions(&host).await, "same"));
    let again = host.cli(&["provision"]).await.ok();
    assert_eq!(again.stdout.trim_end(), "everything is as it should be");
    let json = host.cli(&["provision", "--json"]).await.ok().json();
    assert_eq!(json, json!({"done": [], "warnings": []}));
    let wrong = host.cli(&["provision", "--plan", "--force"]).await;
    assert_eq!(wrong.code, Some(64), "{wrong:#?}");
}

#[tokio::test]
async fn a_drifted_stream_is_reported_and_narrowed_only_by_force() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .written();
    host.cli(&["provision"]).await.ok();
    // Somebody keeps dead letters for longer, and results shorter.
    for (name, age) in [("DLQ", YEAR), ("RESULTS", Duration::from_secs(3600))] {
        let mut config = nats.stream_info(name).await.config;
        config.max_age = age;
        nats.js.update_stream(config).await.unwrap();
    }
    let plan = host.cli(&["provision", "--plan"]).await.ok();
    let line = |name: &str| {
        plan.stdout
            .lines()
            .find(|line| line.contains(name))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("DLQ").starts_with("drift") && line("DLQ").contains("365d"),
        "{plan:#?}"
    );
    assert!(line("RESULTS").starts_with("update"), "{plan:#?}");

    // A host widens what is too narrow, reports the other, and works.
    let mut running = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    running
        .logs
        .first("the drift is reported", |line| {
            line.level() == "WARN" && line.0.to_string().contains("DLQ")
        })
        .await;
    assert_eq!(nats.stream_info("DLQ").await.config.max_age, YEAR);
    assert_eq!(
        nats.stream_info("RESULTS").await.config.max_age.as_secs(),
        24 * 3600
    );
    nats.work_as("on", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    nats.result_of("on").await;
    assert_eq!(running.stop().await.0, Some(0));

    let kept = host.cli(&["provision"]).await.ok();
    assert!(
        kept.stderr.contains("drift") && kept.stderr.contains("--force"),
        "{kept:#?}"
    );
    assert_eq!(nats.stream_info("DLQ").await.config.max_age, YEAR);
    host.cli(&["provision", "--force"]).await.ok();
    assert_eq!(
        nats.stream_info("DLQ").await.config.max_age.as_secs(),
        30 * 24 * 3600
    );
    nats.audited("forced", |entry| {
        entry["command"] == "provision --force" && entry.to_string().contains("DLQ")
    })
    .await;
    assert!(all_are(&actions(&host).await, "same"));
}

#[tokio::test]
async fn what_cannot_be_changed_is_not_destroyed_unasked() {
    let nats = Nats::start().await;
    // Retention cannot be changed later.
    let other = Config {
        name: "WORK_QUEUE".to_owned(),
        subjects: vec!["work.>".to_owned()],
        retention: RetentionPolicy::Limits,
        ..Config::default()
    };
    nats.js.create_stream(other).await.unwrap();
    nats.work("work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .written();
    let plan = host.cli(&["provision", "--plan"]).await.ok();
    let line = plan
        .stdout
        .lines()
        .find(|line| line.contains("WORK_QUEUE"))
        .unwrap();
    for word in ["refused", "retention", "--force", "1 messages"] {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
    let refused = host.cli(&["provision"]).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("WORK_QUEUE"), "{refused:#?}");
    assert_eq!(streams(&nats).await, ["WORK_QUEUE"], "nothing was begun");
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        1,
        "nothing is lost"
    );
    let mut running = Host::new(&nats).start();
    assert_eq!(running.ended().await, Some(1));
    running
        .logs
        .saying("JetStream holds what the host cannot use")
        .await;
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 1);

    host.cli(&["provision", "--force"]).await.ok();
    let made = nats.stream_info("WORK_QUEUE").await.config;
    assert_eq!(made.retention, RetentionPolicy::WorkQueue);
    nats.audited("forced", |entry| entry.to_string().contains("WORK_QUEUE"))
        .await;
}

#[tokio::test]
async fn two_hosts_that_start_together_do_not_quarrel() {
    let nats = Nats::start().await;
    let make = |name: &str| {
        Host::new(&nats)
            .named(name)
            .plugin("probe", |p| {
                p.instances(2)
                    .work("lab", "*")
                    .grant_kv("NOTES", "mine.>", "read")
            })
            .start()
    };
    let mut hosts = [make("h1"), make("h2")];
    for host in &mut hosts {
        host.wait_ready().await;
        let quarrels = host.logs.find(|line| line.level() == "ERROR");
        assert!(quarrels.is_empty(), "{quarrels:#?}");
    }
    let mut agents = nats.agents_ready("probe", "h1", 2).await;
    agents.extend(nats.agents_ready("probe", "h2", 2).await);
    agents.sort();
    assert_eq!(agents, ["probe-001", "probe-002", "probe-003", "probe-004"]);
    assert!(all_are(&actions(&hosts[0]).await, "same"));
    for number in 0..20 {
        nats.work_as(
            &format!("w{number}"),
            "work.lab.x",
            r#"{"do": "echo", "value": 1}"#,
        )
        .await;
    }
    nats.work_is_done().await;
    assert_eq!(nats.stored("RESULTS", "agent.*.resp.*").await.len(), 20);
}
