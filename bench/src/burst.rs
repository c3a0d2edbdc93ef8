//! Scenario `burst`: messages without reply, sent as fast as a connection takes them. Measures how
//! many are lost, and how long the receivers take to count the others.

use bytes::Bytes;

use super::client::{Flow, Traffic};
use super::figures::{Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row};

const SINGLE: &str = "single.count";
const GROUP: &str = "group.count";
const BATCHED: &str = "batched.count";
const NATIVE: &str = "native.count";
/// More than the queue of any client holds.
const BURST: u32 = 200_000;

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "burst").await?;
    bench.report("starting a host and a native handler");
    let single = Plugin::new("single", 1).subscribe(SINGLE, "");
    let group = Plugin::new("group", 1).subscribe(GROUP, "queue = \"group\"");
    let batched = Plugin::new("batched", 1).subscribe(BATCHED, "batch = 64\nbatch_wait = \"5ms\"");
    let host = lab.host("host", &[single, group, batched]).await?;
    let count = Job::Count {
        subject: NATIVE.to_owned(),
    };
    let native = lab.native(vec![count]).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let messages = bench.messages(BURST);
    let mut all = Vec::new();
    for (subject, how) in [
        (SINGLE, "one at a time"),
        (GROUP, "one at a time, a queue group"),
        (BATCHED, "in batches of 64"),
    ] {
        lab.answers_number(subject).await?;
        let case = format!("{messages} of 64 B, {how}");
        bench.report(&case);
        let mut lost = Series::new(&case, "lost", "messages");
        let mut took = Series::new(&case, "until the others were counted", "ms");
        for _ in 0..bench.settings.rounds {
            let product = Traffic::new(&lab.client, subject, &payload, 1)
                .burst(messages)
                .await?;
            let reference = Traffic::new(&lab.client, NATIVE, &payload, 1)
                .burst(messages)
                .await?;
            lost.pair(missing(&product), missing(&reference));
            took.pair(milliseconds(&product), milliseconds(&reference));
        }
        all.extend([lost, took]);
    }
    drop(native);
    host.end().await?;
    lab.close().await;
    Ok(rows(all))
}

fn missing(flow: &Flow) -> f64 {
    flow.sent.saturating_sub(flow.counted) as f64
}

fn milliseconds(flow: &Flow) -> f64 {
    flow.took.as_secs_f64() * 1e3
}
