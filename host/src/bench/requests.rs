//! Requests through NATS: a client, the server, and a host with one agent or a native handler, three
//! processes on one machine.

use bytes::Bytes;

use super::client::{self, Load};
use super::figures::{Series, rows};
use super::lab::{HostProcess, Lab, NativeProcess};
use super::native::Job;
use super::plugin::Plugin;
use super::{Bench, Row};

const PRODUCT: &str = "bench.echo";
const NATIVE: &str = "native.echo";

/// The figures of one case.
struct Figures {
    rate: Series,
    p50: Series,
    p99: Series,
    cpu: Series,
}

impl Figures {
    fn new(case: &str) -> Self {
        Self {
            rate: Series::new(case, "requests", "1/s"),
            p50: Series::new(case, "round trip p50", "µs"),
            p99: Series::new(case, "round trip p99", "µs"),
            cpu: Series::new(case, "CPU of a request", "µs"),
        }
    }

    fn into_series(self) -> [Series; 4] {
        [self.rate, self.p50, self.p99, self.cpu]
    }
}

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "request").await?;
    bench.tell("starting a host and a native handler");
    let plugin = Plugin::new("bench", 1).subscribe(PRODUCT, "queue = \"bench\"");
    let host = lab.host("host", &[plugin]).await?;
    let echo = Job::Echo {
        subject: NATIVE.to_owned(),
    };
    let native = lab.native(vec![echo]).await?;
    lab.answers(PRODUCT).await?;
    lab.answers(NATIVE).await?;
    let mut all = Vec::new();
    for in_flight in [1, 16, 256] {
        let case = format!("64 B, {in_flight} in flight");
        bench.tell(&case);
        let mut figures = Figures::new(&case);
        for _ in 0..bench.settings.rounds {
            round(bench, &lab, (&host, &native), in_flight, &mut figures).await?;
        }
        all.extend(figures.into_series());
    }
    drop(native);
    host.end().await?;
    lab.close().await;
    Ok(rows(all))
}

async fn round(
    bench: &Bench<'_>,
    lab: &Lab,
    (host, native): (&HostProcess, &NativeProcess),
    in_flight: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let payload = Bytes::from_static(&[b'x'; 64]);
    let before = host.cpu()?;
    let mut product = load(bench, lab, PRODUCT, &payload, in_flight).await?;
    let product_cpu = (host.cpu()? - before).as_secs_f64() * 1e6 / product.answers as f64;
    let before = native.cpu()?;
    let mut reference = load(bench, lab, NATIVE, &payload, in_flight).await?;
    let native_cpu = (native.cpu()? - before).as_secs_f64() * 1e6 / reference.answers as f64;
    figures
        .rate
        .pair(product.per_second(), reference.per_second());
    figures
        .p50
        .pair(product.quantile(0.5), reference.quantile(0.5));
    figures
        .p99
        .pair(product.quantile(0.99), reference.quantile(0.99));
    figures.cpu.pair(product_cpu, native_cpu);
    Ok(())
}

async fn load(
    bench: &Bench<'_>,
    lab: &Lab,
    subject: &str,
    payload: &Bytes,
    in_flight: usize,
) -> anyhow::Result<Load> {
    let time = bench.settings.turn;
    let load = client::requests(&lab.client, subject, payload, in_flight, time).await?;
    anyhow::ensure!(
        load.answers > 0 && load.errors == 0 && load.unanswered == 0,
        "{subject}: {} answers, {} errors, {} unanswered",
        load.answers,
        load.errors,
        load.unanswered
    );
    Ok(load)
}
