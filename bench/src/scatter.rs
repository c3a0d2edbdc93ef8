//! Scenario `scatter`: one question at a time to many agents, until all have answered. A stream
//! stores the native handler's subjects like those of the agents.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::figures::{Series, median, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row, client};

/// The prefix of the subjects of the native handler.
const NATIVE: &str = "native";
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "scatter").await?;
    lab.store_native().await?;
    let mut all = Vec::new();
    for agents in bench.sizes(&[1, 10, 100]) {
        let case = format!("64 B to {agents} agents");
        bench.report(&case);
        let host = lab
            .host("host", &[Plugin::new("bench", agents).scatter()])
            .await?;
        let job = Job::Answer {
            prefix: NATIVE.to_owned(),
            agents,
        };
        let native = lab.native(vec![job]).await?;
        let mut time = Series::new(&case, "until all have answered, p50", "µs");
        for _ in 0..bench.settings.rounds {
            let product = questions(bench, &lab, "", agents).await?;
            let reference = questions(bench, &lab, "native.", agents).await?;
            time.pair(product, reference);
        }
        all.push(time);
        drop(native);
        host.end().await?;
    }
    lab.close().await;
    Ok(rows(all))
}

/// The median time of questions, in microseconds.
async fn questions(bench: &Bench<'_>, lab: &Lab, prefix: &str, agents: u32) -> anyhow::Result<f64> {
    let payload = Bytes::from_static(&[b'x'; 64]);
    let mut answers = lab
        .client
        .subscribe(format!("{prefix}gather.*.result"))
        .await?;
    client::settle(&lab.client).await?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < bench.settings.turn || times.is_empty() {
        let id = nuid::next();
        let asked = Instant::now();
        let task = format!("{prefix}scatter.{id}.task");
        lab.client.publish(task, payload.clone()).await?;
        for heard in 0..agents {
            let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
            let answer = answer
                .with_context(|| format!("{heard} of {agents} agents have answered"))?
                .context("the connection has ended")?;
            ensure!(answer.payload == payload, "an answer of another kind");
        }
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}
