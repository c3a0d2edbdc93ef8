//! Scenario `servers`: the same work on several versions of nats-server, each alone and as a
//! cluster of three. They take turns within each round, so that a slow minute of the machine slows
//! all.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::client::Traffic;
use super::figures::{Series, rows};
use super::host_process::HostProcess;
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row, pipeline, work};
use mistersmith_nats::server;

/// Servers that form a cluster, in turn.
const SIZES: [usize; 2] = [1, 3];
const ECHO: &str = "bench.echo";
const IN_FLIGHT: usize = 256;
/// The figures of each server: name, figure and unit.
const FIGURES: [(&str, &str, &str); 3] = [
    ("work", "items", "1/s"),
    ("pipeline", "workflows", "1/s"),
    ("request", "requests", "1/s"),
];

/// One server or cluster, with a host on it.
struct Place {
    name: String,
    lab: Lab,
    host: HostProcess,
    /// The figures of each round, as in [`FIGURES`].
    rounds: [Vec<f64>; 3],
}

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let mut servers = bench.settings.compared.clone();
    if servers.is_empty() {
        servers.push(server::find(&bench.settings.servers).await?);
    }
    let mut all = Vec::new();
    for size in SIZES {
        let mut places = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let folder = format!("servers-{size}-{number}");
            places.push(Place::open(bench, &folder, server, size).await?);
        }
        for round in 0..bench.settings.rounds {
            for place in &mut places {
                bench.report(&format!("{}, round {}", place.name, round + 1));
                place.turn(bench).await?;
            }
        }
        all.extend(compared(&places));
        for place in places {
            place.host.end().await?;
            place.lab.close().await;
        }
    }
    Ok(rows(all))
}

impl Place {
    async fn open(
        bench: &Bench<'_>,
        folder: &str,
        server: &Path,
        size: usize,
    ) -> anyhow::Result<Self> {
        let lab = Lab::open_on(bench, folder, server, size).await?;
        let mut plugins = vec![
            Plugin::new("bench", work::AGENTS).work("bench", "*"),
            Plugin::new("echo", 1).subscribe(ECHO, "queue = \"bench\""),
        ];
        plugins.extend(pipeline::plugins());
        let host = lab.host("host", &plugins).await?;
        lab.answers(ECHO).await?;
        let version = lab.client.server_info().version;
        let servers = if size == 1 { "alone" } else { "three servers" };
        Ok(Self {
            name: format!("nats-server {version}, {servers}"),
            lab,
            host,
            rounds: Default::default(),
        })
    }

    async fn turn(&mut self, bench: &Bench<'_>) -> anyhow::Result<()> {
        let turn: Duration = bench.settings.turn;
        let items = work::feed(&self.lab.client, work::PRODUCT, turn).await?;
        let (_, workflows) = pipeline::feed(bench, &self.lab, "").await?;
        let payload = Bytes::from_static(&[b'x'; 64]);
        let load = Traffic::new(&self.lab.client, ECHO, &payload, IN_FLIGHT)
            .requests(turn)
            .await?;
        let figures = [items.per_second(), workflows, load.per_second()];
        for (rounds, figure) in self.rounds.iter_mut().zip(figures) {
            rounds.push(figure);
        }
        Ok(())
    }
}

/// Each place beside the fastest of them, round by round.
fn compared(places: &[Place]) -> Vec<Series> {
    let mut all = Vec::new();
    for (at, (what, figure, unit)) in FIGURES.into_iter().enumerate() {
        let of = |place: &Place| place.rounds.get(at).cloned().unwrap_or_default();
        let speed = |place: &Place| super::figures::median(of(place));
        let fastest = places.iter().max_by(|a, b| speed(a).total_cmp(&speed(b)));
        let Some(fastest) = fastest.map(of) else {
            continue;
        };
        for place in places {
            let case = format!("{what}, {}", place.name);
            let mut series = Series::new(case, figure, unit).against("the fastest");
            for (figure, best) in of(place).into_iter().zip(&fastest) {
                series.pair(figure, *best);
            }
            all.push(series);
        }
    }
    all
}
