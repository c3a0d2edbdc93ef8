//! Scenario `scale`: a fleet of 20 hosts on a cluster of three servers, all on this machine.
//!
//! Everything is measured once for each number of agents: a fleet takes minutes to start, and each of
//! its agents is a sample of its own.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;

use super::figures::{Series, rows};
use super::host_process::{HostProcess, READY_WAIT};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row, client, process, work};
use mistersmith_nats::server;

/// Hosts of the fleet.
const HOSTS: u32 = 20;
/// Servers of the cluster.
const SERVERS: usize = 3;
/// How often it is looked whether a host has ended while the others start.
const LOOK: Duration = Duration::from_secs(1);
/// How long the idle fleet is measured, at least: CPU times are exact to 10 ms.
const IDLE: Duration = Duration::from_secs(5);
/// Items that are published one after the other, and those that are published together in a second.
const ALONE: u32 = 200;
const TOGETHER: u32 = 2000;
/// How long agents may take to answer a health check of all.
const ANSWERS_WAIT: Duration = Duration::from_secs(60);
/// Every agent answers on this literal subject.
const EVERYBODY: &str = "health.check.*";

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let server = server::find(&bench.settings.servers).await?;
    let mut all = Vec::new();
    for agents in bench.sizes(&[10_000, 60_000]) {
        let lab = Lab::open_on(bench, &format!("scale-{agents}"), &server, SERVERS).await?;
        all.extend(measure(bench, &lab, agents).await?);
        lab.close().await;
    }
    Ok(rows(all))
}

async fn measure(bench: &Bench<'_>, lab: &Lab, agents: u32) -> anyhow::Result<Vec<Series>> {
    let hosts = HOSTS.min(agents);
    let each = agents / hosts;
    let agents = each * hosts;
    let version = lab.client.server_info().version;
    let case = format!("{agents} agents on {hosts} hosts, {SERVERS} servers {version}");
    let mut all = Vec::new();
    let mut add = |figure, unit, value: f64| {
        let mut series = Series::new(&case, figure, unit);
        series.product(value);
        all.push(series);
    };
    bench.report(&format!("{case}: starting"));
    // Compiles the component and makes the streams once, for all hosts of the fleet.
    let plugin = |instances| [Plugin::new("bench", instances).work("bench", "*")];
    lab.host("host-0", &plugin(1)).await?.end().await?;
    let (fleet, ready) = start(lab, hosts, &plugin(each), agents as usize).await?;
    add("until all are ready", "s", ready.as_secs_f64());

    bench.report(&format!("{case}: idle"));
    let (cpu, begun) = (cpu(&fleet)?, Instant::now());
    tokio::time::sleep(bench.settings.turn.max(IDLE)).await;
    let used = (self::cpu(&fleet)? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    add("CPU of the idle hosts together", "%", used * 100.0);
    let memory = resident(&fleet)?;
    add(
        "memory of the hosts together",
        "MiB",
        memory / 1024.0 / 1024.0,
    );
    add(
        "memory of the hosts for each agent",
        "KiB",
        memory / f64::from(agents) / 1024.0,
    );

    bench.report(&format!("{case}: work"));
    let mut alone = work::one_by_one(&lab.client, work::PRODUCT, bench.messages(ALONE)).await?;
    add(
        "a work item until its result, p50",
        "ms",
        alone.quantile(0.5) / 1e3,
    );
    add(
        "a work item until its result, p99",
        "ms",
        alone.quantile(0.99) / 1e3,
    );
    let items = bench.messages(TOGETHER);
    let done = work::together(&lab.client, work::PRODUCT, items).await?;
    add(
        "items that are published together",
        "1/s",
        done.per_second(),
    );

    bench.report(&format!("{case}: health checks"));
    let took = answers(lab, agents as usize).await?;
    add("answers of all to a health check", "s", took.as_secs_f64());

    bench.report(&format!("{case}: drain"));
    let begun = Instant::now();
    try_join_all(fleet.into_iter().map(HostProcess::end)).await?;
    add("until all have drained", "s", begun.elapsed().as_secs_f64());
    Ok(all)
}

/// Starts the hosts at the same time, and waits until all agents are ready.
async fn start(
    lab: &Lab,
    hosts: u32,
    plugins: &[Plugin],
    agents: usize,
) -> anyhow::Result<(Vec<HostProcess>, Duration)> {
    let mut events = lab.ready_events().await?;
    let begun = Instant::now();
    let names = (0..hosts).map(|number| format!("host-{number}"));
    let fleet: anyhow::Result<Vec<HostProcess>> =
        names.map(|name| lab.launch(&name, plugins)).collect();
    let mut fleet = fleet?;
    let mut ready = HashSet::new();
    let mut clock = tokio::time::interval(LOOK);
    while ready.len() < agents {
        tokio::select! {
            Some(event) = events.next() => {
                ready.insert(event.subject.to_string());
            }
            _ = clock.tick() => {
                ensure!(
                    begun.elapsed() < READY_WAIT,
                    "{} of {agents} agents are ready after {} s",
                    ready.len(), READY_WAIT.as_secs()
                );
                for host in &mut fleet {
                    host.runs()?;
                }
            }
        }
    }
    Ok((fleet, begun.elapsed()))
}

/// How long it takes until every agent has answered a health check of all.
async fn answers(lab: &Lab, agents: usize) -> anyhow::Result<Duration> {
    let inbox = lab.client.new_inbox();
    let mut answers = lab.client.subscribe(inbox.clone()).await?;
    client::settle(&lab.client).await?;
    let begun = Instant::now();
    lab.client
        .publish_with_reply(EVERYBODY, inbox, Bytes::new())
        .await?;
    for count in 0..agents {
        let answer = tokio::time::timeout(ANSWERS_WAIT, answers.next()).await;
        ensure!(
            matches!(answer, Ok(Some(_))),
            "{count} of {agents} agents have answered a health check"
        );
    }
    Ok(begun.elapsed())
}

/// CPU time of all hosts since their starts.
fn cpu(fleet: &[HostProcess]) -> anyhow::Result<Duration> {
    fleet.iter().map(HostProcess::cpu).sum()
}

/// Resident memory of all hosts, in bytes.
fn resident(fleet: &[HostProcess]) -> anyhow::Result<f64> {
    let each = fleet.iter().map(|host| process::resident(host.pid));
    let total: anyhow::Result<u64> = each.sum();
    Ok(total? as f64)
}
