//! Hosts at the edge: beside a leaf node, with its own JetStream, with that of the hub, or both.

use serde_json::json;

use harness::{Cluster, Host, Nats, NatsOptions, Outside, Plugin, free_port, until};

/// A hub that leaf nodes can join at this port.
async fn hub(port: u16, jetstream: NatsOptions) -> Nats {
    let listen = format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}");
    jetstream.line(&listen).start().await
}

/// A leaf node of the hub at this port, once the hub has met it.
async fn leaf(port: u16, jetstream: NatsOptions, hub: &Outside) -> Nats {
    let remote = format!("leafnodes {{ remotes: [{{ url: \"nats://127.0.0.1:{port}\" }}] }}");
    let leaf = jetstream.line(&remote).start().await;
    let ear = hub.listen("crossed").await;
    until("a message crosses the link", async || {
        leaf.publish("crossed", "x").await;
        (ear.count("crossed") > 0).then_some(())
    })
    .await;
    leaf
}

fn domain(name: &str) -> NatsOptions {
    NatsOptions::default().domain(name)
}

fn plugin() -> Plugin {
    Plugin::new("probe")
        .instances(2)
        .work("lab", "*")
        .grant_kv("B", ">", "read-write")
}

/// Work through this server, small and large, and a bucket.
async fn everything_works(nats: &Outside, through: &Outside) {
    let echo = json!({"do": "reply", "payload": "done"}).to_string();
    through.work_as("small", "work.lab.x", echo).await;
    assert_eq!(nats.result_of("small").await.text(), "done");
    let large = json!({"do": "big_reply", "bytes": 5000}).to_string();
    through.work_as("large", "work.lab.x", large).await;
    assert_eq!(nats.result_of("large").await.header("X-Claim-Size"), "5000");
    let create = json!({"do": "kv_create", "bucket": "B", "key": "a.b", "value": "1"});
    let created = through.tell("probe-001", create).await;
    assert!(created["revision"].is_u64(), "{created}");
    let keys = json!({"do": "kv_keys", "bucket": "B", "pattern": ">"});
    let keys = through.tell("probe-001", keys).await;
    assert_eq!(keys, json!({"keys": ["a.b"]}));
}

async fn has_streams(nats: &Outside) -> bool {
    nats.js.get_stream("WORK_QUEUE").await.is_ok()
}

#[tokio::test]
async fn a_host_beside_a_leaf_node_uses_the_jetstream_of_that() {
    let port = free_port();
    let hub = hub(port, domain("hub")).await;
    let edge = leaf(port, domain("edge"), &hub).await;
    let _host = Host::new(&edge)
        .config("[jetstream]\nclaim_over = \"1KiB\"")
        .with(plugin())
        .run()
        .await;
    assert_eq!(edge.stream_info("WORK_QUEUE").await.config.num_replicas, 1);
    everything_works(&edge, &edge).await;
    assert!(!has_streams(&hub).await);
}

#[tokio::test]
async fn a_host_beside_a_leaf_node_can_use_the_jetstream_of_the_hub() {
    let port = free_port();
    let hub = hub(port, domain("hub")).await;
    let edge = leaf(port, domain("edge"), &hub).await;
    let servers = format!("servers = [{:?}]", edge.url());
    let host = Host::new(&hub)
        .nats(&servers)
        .config("[jetstream]\ndomain = \"hub\"\nclaim_over = \"1KiB\"")
        .with(plugin())
        .run()
        .await;
    everything_works(&hub, &edge).await;
    assert!(!has_streams(&edge).await);
    // The commands read the same configuration.
    hub.state_is("probe-001", "ready").await;
    let agents = host.cli(&["agents", "--json"]).await.ok().json();
    assert_eq!(agents["agents"][0]["agent_id"], "probe-001");
}

#[tokio::test]
async fn a_leaf_node_without_a_jetstream_stands_before_a_cluster_that_has_it() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let cluster = Cluster::joined_at(&ports, "hub").await;
    let without = NatsOptions::default().without_jetstream();
    let edge = leaf(ports[0], without, &cluster).await;
    let servers = format!("servers = [{:?}]", edge.url());
    let _host = Host::clustered(&cluster)
        .nats(&servers)
        .config("[jetstream]\ndomain = \"hub\"\nclaim_over = \"1KiB\"")
        .with(plugin())
        .run()
        .await;
    let info = cluster.stream_info("WORK_QUEUE").await;
    assert_eq!(info.config.num_replicas, 3);
    everything_works(&cluster, &edge).await;
}
