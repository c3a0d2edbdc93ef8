//! Messages that nobody answers: how many an agent takes, one at a time and in batches, when no more
//! are sent than it takes; and what a burst without any restraint loses.

use bytes::Bytes;

use super::client::{self, Flow};
use super::figures::{Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row};

const SINGLE: &str = "single.count";
const BATCHED: &str = "batched.count";
const NATIVE: &str = "native.count";
/// The burst that is known to overflow the queues of clients.
const BURST: u32 = 200_000;

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "one-way").await?;
    bench.tell("starting a host and a native handler");
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
        bench.tell(&case);
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
    let messages = bench.messages(BURST);
    for (subject, how) in [(SINGLE, "one at a time"), (BATCHED, "in batches of 64")] {
        let case = format!("burst of {messages}, {how}");
        bench.tell(&case);
        let mut dropped = Series::new(&case, "dropped", "messages");
        for _ in 0..bench.settings.rounds {
            let product = client::burst(&lab.client, subject, &payload, 1, messages).await?;
            let reference = client::burst(&lab.client, NATIVE, &payload, 1, messages).await?;
            dropped.pair(missing(&product), missing(&reference));
        }
        all.push(dropped);
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
    client::stream(&lab.client, subject, payload, 1, bench.settings.turn).await
}

fn missing(flow: &Flow) -> f64 {
    flow.sent.saturating_sub(flow.counted) as f64
}
