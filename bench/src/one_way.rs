//! Scenario `one-way`: messages without reply, one at a time and in batches, sent no faster than
//! the agent takes them.

use bytes::Bytes;

use super::client::{Flow, Traffic};
use super::figures::{Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row};

const SINGLE: &str = "single.count";
const BATCHED: &str = "batched.count";
const NATIVE: &str = "native.count";

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "one-way").await?;
    bench.report("starting a host and a native handler");
    let single = Plugin::new("single", 1).subscribe(SINGLE, "");
    let batched = Plugin::new("batched", 1).subscribe(BATCHED, "batch = 64\nbatch_wait = \"5ms\"");
    let host = lab.host("host", &[single, batched]).await?;
    let count = Job::Count {
        subject: NATIVE.to_owned(),
    };
    let native = lab.native(vec![count]).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let mut all = Vec::new();
    for (subject, how) in [(SINGLE, "one at a time"), (BATCHED, "in batches of 64")] {
        lab.answers_number(subject).await?;
        let case = format!("64 B, {how}");
        bench.report(&case);
        let mut rate = Series::new(&case, "messages", "1/s");
        let mut cpu = Series::new(&case, "CPU of a message", "µs");
        for _ in 0..bench.settings.rounds {
            let before = host.cpu()?;
            let product = stream(bench, &lab, subject, &payload).await?;
            let product_cpu = (host.cpu()? - before).as_secs_f64() * 1e6 / product.counted as f64;
            let before = native.cpu()?;
            let reference = stream(bench, &lab, NATIVE, &payload).await?;
            let native_cpu =
                (native.cpu()? - before).as_secs_f64() * 1e6 / reference.counted as f64;
            rate.pair(product.per_second(), reference.per_second());
            cpu.pair(product_cpu, native_cpu);
        }
        all.extend([rate, cpu]);
    }
    drop(native);
    host.end().await?;
    lab.close().await;
    Ok(rows(all))
}

async fn stream(
    bench: &Bench<'_>,
    lab: &Lab,
    subject: &str,
    payload: &Bytes,
) -> anyhow::Result<Flow> {
    Traffic::new(&lab.client, subject, payload, 1)
        .stream(bench.settings.turn)
        .await
}
