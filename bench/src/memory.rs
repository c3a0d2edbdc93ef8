//! Scenario `memory`: the memory of a host and its agents after each has handled a message, and the
//! CPU time of an idle host.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::Traffic;
use super::figures::{Series, rows};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row, process};

/// Starts take long: more rounds than these are not made.
const MOST_ROUNDS: u32 = 3;
const COUNT: &str = "bench.count";
/// How long an idle host is measured, at least: its CPU time is exact to 10 ms.
const IDLE: Duration = Duration::from_secs(5);

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "memory").await?;
    // Compiles the component, which takes memory that no later start takes.
    let plugin = |agents| Plugin::new("bench", agents).subscribe(COUNT, "");
    lab.host("host", &[plugin(1)]).await?.end().await?;
    let mut all = Vec::new();
    let mut alone = Vec::new();
    for agents in bench.sizes(&[1, 200, 1000, 2000]) {
        let case = format!("{agents} agents");
        let mut host_memory = Series::new(&case, "memory of the host", "MiB");
        let mut agent_memory = Series::new(&case, "memory of each further agent", "KiB");
        let mut idle = Series::new(&case, "CPU of the idle host", "%");
        for round in 0..bench.settings.rounds.min(MOST_ROUNDS) {
            bench.report(&format!("{case}, round {}", round + 1));
            let host = lab.host("host", &[plugin(agents)]).await?;
            let payload = Bytes::from_static(&[b'x'; 64]);
            Traffic::new(&lab.client, COUNT, &payload, agents as usize)
                .burst(1)
                .await?;
            let (cpu, begun) = (host.cpu()?, Instant::now());
            tokio::time::sleep(bench.settings.turn.max(IDLE)).await;
            let used = (host.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
            let memory = process::resident(host.pid)? as f64;
            idle.product(used * 100.0);
            host_memory.product(memory / 1024.0 / 1024.0);
            if agents == 1 {
                alone.push(memory);
            } else if let Some(one) = alone.get(round as usize) {
                agent_memory.product((memory - one) / f64::from(agents - 1) / 1024.0);
            }
            host.end().await?;
        }
        all.extend([host_memory, agent_memory, idle]);
    }
    lab.close().await;
    Ok(rows(all))
}
