//! Workflows of four stages, each stage a plugin of its own: inputs, outputs and events stored,
//! every input acknowledged with a confirmation. The native handler stores the same and
//! acknowledges the same.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::figures::{Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row, client};

const STAGES: [&str; 4] = ["bench-1", "bench-2", "bench-3", "bench-4"];
/// Workflows that run at the same time.
const OPEN: u64 = 64;
/// How long a result is waited for; longer than an input that was lost takes to come again.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "pipeline").await?;
    bench.report("starting a host and a native handler");
    lab.store_native().await?;
    let job = |(stage, next): (&str, Option<&str>)| Job::Stage {
        stage: stage.to_owned(),
        next: next.map(str::to_owned),
        at_once: OPEN as usize,
    };
    let host = lab.host("host", &plugins()).await?;
    let native = lab.native(stages().map(job).collect()).await?;
    let case = format!("64 B, {OPEN} at the same time");
    let mut rate = Series::new(&case, "workflows", "1/s");
    let mut cpu = Series::new(&case, "CPU of a workflow", "µs");
    for round in 0..bench.settings.rounds {
        bench.report(&format!("{case}, round {}", round + 1));
        let before = host.cpu()?;
        let (workflows, product) = feed(bench, &lab, "").await?;
        let product_cpu = (host.cpu()? - before).as_secs_f64() * 1e6 / workflows as f64;
        let before = native.cpu()?;
        let (workflows, reference) = feed(bench, &lab, "native.").await?;
        let native_cpu = (native.cpu()? - before).as_secs_f64() * 1e6 / workflows as f64;
        rate.pair(product, reference);
        cpu.pair(product_cpu, native_cpu);
    }
    drop(native);
    host.end().await?;
    lab.close().await;
    Ok(rows([rate, cpu]))
}

/// Each stage and the one behind it.
fn stages() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let next = STAGES.into_iter().skip(1).map(Some).chain([None]);
    STAGES.into_iter().zip(next)
}

/// A plugin for each stage.
pub(super) fn plugins() -> Vec<Plugin> {
    let plugin = |(stage, next)| Plugin::new(stage, 1).stage(stage, next);
    stages().map(plugin).collect()
}

/// Starts a workflow whenever one is complete, for a turn; then waits for all. How many there were,
/// and how many in a second.
pub(super) async fn feed(bench: &Bench<'_>, lab: &Lab, prefix: &str) -> anyhow::Result<(u64, f64)> {
    let mut results = lab
        .client
        .subscribe(format!("{prefix}pipeline.*.complete"))
        .await?;
    client::settle(&lab.client).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let start = || {
        let id = nuid::next();
        let subject = format!("{prefix}pipeline.{id}.01.bench-1");
        lab.client.publish(subject, payload.clone())
    };
    let begun = Instant::now();
    let (mut started, mut complete) = (0, 0);
    while started < OPEN {
        start().await?;
        started += 1;
    }
    while complete < started {
        let result = tokio::time::timeout(PATIENCE, results.next()).await;
        let result = result.with_context(|| format!("{complete} of {started} are complete"))?;
        ensure!(result.is_some(), "the connection has ended");
        complete += 1;
        if begun.elapsed() < bench.settings.turn {
            start().await?;
            started += 1;
        }
    }
    Ok((complete, complete as f64 / begun.elapsed().as_secs_f64()))
}
