//! The durable consumers: made together, recorded, retired, never in each other's way.

use serde_json::json;

use harness::{Host, Nats, Outside, Plugin, until};

async fn durables(nats: &Outside) -> Vec<String> {
    use futures_util::TryStreamExt;
    let stream = nats.stream("WORK_QUEUE").await;
    let mut names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn the_consumers_of_a_domain_are_made_recorded_and_retired() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*").work_with("art", "paint", "version = 3")
        })
        .run()
        .await;
    let of = |prefix: &str, task: &str| {
        ["critical", "high", "low", "normal", "short"].map(|p| format!("{prefix}_{p}_{task}"))
    };
    let mut expected = [of("workers-art-v3", "paint"), of("workers-lab", "all")].concat();
    expected.sort();
    assert_eq!(durables(&nats).await, expected);
    for name in &expected {
        let config = nats
            .stream("WORK_QUEUE")
            .await
            .consumer_info(name)
            .await
            .unwrap()
            .config;
        assert_eq!(config.ack_wait.as_secs(), 30, "{name}");
        assert_eq!(config.max_deliver, -1, "{name}: the host counts");
        assert!(config.inactive_threshold.is_zero(), "{name}");
        assert!(!config.filter_subject.is_empty(), "{name}");
        let record = nats
            .kv_json("AGENT_CLAIMS", &format!("durable.{name}"))
            .await
            .unwrap();
        assert_eq!(record["plugin"], "probe");
        assert_eq!(record["hosts"], json!([host.host_id()]));
    }

    // A new version takes other work: what it needs no longer, and what is empty, goes.
    let next = Plugin::new("probe").version("0.2.0").work("lab", "measure");
    host.drop_in(&next);
    let expected = of("workers-lab", "measure");
    until("the consumers are those of the new version", async || {
        (durables(&nats).await == expected).then_some(())
    })
    .await;
    nats.work_as(
        "new",
        "work.lab.high.measure",
        r#"{"do": "echo", "value": 1}"#,
    )
    .await;
    assert_eq!(nats.result_of("new").await.text(), "1");
    let records = nats.keys("AGENT_CLAIMS").await;
    let records: Vec<&str> = records
        .iter()
        .filter_map(|key| key.strip_prefix("durable."))
        .collect();
    assert_eq!(records, expected);
}

#[tokio::test]
async fn work_is_not_taken_twice_by_two_plugins() {
    let nats = Nats::start().await;
    let _one = Host::new(&nats)
        .named("one")
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let two = Host::new(&nats)
        .named("two")
        .with(Plugin::shipped("echo"))
        .with(
            Plugin::bare("rival")
                .component(harness::component("probe"))
                .work("lab", "measure")
                .not_awaited(),
        )
        .run()
        .await;
    let refused = two.logs.first("the rival is refused", |line| {
        line.level() == "ERROR" && line.field("plugin") == "rival"
    });
    let text = refused.await.message();
    assert!(
        text.contains("probe") && text.contains("rival"),
        "both are named: {text}"
    );
    assert!(
        text.contains("work.lab."),
        "what they quarrel about: {text}"
    );
    // The work goes on where it was, and the other plugin of that host runs.
    nats.work_as("w", "work.lab.high.measure", r#"{"do": "context"}"#)
        .await;
    assert_eq!(nats.result_of("w").await.json()["plugin"], "probe");
    assert_eq!(nats.request("tools.echo", "x").await.payload, "x");
}

#[tokio::test]
async fn work_that_nobody_takes_is_shown() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "measure"))
        .run()
        .await;
    nats.work("work.lab.high.cook", "x").await;
    nats.work("work.lab.high.cook", "x").await;
    nats.work("work.kitchen.low.x", "x").await;
    nats.work("work.lab.urgent.measure", "x").await;
    let told = host.cli(&["agents", "--json"]).await.ok().json();
    let mut unclaimed: Vec<(String, u64)> = told["unclaimed_work"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| {
            (
                w["subject"].as_str().unwrap().to_owned(),
                w["messages"].as_u64().unwrap(),
            )
        })
        .collect();
    unclaimed.sort();
    let expected = [
        ("work.kitchen.low.x", 1),
        ("work.lab.high.cook", 2),
        ("work.lab.urgent.measure", 1),
    ];
    assert_eq!(
        unclaimed,
        expected.map(|(subject, count)| (subject.to_owned(), count))
    );
    let shown = host.cli(&["agents"]).await.ok().stdout;
    assert!(shown.contains("work.lab.high.cook"), "{shown}");

    // It waits, and is taken as soon as somebody does.
    nats.js
        .get_stream("WORK_QUEUE")
        .await
        .unwrap()
        .purge()
        .filter("work.>")
        .await
        .unwrap();
    nats.work_as(
        "kept",
        "work.kitchen.low.x",
        r#"{"do": "echo", "value": 3}"#,
    )
    .await;
    host.drop_in(&Plugin::new("probe").version("0.2.0").work("kitchen", "*"));
    assert_eq!(nats.result_of("kept").await.text(), "3");
}
