//! Servers that take small messages, also from one moment to the next.

use serde_json::{Value, json};

use super::{claimed, padded};
use harness::{Host, Nats, until, until_in};

/// How long a host may take to be back on a server.
const BACK: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs items whose results and letters are larger than a message.
async fn works(nats: &Nats, id: &str) {
    let large = json!({"do": "big_reply", "bytes": 200_000});
    nats.work_as(id, "work.lab.big", large.to_string()).await;
    let result = until_in(BACK, "the result is stored", async || {
        nats.results_of(id).await.pop()
    })
    .await;
    let length = match result.payload.len() {
        0 => claimed(nats, &result).await.len(),
        length => length,
    };
    assert_eq!(length, 200_000, "{id}");
    let small = json!({"do": "echo", "value": "x".repeat(75)});
    let own = format!("{id}-small");
    nats.work_as(&own, "work.lab.small", small.to_string())
        .await;
    let result = nats.result_of(&own).await;
    assert_eq!(result.header("X-Claim"), "", "{id}: it fits into a message");
}

#[tokio::test]
async fn pieces_and_thresholds_follow_what_the_server_takes() {
    for max_payload in [16 * 1024, 60_000, 120_000] {
        let line = format!("max_payload: {max_payload}");
        let nats = Nats::options().line(&line).start().await;
        let _host = Host::new(&nats)
            .plugin("probe", |p| p.work("lab", "*"))
            .run()
            .await;
        works(&nats, &format!("m{max_payload}")).await;
        assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
        nats.work_is_done().await;
    }
}

#[tokio::test]
async fn a_server_that_takes_less_after_a_restart_loses_nothing() {
    let mut nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work_with("lab", "*", "max_deliver = 1"))
        .run()
        .await;
    works(&nats, "before").await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    // Stored by the larger server, given up on the smaller one.
    let bad = padded(&json!({"do": "fail_reject", "message": "no"}), 300_000);
    nats.work_as("bad", "work.lab.bad", bad.clone()).await;
    nats.kill();
    nats.configure("max_payload: 65536");
    nats.start_again().await;
    nats.resume_when_back("probe-001").await;
    works(&nats, "after").await;
    let letter = nats.dead_letters("work.lab.bad", 1).await.remove(0);
    assert_eq!(claimed(&nats, &letter).await, bad, "the letter is whole");
    nats.work_is_done().await;
    let replayed = host.cli(&["dlq", "replay", "--all"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
}

#[tokio::test]
async fn a_letter_that_cannot_be_whole_leaves_its_original() {
    let mut nats = Nats::start().await;
    let ear = nats.listen("begun").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*").grant_publish("begun"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    let reject = json!({"do": "fail_reject", "message": "no"});
    let publish = json!({"do": "publish", "subject": "begun"});
    let item = json!({"do": "sequence", "commands": [publish, reject]}).to_string();
    // With headers alone it is larger than what the server takes later.
    let long = "h".repeat(30_000);
    let own = harness::headers(&[("X-Long", &long)]);
    nats.work_with("work.lab.x", own, item).await;
    nats.kill();
    nats.configure("max_payload: 20000");
    nats.start_again().await;
    nats.resume_when_back("probe-001").await;
    host.logs.saying("dead letter not stored").await;
    until("the item is sealed", async || {
        let keys = nats.keys("ATTEMPTS").await;
        let key = keys.into_iter().find(|key| key.starts_with("item."))?;
        let record: Value = nats.kv_json("ATTEMPTS", &key).await?;
        (record["sealed"]["kind"] == "rejected").then_some(())
    })
    .await;
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 1);
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
    nats.kill();
    nats.configure("max_payload: 1048576");
    nats.start_again().await;
    let letter = until_in(BACK + BACK, "the letter is stored", async || {
        nats.stored("DLQ", "dlq.>").await.pop()
    })
    .await;
    assert_eq!(letter.header("X-Long"), long);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "rejected");
    assert_eq!(ear.all().len(), 1, "it ran once");
}

#[tokio::test]
async fn a_server_that_takes_too_little_is_refused() {
    let nats = Nats::options().line("max_payload: 16383").start().await;
    let mut host = Host::new(&nats).start();
    assert_ne!(host.ended().await, Some(0));
    let said = host.logs.saying("max_payload").await.message();
    assert!(said.contains("16383") && said.contains("fix:"), "{said}");
}
