//! Scenario `start`: the time from the start of the host's process until its agents are ready, on a
//! NATS server that runs already.

use std::time::Instant;

use super::figures::{Series, rows};
use super::lab::Lab;
use super::plugin::Plugin;
use super::{Bench, Row};

/// Starts take long: more rounds than these are not made.
const MOST_ROUNDS: u32 = 5;
const ECHO: &str = "bench.echo";

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "start").await?;
    let rounds = bench.settings.rounds.min(MOST_ROUNDS);
    let mut all = first_reply(bench, &lab, rounds).await?;
    for agents in bench.sizes(&[1, 200, 1000]) {
        let plugins = [Plugin::new("bench", agents)];
        let what = format!("agents of one plugin: {agents}");
        all.extend(starts(bench, &lab, rounds, &what, &plugins).await?);
    }
    if let Some(most) = bench.sizes(&[200]).first() {
        let plugins: Vec<Plugin> = (0..*most)
            .map(|number| Plugin::new(format!("bench-a{number}"), 1))
            .collect();
        let what = format!("plugins with one agent each: {most}");
        all.extend(starts(bench, &lab, rounds, &what, &plugins).await?);
    }
    lab.close().await;
    Ok(rows(all))
}

/// Until an outside client has an answer of the agent.
async fn first_reply(bench: &Bench<'_>, lab: &Lab, rounds: u32) -> anyhow::Result<Vec<Series>> {
    let plugin = Plugin::new("bench", 1).subscribe(ECHO, "queue = \"bench\"");
    let plugins = [plugin];
    // Compiles the component and makes the streams.
    lab.host("first", &plugins).await?.end().await?;
    let mut reply = Series::new("1 agent, compiled before", "until the first reply", "ms");
    for round in 0..rounds {
        bench.report(&format!("the first reply, round {}", round + 1));
        let begun = Instant::now();
        let (host, answered) = tokio::join!(lab.host("first", &plugins), async {
            lab.answers(ECHO).await.map(|()| begun.elapsed())
        });
        let host = host?;
        reply.product(answered?.as_secs_f64() * 1e3);
        host.end().await?;
    }
    Ok(vec![reply])
}

/// Cold: nothing is compiled yet. Warm: the same host again.
async fn starts(
    bench: &Bench<'_>,
    lab: &Lab,
    rounds: u32,
    what: &str,
    plugins: &[Plugin],
) -> anyhow::Result<Vec<Series>> {
    let mut all = Vec::new();
    let series = |how: &str| {
        let case = format!("{what}, {how}");
        [
            Series::new(&case, "until the first is ready", "ms"),
            Series::new(&case, "until all are ready", "ms"),
        ]
    };
    let (mut cold, mut warm) = (series("cold"), series("compiled before"));
    for round in 0..rounds {
        let folder = format!("{}-{round}", what.replace([' ', ':'], "-"));
        for (how, series) in [("cold", &mut cold), ("compiled before", &mut warm)] {
            bench.report(&format!("{what}, {how}, round {}", round + 1));
            let host = lab.host(&folder, plugins).await?;
            let [first, every] = series;
            first.product(host.first_ready.as_secs_f64() * 1e3);
            every.product(host.all_ready.as_secs_f64() * 1e3);
            host.end().await?;
        }
    }
    all.extend(cold);
    all.extend(warm);
    Ok(all)
}
