//! Scenario `growth`: a constant number of requests in flight on growing numbers of agents and
//! hosts.

use bytes::Bytes;

use super::client::Traffic;
use super::figures::{Series, rows};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row};

const ECHO: &str = "bench.echo";
const IN_FLIGHT: usize = 64;
/// Agents of each host where hosts grow.
const AGENTS: u32 = 20;

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "growth").await?;
    let mut all = Vec::new();
    for agents in bench.sizes(&[2, 20, 200, 1000, 2000]) {
        let case = format!("{agents} agents on one host, {IN_FLIGHT} in flight");
        all.extend(measure(bench, &lab, &case, 1, agents).await?);
    }
    for hosts in [1, 2, 3] {
        let agents = AGENTS.min(bench.settings.most_agents);
        let case = format!("hosts: {hosts}, {agents} agents each, {IN_FLIGHT} in flight");
        all.extend(measure(bench, &lab, &case, hosts, agents).await?);
    }
    lab.close().await;
    Ok(rows(all))
}

async fn measure(
    bench: &Bench<'_>,
    lab: &Lab,
    case: &str,
    hosts: usize,
    agents: u32,
) -> anyhow::Result<[Series; 2]> {
    bench.report(case);
    let mut running = Vec::new();
    for number in 0..hosts {
        let plugin = Plugin::new("bench", agents).subscribe(ECHO, "queue = \"bench\"");
        running.push(lab.host(&format!("host-{number}"), &[plugin]).await?);
    }
    lab.answers(ECHO).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let mut rate = Series::new(case, "requests", "1/s");
    let mut p99 = Series::new(case, "round trip p99", "µs");
    for _ in 0..bench.settings.rounds {
        let time = bench.settings.turn;
        let mut load = Traffic::new(&lab.client, ECHO, &payload, IN_FLIGHT)
            .requests(time)
            .await?;
        rate.product(load.per_second());
        p99.product(load.quantile(0.99));
    }
    for host in running {
        host.end().await?;
    }
    Ok([rate, p99])
}
