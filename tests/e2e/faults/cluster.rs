//! Three servers: leaders that are killed in turn, and a network between hosts and servers that
//! fails.

use std::time::Duration;

use harness::{Cluster, Host, Outside, Proxy, Running, Way, until_in};

use super::bed::worker;
use super::load::Load;
use super::pace::Pace;
use super::settled::settle;

/// A cluster elects its leaders; on a busy machine that takes a while.
const ELECTIONS: Duration = Duration::from_secs(90);

struct Bed {
    nats: Cluster,
    proxies: Vec<Proxy>,
    /// Ended with the bed.
    _hosts: Vec<Running>,
}

impl Bed {
    async fn new() -> Self {
        let nats = Cluster::start().await;
        let mut proxies = Vec::new();
        for port in nats.ports() {
            proxies.push(Proxy::before(port).await);
        }
        let through: Vec<&Proxy> = proxies.iter().collect();
        let mut hosts = Vec::new();
        for name in ["h1", "h2"] {
            let host = Host::clustered(&nats).through(&through).named(name);
            hosts.push(host.plugin("probe", worker).run().await);
        }
        Self {
            nats,
            proxies,
            _hosts: hosts,
        }
    }

    async fn settle(self, load: Load, pace: &Pace) {
        settle(&self.nats, load, pace).await;
        let connections: u64 = self
            .proxies
            .iter()
            .map(|proxy| proxy.seen().connections)
            .sum();
        assert!(connections > 0, "the hosts go around the proxies");
    }
}

/// The information on a stream, if the server answers soon.
async fn info(nats: &Outside, stream: &str) -> Option<serde_json::Value> {
    let call = format!("$JS.API.STREAM.INFO.{stream}");
    let asked = nats.client.request(call, "".into());
    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
    serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()
}

/// The server that leads a stream.
async fn leader(nats: &Outside, stream: &str) -> String {
    until_in(ELECTIONS, &format!("{stream} has a leader"), async || {
        let info = info(nats, stream).await?;
        info["cluster"]["leader"].as_str().map(str::to_owned)
    })
    .await
}

/// Waits until every copy of a stream is current: until then no other server may die.
async fn is_current(nats: &Outside, stream: &str) {
    until_in(
        ELECTIONS,
        &format!("the copies of {stream} are current"),
        async || {
            let info = info(nats, stream).await?;
            let copies = info["cluster"]["replicas"].as_array()?;
            copies
                .iter()
                .all(|copy| copy["current"] == true)
                .then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn leaders_of_streams_are_killed_in_turn() {
    const STREAMS: [&str; 4] = ["WORK_QUEUE", "KV_AGENT_LEASES", "RESULTS", "COORDINATION"];
    let mut pace = Pace::of("cluster: leaders killed", 6);
    let mut bed = Bed::new().await;
    let load = Load::start(&bed.nats, &pace);
    let mut turn = 0;
    while load.goes_on() {
        pace.pause(500..1500).await;
        let name = leader(&bed.nats, STREAMS[turn % STREAMS.len()]).await;
        bed.nats.kill(&name);
        pace.pause(1000..6000).await;
        bed.nats.start_again(&name).await;
        for stream in STREAMS {
            is_current(&bed.nats, stream).await;
        }
        turn += 1;
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn one_of_three_ways_to_the_servers_fails() {
    let mut pace = Pace::of("cluster: network", 6);
    let bed = Bed::new().await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        pace.pause(300..1000).await;
        let proxy = &bed.proxies[pace.below(3)];
        match pace.below(3) {
            0 => {
                proxy.refuse(true);
                proxy.reset();
                pace.pause(500..3000).await;
                proxy.refuse(false);
            }
            way => {
                proxy.hold(if way == 1 { &[Way::Up] } else { Way::BOTH });
                pace.pause(1000..6000).await;
                proxy.hold(&[]);
            }
        }
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn answers_are_lost_and_statuses_come_early_on_three_servers() {
    let mut pace = Pace::of("cluster: answers lost", 6);
    let bed = Bed::new().await;
    for proxy in &bed.proxies {
        proxy.statuses_first(true);
    }
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        for proxy in &bed.proxies {
            proxy.lose_acks(u64::try_from(pace.below(8) + 1).unwrap());
        }
        pace.pause(500..1500).await;
    }
    for proxy in &bed.proxies {
        proxy.lose_acks(0);
    }
    bed.settle(load, &pace).await;
}
