//! Agent ids: two hosts never share one, and a restarted host has its own again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use harness::{Host, Nats, Outside, Plugin, Running, until, until_in};

/// A lease lasts 15 s; the machine may be busy.
const LEASE: Duration = Duration::from_secs(60);

/// Which agents answer on which host.
async fn fleet(nats: &Outside, count: usize) -> BTreeMap<String, Vec<String>> {
    let mut fleet: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for answer in nats.ask_all("agent.all.cmd.status", "", count).await {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        fleet
            .entry(text("host"))
            .or_default()
            .push(text("agent_id"));
    }
    fleet.values_mut().for_each(|agents| agents.sort());
    fleet
}

fn agents(numbers: &[u32]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| format!("probe-{number:03}"))
        .collect()
}

fn host(nats: &Nats, name: &str, instances: u32) -> Host {
    Host::new(nats)
        .named(name)
        .plugin("probe", |p| p.instances(instances).work("lab", "*"))
}

#[tokio::test]
async fn hosts_that_start_together_share_no_id() {
    let nats = Nats::start().await;
    let mut hosts: Vec<Running> = ["a", "b", "c"]
        .iter()
        .map(|name| host(&nats, name, 3).start())
        .collect();
    for host in &mut hosts {
        host.wait_ready().await;
    }
    let fleet = fleet(&nats, 9).await;
    let mut all: Vec<String> = fleet.values().flatten().cloned().collect();
    all.sort();
    assert_eq!(all, agents(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), "{fleet:?}");
    assert!(fleet.values().all(|agents| agents.len() == 3), "{fleet:?}");
    for (index, host) in hosts.iter().enumerate() {
        let name = ["a", "b", "c"][index];
        for agent in &fleet[name] {
            let claim = nats.kv_json("AGENT_CLAIMS", agent).await.unwrap();
            assert_eq!(claim["host_id"], host.host_id().as_str());
        }
        let lease = nats
            .kv_json("AGENT_LEASES", &format!("host.{}", host.host_id()))
            .await
            .unwrap();
        assert_eq!(lease["host_id"], host.host_id().as_str());
    }
}

#[tokio::test]
async fn a_restarted_host_gives_up_ids_that_it_does_not_use_any_more() {
    let nats = Nats::start().await;
    let mut only = host(&nats, "only", 3)
        .plugin("echo", |p| p.instances(2))
        .run()
        .await;
    let claimed = async || {
        let mut ids = nats.keys("AGENT_CLAIMS").await;
        ids.retain(|key| !key.starts_with("durable."));
        ids.sort();
        ids
    };
    assert_eq!(claimed().await.len(), 5);
    only.kill();
    only.take_out("echo");
    only.drop_in(&Plugin::new("probe").instances(1).work("lab", "*"));
    only.start();
    only.wait_plugin("probe", 1).await;
    until("what is not used is free", async || {
        (claimed().await == agents(&[1])).then_some(())
    })
    .await;
    nats.state_is("probe-001", "ready").await;
}

#[tokio::test]
async fn a_restarted_host_has_its_ids_again_and_others_take_them_when_it_stays_away() {
    let nats = Nats::start().await;
    let mut first = host(&nats, "first", 2).run().await;
    let mut second = host(&nats, "second", 2).run().await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    nats.request_json("agent.probe-002.cmd.config", r#"{"mine": 1}"#)
        .await;

    // After a crash, at once: nobody has to wait for the lease.
    first.kill();
    first.start();
    first.wait_ready().await;
    let fleet_now = fleet(&nats, 4).await;
    assert_eq!(fleet_now["first"], agents(&[1, 2]));
    assert_eq!(fleet_now["second"], agents(&[3, 4]));
    nats.state_is("probe-001", "paused").await;

    // A third host leaves them alone while the lease lives, and also when a host stops orderly and
    // comes back.
    second.stop().await;
    second.start();
    second.wait_ready().await;
    assert_eq!(fleet(&nats, 4).await["second"], agents(&[3, 4]));

    // It stays away: when its lease has expired, its ids are anybody's, without what was said to
    // them.
    first.kill();
    let lease = format!("host.{}", first.host_id());
    until_in(LEASE, "the lease expires", async || {
        nats.kv_json("AGENT_LEASES", &lease)
            .await
            .is_none()
            .then_some(())
    })
    .await;
    let _third = host(&nats, "third", 2).run().await;
    let fleet_now = fleet(&nats, 4).await;
    assert_eq!(fleet_now["third"], agents(&[1, 2]));
    nats.state_is("probe-001", "ready").await;
    let config = nats.tell("probe-002", json!({"do": "context"})).await["config"].clone();
    assert_eq!(config, json!({}));

    // Too late: the first one has to take others.
    first.start();
    first.wait_ready().await;
    assert_eq!(fleet(&nats, 6).await["first"], agents(&[5, 6]));
}

#[tokio::test]
async fn a_host_that_slept_through_its_lease_does_not_go_on_as_before() {
    let nats = Nats::start().await;
    let first = host(&nats, "first", 1).run().await;
    let lease = format!("host.{}", first.host_id());
    first.pause();
    until_in(LEASE, "the lease expires", async || {
        nats.kv_json("AGENT_LEASES", &lease)
            .await
            .is_none()
            .then_some(())
    })
    .await;
    let mut second = host(&nats, "second", 1).start();
    second.wait_plugin("probe", 1).await;
    let stopped = nats.listen("agent.probe-001.stopped").await;
    let ready = nats.listen("agent.probe-002.ready").await;
    first.resume();
    // It notices, ends its agent, and claims another number once it has a lease again.
    stopped.number(1).await;
    ready.number(1).await;
    let fleet_now = until_in(LEASE, "each has an id of its own", async || {
        let fleet = fleet(&nats, 2).await;
        (fleet.len() == 2).then_some(fleet)
    })
    .await;
    assert_eq!(fleet_now["second"], agents(&[1]));
    assert_eq!(fleet_now["first"], agents(&[2]));
}
