//! Hosts that are killed, drained, and stand still.

use serde_json::Value;

use super::bed::{Bed, worker};
use super::load::Load;
use super::pace::Pace;
use harness::until_in;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[tokio::test]
async fn hosts_are_killed_and_terminated() {
    let mut pace = Pace::of("hosts killed, terminated", 6);
    let mut bed = Bed::new(3).await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        pace.pause(500..1500).await;
        let which = pace.below(3);
        let host = &mut bed.hosts[which];
        match pace.below(2) {
            0 => host.kill(),
            _ => assert_eq!(host.stop().await.0, Some(0), "it is drained"),
        }
        pace.pause(0..800).await;
        host.start();
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn the_host_of_a_leader_stands_still() {
    /// A leader that is gone is missed after 15 seconds; a busy machine takes its time beside that.
    const SUCCESSION: Duration = Duration::from_secs(60);
    let mut pace = Pace::of("leader's host paused", 6);
    let candidate = |p| worker(p).section("[election]\ndomain = \"lab\"");
    let mut bed = Bed::with(2, candidate).await;
    let announced = bed.nats.listen("election.lab.leader").await;
    let leader = async |after: u64| {
        until_in(SUCCESSION, "somebody leads", async || {
            let value = bed.nats.kv_json("AGENT_LEASES", "election.lab").await?;
            let term = value["term"].as_u64().filter(|term| *term > after)?;
            Some((term, value["host"].as_str()?.to_owned()))
        })
        .await
    };
    let load = Load::start(&bed.nats, &pace);
    loop {
        let (term, name) = leader(0).await;
        let host = bed.hosts.iter().find(|host| host.name() == name).unwrap();
        host.pause();
        leader(term).await;
        host.resume();
        if !load.goes_on() {
            break;
        }
        pace.pause(1000..20_000).await;
    }
    bed.settle(load, &pace).await;
    let mut leaders: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for message in announced.all() {
        let said: Value = serde_json::from_slice(&message.payload).unwrap();
        let agent = said["agent_id"].as_str().unwrap().to_owned();
        leaders
            .entry(said["term"].as_u64().unwrap())
            .or_default()
            .insert(agent);
    }
    assert!(
        leaders.values().all(|leaders| leaders.len() == 1),
        "{leaders:?}"
    );
}
