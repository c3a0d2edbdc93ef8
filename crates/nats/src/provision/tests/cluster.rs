//! Three servers on loopback.

use std::collections::BTreeSet;

use super::super::assets::desired_with;
use super::super::{ServerFacts, apply, plan, read};
use crate::testing::{Cluster, Connect as _, until};
use crate::{Role, Transport};
use mistersmith_core::config::JetstreamSpec;

#[tokio::test]
async fn a_cluster_of_three_has_three_replicas_from_the_start() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Control);
    let spec = JetstreamSpec::default();
    let start = std::time::Instant::now();
    let facts = loop {
        let facts = ServerFacts::read(&transport).await;
        if let Ok(facts) = facts
            && facts.cluster.as_ref().and_then(|cluster| cluster.servers) == Some(3)
        {
            break facts;
        }
        assert!(start.elapsed() < crate::testing::DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let assets = desired_with(&spec, &BTreeSet::new(), &facts);
    let current = read(connection, &assets).await.unwrap();
    let first = plan(assets.clone(), &current, &facts);
    let applied = apply(connection, &first, false).await.unwrap();
    assert_eq!(applied.done.len(), 15, "{applied}");
    for name in ["WORK_QUEUE", "KV_AGENT_LEASES"] {
        let info: serde_json::Value = connection
            .call(&format!("STREAM.INFO.{name}"), &serde_json::json!(null))
            .await
            .unwrap();
        assert_eq!(info["config"]["num_replicas"], 3);
        assert_eq!(
            info["cluster"]["replicas"].as_array().map(Vec::len),
            Some(2),
            "{info}"
        );
    }
    let current = read(connection, &assets).await.unwrap();
    let again = plan(assets, &current, &facts);
    assert!(again.is_same(), "{again}");

    // One of three may go.
    let mut cluster = cluster;
    cluster.stop_one(transport.state().server.as_str());
    until("the connections are back", || transport.state().connected).await;
    let stored = connection.store(
        "dlq.a",
        "id",
        crate::Headers::new(),
        bytes::Bytes::from("x"),
    );
    assert_eq!(stored.await.unwrap().stream, "DLQ");
}
