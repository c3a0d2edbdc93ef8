//! Consumers that bring nothing: seen by an operator, although every agent is ready.

use serde_json::Value;

use harness::{Host, Nats, until};

/// The host may do everything but pull work.
const USERS: &str = "authorization { users: [ \
    { user: host, password: h, \
      permissions: { publish: { deny: \"$JS.API.CONSUMER.MSG.NEXT.WORK_QUEUE.>\" } } }, \
    { user: test, password: t } ] }";

#[tokio::test]
async fn consumers_whose_pulls_keep_failing_are_in_the_log_in_agents_and_in_the_metrics() {
    let nats = Nats::options()
        .line(USERS)
        .with_user("test", "t")
        .start()
        .await;
    let metrics = nats.listen("metrics.system.work_queue.failing_pulls").await;
    let host = Host::new(&nats)
        .nats(&format!(
            "servers = [\"{}\"]\nuser = \"host\"\npassword = \"h\"",
            nats.url()
        ))
        .line("heartbeat = \"1m\"")
        .line("metrics = \"1s\"")
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.state_is("probe-001", "ready").await;
    let warning = host.logs.saying("pulls keep failing").await;
    assert_eq!(warning.level(), "WARN");
    assert!(warning.field("consumer").starts_with("workers-lab_"));
    assert!(!warning.field("error").is_empty());

    // Each of the five consumers, for the four priorities and the form without one.
    until("the metric counts them", async || {
        let all = metrics.all();
        let last = all.last()?;
        let value: Value = serde_json::from_slice(&last.payload).unwrap();
        (value["value"] == 5 && value["unit"] == "consumers").then_some(())
    })
    .await;
    until("the state of the agent has them", async || {
        let shown = host.cli(&["agents", "--json"]).await.ok().json();
        let errors = shown["agents"][0]["metadata"]["pull_errors"].clone();
        (errors.as_object()?.len() == 5).then_some(())
    })
    .await;
    let table = host.cli(&["agents"]).await.ok().stdout;
    assert!(table.contains("whose pulls keep failing"), "{table}");
    assert!(table.contains("workers-lab_high_all"), "{table}");
    // Said once for each, not with every pull.
    let warnings = host
        .logs
        .find(|line| line.message().contains("pulls keep failing"));
    assert_eq!(warnings.len(), 5);
}
