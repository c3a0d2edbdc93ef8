//! Hosts that die or stand still, servers that go away.

use super::{host, leader, leader_after, notices, told};
use harness::{Nats, Running, until_in};

fn on<'a>(hosts: &'a mut [Running], name: &str) -> &'a mut Running {
    let found = hosts.iter_mut().find(|host| host.name() == name);
    found.expect("a host of that name")
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_by_a_later_term() {
    let nats = Nats::start().await;
    let ear = nats.listen("told").await;
    let mut hosts = [host(&nats, "one", 2).await, host(&nats, "two", 2).await];
    let (first, term, at) = leader_after(&nats, 0).await;
    told(&ear, &first, true, term).await;
    on(&mut hosts, &at).kill();
    let (second, next, elsewhere) = leader_after(&nats, term).await;
    assert_ne!(at, elsewhere);
    told(&ear, &second, true, next).await;
    // The one that was killed comes back, and follows.
    on(&mut hosts, &at).start();
    on(&mut hosts, &at).wait_ready().await;
    assert_eq!(leader(&nats).await.map(|leader| leader.1), Some(next));
    let again = notices(&ear)
        .into_iter()
        .filter(|told| told["agent"] == *first);
    assert_eq!(
        again.count(),
        usize::from(first != second),
        "told of its own term alone"
    );
}

#[tokio::test]
async fn a_leader_that_stood_still_finds_itself_replaced() {
    let nats = Nats::start().await;
    let ear = nats.listen("told").await;
    let mut hosts = [host(&nats, "one", 1).await, host(&nats, "two", 1).await];
    let (first, term, at) = leader_after(&nats, 0).await;
    told(&ear, &first, true, term).await;
    on(&mut hosts, &at).pause();
    let (second, next, _) = leader_after(&nats, term).await;
    assert_ne!(first, second);
    told(&ear, &second, true, next).await;
    let said = nats.listen("election.lab.*").await;
    on(&mut hosts, &at).resume();
    // It goes on in the middle of what it did. Its agents end with the host's lease, and come back.
    until_in(super::SUCCESSION, "the host is back", async || {
        let back = |line: &harness::Line| line.message().contains("the lease is back");
        on(&mut hosts, &at).logs.find(back).pop()
    })
    .await;
    nats.agents_ready("probe", &at, 1).await;
    assert_eq!(leader(&nats).await.map(|leader| leader.1), Some(next));
    for message in said.all() {
        let value: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        let old = value["term"] == term;
        assert!(!old, "said in the old term after it was over: {value}");
    }
}

#[tokio::test]
async fn leadership_survives_a_restart_of_the_server() {
    let mut nats = Nats::start().await;
    let ear = nats.listen("told").await;
    let _hosts = [host(&nats, "one", 1).await, host(&nats, "two", 1).await];
    let (first, term, _) = leader_after(&nats, 0).await;
    told(&ear, &first, true, term).await;
    let said = nats.listen("election.lab.*").await;
    nats.kill();
    nats.start_again().await;
    // Whoever renews next, or follows: there is a leader, and it speaks.
    until_in(super::SUCCESSION, "a leader speaks", async || {
        let (agent, term, _) = leader(&nats).await?;
        let spoke = said.all().into_iter().any(|message| {
            let value: serde_json::Value =
                serde_json::from_slice(&message.payload).unwrap_or_default();
            value["agent_id"] == *agent && value["term"] == term
        });
        spoke.then_some(())
    })
    .await;
    let mut terms: Vec<u64> = notices(&ear)
        .iter()
        .filter(|told| told["leading"] == true)
        .map(|told| told["term"].as_u64().unwrap())
        .collect();
    let told = terms.len();
    terms.sort_unstable();
    terms.dedup();
    assert_eq!(
        terms.len(),
        told,
        "no term has begun twice: {:?}",
        notices(&ear)
    );
}
