//! Scenario `neighbours`: an agent beside one that computes without a pause, and beside one that
//! publishes without a pause, on the same host; the reference is the same agent with quiet
//! neighbours.

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::client::Traffic;
use super::figures::{Series, rows};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row, client};

const GOOD: &str = "good.echo";
/// How long one message makes a bad agent busy, in milliseconds: within its limit of CPU time.
const BUSY: &str = "100";
/// The bad ones: the subject that sets them off, and what they do.
const BAD: [(&str, &str); 2] = [("bad.spin", "computes"), ("bad.flood", "floods")];

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "neighbours").await?;
    bench.report("starting a host");
    let mut plugins = vec![Plugin::new("good", 1).subscribe(GOOD, "queue = \"good\"")];
    for (subject, what) in BAD {
        plugins.push(Plugin::new(what, 1).subscribe(subject, "queue = \"bad\""));
    }
    let host = lab.host("host", &plugins).await?;
    lab.answers(GOOD).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let mut all = Vec::new();
    for (subject, what) in BAD {
        for in_flight in [1, 16] {
            let case = format!("beside one that {what}, {in_flight} in flight");
            bench.report(&case);
            let mut p99 = Series::new(&case, "round trip p99", "µs").against("alone");
            let mut rate = Series::new(&case, "requests", "1/s").against("alone");
            for _ in 0..bench.settings.rounds {
                let load = || {
                    Traffic::new(&lab.client, GOOD, &payload, in_flight)
                        .requests(bench.settings.turn)
                };
                let mut alone = load().await?;
                let bad = keep_busy(&lab, subject).await?;
                let mut beside = load().await?;
                drop(bad);
                // The last message that set it off must be over before the next turn.
                client::ask(&lab.client, subject, "1").await?;
                p99.pair(beside.quantile(0.99), alone.quantile(0.99));
                rate.pair(beside.per_second(), alone.per_second());
            }
            all.extend([p99, rate]);
        }
    }
    host.end().await?;
    lab.close().await;
    Ok(rows(all))
}

/// Sets a bad agent off again whenever it has become quiet, until dropped.
async fn keep_busy(lab: &Lab, subject: &'static str) -> anyhow::Result<AbortOnDropHandle<()>> {
    let client = lab.connect().await?;
    client::ask(&client, subject, "1").await?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        // When nobody answers any more, the turn that is measured fails too.
        while client::ask(&client, subject, BUSY).await.is_ok() {}
    })))
}
