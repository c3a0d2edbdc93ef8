//! Scenario `request`: requests through NATS. A client, the server, and a host with one agent or a
//! native handler are three processes on one machine.

use std::time::Duration;

use bytes::Bytes;

use super::client::{Load, Traffic};
use super::figures::{self, Series, rows};
use super::lab::Lab;
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row};

const PRODUCT: &str = "bench.echo";
const BATCHED: &str = "batched.echo";
const NATIVE: &str = "native.echo";
const TRACED: &str = "traced.echo";

/// The figures of one turn.
struct Turn {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

/// The figures of one case.
struct Figures([Series; 4]);

impl Figures {
    fn new(case: &str, beside: &'static str) -> Self {
        let series = |figure, unit| Series::new(case, figure, unit).against(beside);
        Self([
            series("requests", "1/s"),
            series("round trip p50", "µs"),
            series("round trip p99", "µs"),
            series("CPU of a request", "µs"),
        ])
    }

    fn pair(&mut self, product: &Turn, reference: &Turn) {
        let of = |turn: &Turn| [turn.rate, turn.p50, turn.p99, turn.cpu];
        let figures = of(product).into_iter().zip(of(reference));
        for (series, (product, reference)) in self.0.iter_mut().zip(figures) {
            series.pair(product, reference);
        }
    }
}

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "request").await?;
    bench.report("starting a host and two native handlers");
    let plugin = Plugin::new("bench", 1).subscribe(PRODUCT, "queue = \"bench\"");
    let together = "queue = \"batched\"\nbatch = 32\nbatch_wait = \"0ms\"";
    let batched = Plugin::new("batched", 1).subscribe(BATCHED, together);
    let host = lab.host("host", &[plugin, batched]).await?;
    let echo = |subject: &str, headers| Job::Echo {
        subject: subject.to_owned(),
        headers,
    };
    let native = lab.native(vec![echo(NATIVE, false)]).await?;
    let traced = lab.native(vec![echo(TRACED, true)]).await?;
    for subject in [PRODUCT, BATCHED, NATIVE, TRACED] {
        lab.answers(subject).await?;
    }
    let mut all = Vec::new();
    let batches = "64 B, 256 in flight, in batches".to_owned();
    let single = [1, 16, 256].map(|n| (n, PRODUCT, format!("64 B, {n} in flight")));
    for (in_flight, subject, case) in single.into_iter().chain([(256, BATCHED, batches)]) {
        bench.report(&case);
        let mut plain = Figures::new(&case, figures::NATIVE);
        let mut same = Figures::new(&case, figures::SAME_HEADERS);
        for _ in 0..bench.settings.rounds {
            let product = turn(bench, &lab, subject, in_flight, || host.cpu()).await?;
            let reference = turn(bench, &lab, NATIVE, in_flight, || native.cpu()).await?;
            plain.pair(&product, &reference);
            let reference = turn(bench, &lab, TRACED, in_flight, || traced.cpu()).await?;
            same.pair(&product, &reference);
        }
        all.extend(plain.0.into_iter().chain(same.0));
    }
    drop((native, traced));
    host.end().await?;
    lab.close().await;
    Ok(rows(all))
}

async fn turn(
    bench: &Bench<'_>,
    lab: &Lab,
    subject: &str,
    in_flight: usize,
    cpu: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Turn> {
    let payload = Bytes::from_static(&[b'x'; 64]);
    let before = cpu()?;
    let mut load = load(bench, lab, subject, &payload, in_flight).await?;
    let used = cpu()? - before;
    Ok(Turn {
        rate: load.per_second(),
        p50: load.quantile(0.5),
        p99: load.quantile(0.99),
        cpu: used.as_secs_f64() * 1e6 / load.answers as f64,
    })
}

async fn load(
    bench: &Bench<'_>,
    lab: &Lab,
    subject: &str,
    payload: &Bytes,
    in_flight: usize,
) -> anyhow::Result<Load> {
    let time = bench.settings.turn;
    let load = Traffic::new(&lab.client, subject, payload, in_flight)
        .requests(time)
        .await?;
    anyhow::ensure!(
        load.answers > 0 && load.errors == 0 && load.unanswered == 0,
        "{subject}: {} answers, {} errors, {} unanswered",
        load.answers,
        load.errors,
        load.unanswered
    );
    Ok(load)
}
