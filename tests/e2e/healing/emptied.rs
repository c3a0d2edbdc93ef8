//! The store of the server, or of all three, is emptied under two hosts.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use harness::{Cluster, Headers, Host, Nats, Outside, Plugin, Running, until, until_in};

/// How soon work flows again.
const MINUTE: Duration = Duration::from_secs(60);

fn worker(plugin: Plugin) -> Plugin {
    plugin
        .instances(2)
        .work("lab", "*")
        .stage("read", "")
        .section("[election]\ndomain = \"lab\"")
        .grant_kv("NOTES", ">", "read-write")
}

/// Has a command carried out; says why not while the server is starting.
async fn stored(nats: &Outside, id: &str, subject: &str, payload: &str) -> Option<()> {
    let mut headers = Headers::new();
    headers.insert("X-Request-ID", id);
    headers.insert("Nats-Msg-Id", id);
    let sent = nats
        .js
        .publish_with_headers(subject.to_owned(), headers, payload.to_owned().into())
        .await
        .ok()?;
    let acked = tokio::time::timeout(Duration::from_secs(2), sent.into_future());
    acked.await.ok()?.ok().map(drop)
}

/// Work and the input of a stage are stored and done.
async fn works(nats: &Outside, round: &str) {
    let item = format!("item-{round}");
    let echo = r#"{"do": "echo", "value": 1}"#;
    let flow = format!("flow-{round}");
    until_in(MINUTE, "an item is stored", async || {
        stored(nats, &item, "work.lab.high.x", echo).await
    })
    .await;
    until_in(MINUTE, "an input is stored", async || {
        stored(nats, &flow, &format!("pipeline.{flow}.01.read"), "{}").await
    })
    .await;
    until_in(MINUTE, "the item is done", async || {
        let stream = nats.js.get_stream("RESULTS").await.ok()?;
        let found = async |agent: &str| {
            let subject = format!("agent.{agent}.resp.{item}");
            let found = stream.get_last_raw_message_by_subject(&subject);
            found.await.ok()
        };
        for agent in ["probe-001", "probe-002", "probe-003", "probe-004"] {
            if found(agent).await.is_some() {
                return Some(());
            }
        }
        None
    })
    .await;
    until_in(MINUTE, "the workflow is done", async || {
        let stream = nats.js.get_stream("COORDINATION").await.ok()?;
        let subject = format!("pipeline.{flow}.complete");
        let found = stream.get_last_raw_message_by_subject(&subject);
        found.await.ok().map(drop)
    })
    .await;
}

async fn term(nats: &Outside) -> Option<u64> {
    let leases = nats.js.get_key_value("AGENT_LEASES").await.ok()?;
    let value = leases.get("election.lab").await.ok()??;
    let value: Value = serde_json::from_slice(&value).ok()?;
    value["term"].as_u64().filter(|term| *term > 0)
}

/// What commands have changed, and what the agents are, before and after.
async fn prepare(nats: &Outside) -> u64 {
    let term = until_in(MINUTE, "somebody leads", async || term(nats).await).await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    nats.request_json("agent.probe-003.cmd.config", r#"{"mine": 1}"#)
        .await;
    // The hosts have seen both.
    until_in(MINUTE, "it is shown", async || {
        let state = nats.state("probe-001").await?;
        (state["status"] == "paused").then_some(())
    })
    .await;
    works(nats, "before").await;
    term
}

async fn healed(nats: &Outside, hosts: &[Running; 2], before: u64) {
    let begun = Instant::now();
    works(nats, "after").await;
    for (host, ids) in hosts
        .iter()
        .zip([["probe-001", "probe-002"], ["probe-003", "probe-004"]])
    {
        until_in(MINUTE, "the agents are ready", async || {
            let ready = nats.agents_ready("probe", host.name(), 2).await;
            (ready == ids).then_some(())
        })
        .await;
        for id in ids {
            until_in(MINUTE, &format!("{id} is claimed"), async || {
                let claim = nats.kv_json("AGENT_CLAIMS", id).await?;
                (claim["host_id"] == host.host_id().as_str()).then_some(())
            })
            .await;
        }
    }
    assert!(begun.elapsed() < MINUTE, "{:?}", begun.elapsed());
    until_in(MINUTE, "the pause is written again", async || {
        let value = nats.kv_json("AGENT_CONFIG", "probe-001").await?;
        (value["paused"] == true).then_some(())
    })
    .await;
    nats.state_is("probe-001", "paused").await;
    let told = nats.tell("probe-003", json!({"do": "context"})).await;
    assert_eq!(told["config"]["mine"], 1);
    let after = until_in(MINUTE, "somebody leads", async || term(nats).await).await;
    assert!(after > before, "term {after} after {before}");
    // Said, and by the command line nothing is missing any more.
    let said = |host: &Running| {
        let wanted = |line: &harness::Line| line.message().contains("JetStream had lost");
        host.logs.find(wanted)
    };
    let said: Vec<String> = hosts
        .iter()
        .flat_map(said)
        .map(|line| line.message())
        .collect();
    for name in ["stream WORK_QUEUE", "bucket AGENT_CLAIMS", "bucket NOTES"] {
        assert!(
            said.iter().any(|line| line.contains(name)),
            "{name}: {said:?}"
        );
    }
    let shown = hosts[0].cli(&["agents", "--json"]).await.ok().json();
    assert_eq!(shown["missing"], json!([]));
}

#[tokio::test]
async fn a_server_whose_store_was_emptied_is_filled_again_by_two_hosts() {
    let mut nats = Nats::start().await;
    let host = |name| Host::new(&nats).named(name).plugin("probe", worker);
    let hosts = [host("one").run().await, host("two").run().await];
    let before = prepare(&nats).await;
    nats.kill();
    std::fs::remove_dir_all(nats.store()).unwrap();
    nats.start_again().await;
    healed(&nats, &hosts, before).await;
}

#[tokio::test]
async fn three_servers_whose_stores_were_emptied_are_filled_again_by_two_hosts() {
    let mut nats = Cluster::start().await;
    let host = |name| Host::clustered(&nats).named(name).plugin("probe", worker);
    let hosts = [host("one").run().await, host("two").run().await];
    let before = prepare(&nats).await;
    nats.start_again_empty().await;
    healed(&nats, &hosts, before).await;
    until("there are three copies again", async || {
        let info = nats.stream_info("WORK_QUEUE").await;
        (info.config.num_replicas == 3).then_some(())
    })
    .await;
}
