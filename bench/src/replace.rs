//! Scenario `replace`: a plugin is reloaded under load. Measures the longest time without an
//! answer, and the lost requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::client::{Load, Traffic};
use super::figures::{Series, rows};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row, client};

const ECHO: &str = "bench.echo";
const IN_FLIGHT: usize = 16;
const AGENTS: u32 = 2;
/// How long the new version may take to be noticed and compiled.
const READY_WAIT: Duration = Duration::from_secs(60);
/// How long the load goes on when the new version is there.
const AFTER: Duration = Duration::from_millis(300);

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "replace").await?;
    bench.report("starting a host");
    let plugin = Plugin::new("bench", AGENTS).subscribe(ECHO, "queue = \"bench\"");
    let host = lab.host("host", std::slice::from_ref(&plugin)).await?;
    lab.answers(ECHO).await?;
    let case = format!("{IN_FLIGHT} in flight, {AGENTS} agents");
    let mut gap = Series::new(&case, "longest time without an answer", "ms").against("unchanged");
    let mut lost = Series::new(
        &case,
        "requests without an answer, or with an error",
        "requests",
    );
    let payload = Bytes::from_static(&[b'x'; 64]);
    for round in 0..bench.settings.rounds {
        bench.report(&format!("{case}, round {}", round + 1));
        let version = plugin.clone().version(round + 2);
        let (changed, took) = while_replaced(&lab, &version, &payload).await?;
        // As long without a change: a machine may pause for a moment by itself.
        let unchanged = Traffic::new(&lab.client, ECHO, &payload, IN_FLIGHT)
            .requests(took)
            .await?;
        gap.pair(
            changed.gap.as_secs_f64() * 1e3,
            unchanged.gap.as_secs_f64() * 1e3,
        );
        lost.product((changed.errors + changed.unanswered) as f64);
    }
    host.end().await?;
    lab.close().await;
    Ok(rows([gap, lost]))
}

/// The load while the plugin is replaced, and how long that took.
async fn while_replaced(
    lab: &Lab,
    version: &Plugin,
    payload: &Bytes,
) -> anyhow::Result<(Load, Duration)> {
    let mut events = lab.client.subscribe("agent.*.ready").await?;
    client::settle(&lab.client).await?;
    let (begun, done) = (Instant::now(), AtomicBool::new(false));
    let replaced = async {
        version.write(lab.component(), &lab.plugins("host"))?;
        for _ in 0..AGENTS {
            let event = tokio::time::timeout(READY_WAIT, events.next()).await;
            event.context("the new version does not come up")?;
        }
        tokio::time::sleep(AFTER).await;
        done.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let goes_on = |now: Instant| !done.load(Ordering::Relaxed) && now - begun < READY_WAIT;
    let load = Traffic::new(&lab.client, ECHO, payload, IN_FLIGHT).requests_while(goes_on);
    let (load, ()) = tokio::try_join!(load, replaced)?;
    Ok((load, begun.elapsed()))
}
