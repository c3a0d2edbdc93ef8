//! Three servers, of which one dies.

use std::future::IntoFuture;
use std::time::Duration;

use serde_json::json;

use harness::{Cluster, Host, until_in};

/// A cluster elects its leaders anew; on a busy machine that takes a while.
const ELECTIONS: Duration = Duration::from_secs(60);

#[tokio::test]
async fn three_servers_hold_three_copies_and_work_outlives_one_of_them() {
    let mut nats = Cluster::start().await;
    let host = Host::clustered(&nats)
        .plugin("probe", |p| p.instances(2).work("lab", "*"))
        .run()
        .await;
    for name in [
        "AGENT_LIFECYCLE",
        "WORK_QUEUE",
        "COORDINATION",
        "RESULTS",
        "DLQ",
        "AUDIT",
        "KV_AGENT_STATE",
        "KV_AGENT_CLAIMS",
    ] {
        assert_eq!(
            nats.stream_info(name).await.config.num_replicas,
            3,
            "{name}"
        );
    }
    nats.work_as("before", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("before").await.text(), "1");

    // The one that leads the work queue, while an item is in hand.
    let slow = json!({"do": "sleep", "ms": 2000, "how": "wait"});
    nats.work_as("held", "work.lab.high.x", slow.to_string())
        .await;
    let info = nats.stream_info("WORK_QUEUE").await;
    let leader = info
        .cluster
        .and_then(|cluster| cluster.leader)
        .expect("a leader");
    nats.kill(&leader);
    nats.answers().await;
    let stored = until_in(ELECTIONS, "the queue takes work again", async || {
        let headers = harness::headers(&[("X-Request-ID", "after"), ("Nats-Msg-Id", "after")]);
        let sent = nats
            .js
            .publish_with_headers(
                "work.lab.low.x",
                headers,
                r#"{"do": "echo", "value": 2}"#.into(),
            )
            .await;
        tokio::time::timeout(Duration::from_secs(2), sent.ok()?.into_future())
            .await
            .ok()?
            .ok()
    })
    .await;
    assert_eq!(stored.stream, "WORK_QUEUE");
    for id in ["held", "after"] {
        until_in(ELECTIONS, &format!("{id} is done"), async || {
            let stream = nats.js.get_stream("RESULTS").await.ok()?;
            stream
                .get_last_raw_message_by_subject(&format!("agent.probe-001.resp.{id}"))
                .await
                .ok()
                .or(stream
                    .get_last_raw_message_by_subject(&format!("agent.probe-002.resp.{id}"))
                    .await
                    .ok())
        })
        .await;
    }
    drop(host);
}
