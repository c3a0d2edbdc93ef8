//! The two loads that `nats bench` is asked for: 10 publishers and 50 subscribers on
//! `work.nlp.test`, 1 publisher and 200 subscribers on `broadcast.global.test`.
//!
//! On `work.nlp.test` the subscribers are agents that take work: each item is handled once, and
//! none may be lost. The native handler does the same steps with as many items at once.

use bytes::Bytes;

use super::client::Traffic;
use super::figures::{Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row, work};

const PUBLISHERS: u64 = 10;
const WORKERS: u32 = 50;
const WORK: &str = "work.nlp.test";
const NATIVE_WORK: &str = "work.native.test";
/// Messages of the command for the work.
const ITEMS: u32 = 10_000;

const LISTENERS: u32 = 200;
const BROADCAST: &str = "broadcast.global.test";
const NATIVE_BROADCAST: &str = "native.global.test";
/// A burst of broadcasts; each is delivered to every listener.
const BROADCASTS: u32 = 10_000;

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "fan-out").await?;
    let mut all = items(bench, &lab).await?;
    all.extend(broadcasts(bench, &lab).await?);
    lab.close().await;
    Ok(rows(all))
}

async fn items(bench: &Bench<'_>, lab: &Lab) -> anyhow::Result<Vec<Series>> {
    let workers = WORKERS.min(bench.settings.most_agents);
    bench.report("starting workers");
    let plugin = Plugin::new("worker", workers).work("nlp", "test");
    let host = lab.host("workers", &[plugin]).await?;
    let job = Job::Work {
        subject: NATIVE_WORK.to_owned(),
        at_once: workers as usize,
        headers: false,
    };
    let native = lab.native(vec![job]).await?;
    let messages = bench.messages(ITEMS);
    let case = format!("{WORK}: {PUBLISHERS} publishers, {workers} subscribers, {messages} items");
    let mut rate = Series::new(&case, "items", "1/s");
    let mut refused = Series::new(&case, "refused by the full stream, sent again", "items");
    for round in 0..bench.settings.rounds {
        bench.report(&format!("{case}, round {}", round + 1));
        let (product, again) = work::crowd(lab, WORK, PUBLISHERS, messages).await?;
        let (reference, native_again) = work::crowd(lab, NATIVE_WORK, PUBLISHERS, messages).await?;
        rate.pair(product.per_second(), reference.per_second());
        refused.pair(again as f64, native_again as f64);
    }
    drop(native);
    host.end().await?;
    Ok(vec![rate, refused])
}

async fn broadcasts(bench: &Bench<'_>, lab: &Lab) -> anyhow::Result<Vec<Series>> {
    let listeners = LISTENERS.min(bench.settings.most_agents);
    bench.report("starting listeners");
    let plugin = Plugin::new("listener", listeners).subscribe(BROADCAST, "");
    let host = lab.host("listeners", &[plugin]).await?;
    let job = Job::CountWith {
        subject: NATIVE_BROADCAST.to_owned(),
        subscribers: listeners,
    };
    let native = lab.native(vec![job]).await?;
    let count = listeners as usize;
    let (payload, time) = (Bytes::from_static(&[b'x'; 64]), bench.settings.turn);
    let case = format!("{BROADCAST}: 1 publisher, {listeners} subscribers");
    let mut rate = Series::new(
        format!("{case}, no faster than they take"),
        "deliveries",
        "1/s",
    );
    let messages = bench.messages(BROADCASTS);
    let mut dropped = Series::new(
        format!("{case}, burst of {messages}"),
        "dropped",
        "% of deliveries",
    );
    for round in 0..bench.settings.rounds {
        bench.report(&format!("{case}, round {}", round + 1));
        let client = &lab.client;
        let product = Traffic::new(client, BROADCAST, &payload, count)
            .stream(time)
            .await?;
        let reference = Traffic::new(client, NATIVE_BROADCAST, &payload, count)
            .stream(time)
            .await?;
        rate.pair(product.per_second(), reference.per_second());
        let lost = |counted: u64| 100.0 - counted as f64 * 100.0 / (messages as f64 * count as f64);
        let product = Traffic::new(client, BROADCAST, &payload, count)
            .burst(messages)
            .await?;
        let reference = Traffic::new(client, NATIVE_BROADCAST, &payload, count)
            .burst(messages)
            .await?;
        dropped.pair(lost(product.counted), lost(reference.counted));
    }
    drop(native);
    host.end().await?;
    Ok(vec![rate, dropped])
}
