//! The server is not there yet, goes away, comes back, or does not answer.

use std::time::Duration;

use serde_json::json;

use harness::{Host, Nats, until, until_in};

#[tokio::test]
async fn a_host_may_be_started_before_its_server() {
    let mut nats = Nats::start().await;
    nats.kill();
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .start();
    let line = host.logs.saying("cannot connect to the NATS server").await;
    assert!(
        line.0.to_string().contains(&nats.port().to_string()),
        "{line:?}"
    );
    nats.start_again().await;
    host.wait_ready().await;
    nats.work_as("first", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("first").await.text(), "1");
}

#[tokio::test]
async fn while_the_server_is_away_a_plugin_is_told_and_afterwards_all_goes_on() {
    let mut nats = Nats::start().await;
    let begun = nats.listen("begun").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*")
                .subscribe("lab.ask")
                .grant_publish("begun")
                .grant_request("begun")
                .grant_subscribe("begun")
                .grant_kv("NOTES", "mine.>", "read-write")
        })
        .run()
        .await;
    let calls = [
        json!({"do": "publish", "subject": "begun"}),
        json!({"do": "sleep", "ms": 2500, "how": "wait"}),
        json!({"do": "publish", "subject": "begun"}),
        json!({"do": "publish_stored", "subject": "begun"}),
        json!({"do": "request", "subject": "begun", "timeout_ms": 100}),
        json!({"do": "subscribe", "subject": "begun"}),
        json!({"do": "kv_get", "bucket": "NOTES", "key": "mine.x"}),
        json!({"do": "kv_put", "bucket": "NOTES", "key": "mine.x", "value": "1"}),
        json!({"do": "log", "level": "info", "message": "tried it all"}),
    ];
    let count = calls.len();
    nats.work_as(
        "cut",
        "work.lab.high.x",
        json!({"do": "sequence", "commands": calls}).to_string(),
    )
    .await;
    begun.number(1).await;
    nats.kill();
    host.logs.saying("lost the connection to NATS").await;
    host.logs.saying("tried it all").await;
    nats.start_again().await;
    let told = nats.result_of("cut").await.json();
    for refused in &told.as_array().unwrap()[2..count - 1] {
        assert_eq!(refused["error"]["kind"], "unavailable", "{told:#}");
    }
    nats.work_is_done().await;
    assert_eq!(nats.results_of("cut").await.len(), 1);

    // Subscriptions and pulls are there again, without a new start.
    nats.agents_ready("probe", host.name(), 1).await;
    nats.work_as("after", "work.lab.low.x", r#"{"do": "echo", "value": 2}"#)
        .await;
    assert_eq!(nats.result_of("after").await.text(), "2");
    // The connection of subscriptions comes back by itself, perhaps after that of work.
    let answer = until("the subscription is there again", async || {
        let asked = r#"{"do": "echo", "value": 3}"#;
        let answer = nats.client.request("lab.ask", asked.into()).await.ok()?;
        Some(answer.payload)
    })
    .await;
    assert_eq!(&*answer, b"3");
    nats.state_is("probe-001", "ready").await;
}

#[tokio::test]
async fn a_host_that_cannot_renew_its_lease_stops_its_agents_and_comes_back() {
    const LEASE: Duration = Duration::from_secs(40);
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.instances(3).work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-003.cmd.shutdown", "").await;
    let lost = "cannot renew its lease";
    nats.pause();
    until_in(LEASE, "the lease is lost", async || {
        host.logs.find(|line| line.message().contains(lost)).pop()
    })
    .await;
    nats.resume();
    until_in(LEASE, "the lease is back", async || {
        host.logs
            .find(|line| line.message().contains("the lease is back"))
            .pop()
    })
    .await;
    let ids = nats.agents_ready("probe", host.name(), 2).await;
    assert_eq!(ids, ["probe-001", "probe-002"], "the ids are the same");
    let all = nats.ask_all("agent.all.cmd.status", "", 2).await;
    assert!(
        !all.iter().any(|answer| answer["agent_id"] == "probe-003"),
        "what a command ended stays down: {all:?}"
    );
    nats.work_as("after", "work.lab.x", r#"{"do": "counter"}"#)
        .await;
    let counted = nats.result_of("after").await.json();
    assert_eq!(counted["count"], 1, "a new instance: {counted}");
    assert!(
        nats.keys("AGENT_LEASES")
            .await
            .contains(&format!("host.{}", host.host_id()))
    );
}
