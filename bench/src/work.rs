//! Scenario `work`: work items, each pulled, handled, its result stored, its acknowledgement
//! confirmed. The native handlers do the same with the client library alone, one without headers
//! and one with those of the host's results.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::client::Load;
use super::figures::{self, Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row, client};

pub(super) const PRODUCT: &str = "work.bench";
/// Items that may be begun once: each attempt is stored before it begins.
const ONCE: &str = "work.once";
const NATIVE: &str = "work.native";
const TRACED: &str = "work.traced";
/// Tasks that the items are spread over: a result is heard before its item is acknowledged, so that
/// more items are in the stream than are open, and the stream takes 1000 of one subject.
const TASKS: u64 = 8;
/// Items that are published and not yet done.
const OPEN: u64 = 512;
/// Agents; and what the native handler holds at once is [`OPEN`].
pub(super) const AGENTS: u32 = 4;
/// How long a result is waited for; longer than an item that was lost takes to come again.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "work").await?;
    bench.report("starting a host and two native handlers");
    let host = lab
        .host(
            "host",
            &[
                Plugin::new("bench", AGENTS).work("bench", "*"),
                Plugin::new("once", AGENTS).work_once("once", "*"),
            ],
        )
        .await?;
    // After the host, which makes the stream.
    let job = |domain: &str, headers| Job::Work {
        subject: format!("{domain}.*"),
        at_once: OPEN as usize,
        headers,
    };
    let native = lab.native(vec![job(NATIVE, false)]).await?;
    let traced = lab.native(vec![job(TRACED, true)]).await?;
    let case = format!("64 B, {OPEN} waiting, {AGENTS} agents");
    let mut plain = Figures::new(&case, figures::NATIVE);
    let mut same = Figures::new(&case, figures::SAME_HEADERS);
    let mut once = Figures::new(&format!("{case}, max_deliver = 1"), figures::SAME_HEADERS);
    for round in 0..bench.settings.rounds {
        bench.report(&format!("{case}, round {}", round + 1));
        let product = turn(bench, &lab, PRODUCT, || host.cpu()).await?;
        let reference = turn(bench, &lab, NATIVE, || native.cpu()).await?;
        plain.pair(&product, &reference);
        let reference = turn(bench, &lab, TRACED, || traced.cpu()).await?;
        same.pair(&product, &reference);
        let product = turn(bench, &lab, ONCE, || host.cpu()).await?;
        once.pair(&product, &reference);
    }
    drop((native, traced));
    host.end().await?;
    lab.close().await;
    Ok(rows([
        plain.rate, plain.cpu, same.rate, same.cpu, once.rate, once.cpu,
    ]))
}

/// The figures of one turn.
struct Turn {
    rate: f64,
    cpu: f64,
}

struct Figures {
    rate: Series,
    cpu: Series,
}

impl Figures {
    fn new(case: &str, beside: &'static str) -> Self {
        Self {
            rate: Series::new(case, "items", "1/s").against(beside),
            cpu: Series::new(case, "CPU of an item", "µs").against(beside),
        }
    }

    fn pair(&mut self, product: &Turn, reference: &Turn) {
        self.rate.pair(product.rate, reference.rate);
        self.cpu.pair(product.cpu, reference.cpu);
    }
}

async fn turn(
    bench: &Bench<'_>,
    lab: &Lab,
    domain: &'static str,
    cpu: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Turn> {
    let before = cpu()?;
    let done = feed(&lab.client, domain, bench.settings.turn).await?;
    let used = cpu()? - before;
    Ok(Turn {
        rate: done.per_second(),
        cpu: used.as_secs_f64() * 1e6 / done.items as f64,
    })
}

/// The outcome of a load.
pub(super) struct Done {
    items: u64,
    took: Duration,
}

impl Done {
    pub(super) fn per_second(&self) -> f64 {
        self.items as f64 / self.took.as_secs_f64()
    }
}

/// Publishes items for a time, the next one when a result comes, and waits for all results.
pub(super) async fn feed(
    client: &Client,
    domain: &'static str,
    time: Duration,
) -> anyhow::Result<Done> {
    let mut results = results(client).await?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    let publish = |number: u64| {
        let subject = format!("{domain}.task-{}", number % TASKS);
        client.publish(subject, payload.clone())
    };
    let begun = Instant::now();
    let (mut sent, mut items) = (0, 0);
    while sent < OPEN {
        publish(sent).await?;
        sent += 1;
    }
    while items < sent {
        next(&mut results, items, sent).await?;
        items += 1;
        if begun.elapsed() < time {
            publish(sent).await?;
            sent += 1;
        }
    }
    let took = begun.elapsed();
    Ok(Done { items, took })
}

/// Publishes items one by one, each when the one before is done.
pub(super) async fn one_by_one(
    client: &Client,
    domain: &'static str,
    items: u64,
) -> anyhow::Result<Load> {
    let mut results = results(client).await?;
    let mut load = Load::default();
    for number in 0..items {
        let begun = Instant::now();
        let subject = format!("{domain}.task-{}", number % TASKS);
        client.publish(subject, "x".into()).await?;
        next(&mut results, number, items).await?;
        load.note(begun.elapsed());
    }
    Ok(load)
}

/// Publishes items together, and waits for all results.
pub(super) async fn together(
    client: &Client,
    domain: &'static str,
    items: u64,
) -> anyhow::Result<Done> {
    let mut results = results(client).await?;
    let begun = Instant::now();
    for number in 0..items {
        let subject = format!("{domain}.task-{}", number % TASKS);
        client.publish(subject, "x".into()).await?;
    }
    for number in 0..items {
        next(&mut results, number, items).await?;
    }
    let took = begun.elapsed();
    Ok(Done { items, took })
}

/// The results of all agents, from now on.
async fn results(client: &Client) -> anyhow::Result<Subscriber> {
    let results = client.subscribe("agent.*.resp.*").await?;
    client::settle(client).await?;
    Ok(results)
}

async fn next(results: &mut Subscriber, items: u64, sent: u64) -> anyhow::Result<()> {
    let result = tokio::time::timeout(PATIENCE, results.next()).await;
    let result = result.with_context(|| format!("only {items} of {sent} items are done"))?;
    ensure!(result.is_some(), "the connection has ended");
    Ok(())
}

/// Publishes so many items from several connections, each item until the stream has stored it, and
/// waits for all results. Returns also how often the stream refused one.
pub(super) async fn crowd(
    lab: &Lab,
    subject: &'static str,
    publishers: u64,
    items: u64,
) -> anyhow::Result<(Done, u64)> {
    let mut results = results(&lab.client).await?;
    let mut clients = Vec::new();
    for _ in 0..publishers {
        clients.push(lab.connect().await?);
    }
    let begun = Instant::now();
    let each = items.div_ceil(publishers);
    let publishing = clients.into_iter().map(|client| async move {
        let jetstream = async_nats::jetstream::new(client);
        let mut refused = 0_u64;
        for _ in 0..each {
            while !store(&jetstream, subject).await? {
                refused += 1;
                ensure!(begun.elapsed() < PATIENCE * 4, "the stream stays full");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        anyhow::Ok(refused)
    });
    let publishing = futures_util::future::try_join_all(publishing);
    let counting = async {
        let total = each * publishers;
        for items in 0..total {
            next(&mut results, items, total).await?;
        }
        Ok(total)
    };
    let (refused, items) = futures_util::future::try_join(publishing, counting).await?;
    let took = begun.elapsed();
    Ok((Done { items, took }, refused.iter().sum()))
}

/// Whether the stream has stored an item; false when it refuses.
async fn store(
    jetstream: &async_nats::jetstream::Context,
    subject: &'static str,
) -> anyhow::Result<bool> {
    let payload = Bytes::from_static(&[b'x'; 64]);
    Ok(jetstream.publish(subject, payload).await?.await.is_ok())
}
