//! A host that dies with a large item in hand.

use std::time::Duration;

use serde_json::json;

use super::{LARGE, claimed, is_removed, objects_for, padded, roomy};
use harness::{Host, Nats, until_in};

/// The server delivers an item again after the ack wait, 30 s; the machine may be busy.
const ACK_WAIT: Duration = Duration::from_secs(75);

#[tokio::test]
async fn a_large_item_of_a_killed_host_is_done_by_the_next() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| roomy(p.work("lab", "*").grant_publish("ran")))
        .run()
        .await;
    let slow = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": 2000, "how": "wait"},
        {"do": "header", "name": "X-Retry-Count"}, {"do": "echo", "value": "y".repeat(1_500_000)},
    ]});
    let subject = "work.lab.high.x";
    let sent = ["publish", subject, "-", "-H", "X-Request-ID: held"];
    host.cli_fed(&sent, &padded(&slow, LARGE)).await.ok();
    ran.number(1).await;
    host.kill();
    assert_eq!(
        objects_for(&nats, subject).await.len(),
        1,
        "it is still needed"
    );
    host.start();
    host.wait_ready().await;
    let result = until_in(ACK_WAIT, "it is delivered again", async || {
        nats.results_of("held").await.pop()
    })
    .await;
    assert_eq!(result.header("X-Retry-Count"), "1");
    assert!(claimed(&nats, &result).await.len() > 1_500_000);
    nats.work_is_done().await;
    is_removed(&nats, subject).await;
    assert!(nats.stored("DLQ", ">").await.is_empty());
}

#[tokio::test]
async fn an_item_waits_for_its_payload_while_the_server_is_away() {
    let mut nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| roomy(p.work("lab", "*")))
        .run()
        .await;
    nats.tell("probe-001", json!({"do": "echo", "value": 1}))
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    let item = padded(&json!({"do": "echo", "value": 2}), LARGE);
    let sent = ["publish", "work.lab.x", "-", "-H", "X-Request-ID: away"];
    host.cli_fed(&sent, &item).await.ok();
    nats.kill();
    nats.start_again().await;
    let resume = ["request", "agent.probe-001.cmd.resume"];
    let resumed = async || (host.cli(&resume).await.code == Some(0)).then_some(());
    until_in(ACK_WAIT, "it takes work again", resumed).await;
    let result = until_in(ACK_WAIT, "it is done", async || {
        nats.results_of("away").await.pop()
    })
    .await;
    assert_eq!(result.text(), "2");
    is_removed(&nats, "work.lab.x").await;
}
