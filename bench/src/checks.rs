//! Scenario `permissions`: the permission check alone, with few grants and with many, allowed by
//! the last of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::figures::{Series, median, rows};
use super::{Bench, Row};
use mistersmith_core::names::{AgentId, PluginName, SubjectPattern};
use mistersmith_core::permissions::{PermissionSpec, Permissions};

/// Checks between two readings of the clock.
const CHUNK: u32 = 100;

pub(super) async fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    for grants in [1, 1000] {
        let patterns: Vec<String> = (1..=grants)
            .map(|n| format!("results.unit-{n}.*"))
            .collect();
        let subject = format!("results.unit-{grants}.done");
        let plugin: PluginName = "bench".parse()?;
        let spec = PermissionSpec {
            publish: patterns.clone(),
            ..PermissionSpec::default()
        };
        let permissions = Permissions::compile(&spec, &plugin, &AgentId::new(&plugin, 1));
        let list: Vec<SubjectPattern> = patterns
            .iter()
            .map(|pattern| pattern.parse())
            .collect::<Result<_, _>>()?;
        ensure!(permissions.publish(&subject).is_ok());
        ensure!(permissions.publish("results.other.done").is_err());
        let case = format!("{grants} grants, the last one matches");
        let mut series =
            Series::new(case.clone(), "time of a check", "ns").against("search through a list");
        for round in 0..bench.settings.rounds {
            bench.report(&format!("{case}, round {}", round + 1));
            let time = bench.settings.turn;
            let product = turn(time, || permissions.publish(black_box(&subject)).is_ok());
            let linear = turn(time, || {
                list.iter()
                    .any(|pattern| pattern.matches(black_box(&subject)))
            });
            series.pair(product, linear);
            // It computes without a pause: others may want to run too.
            tokio::task::yield_now().await;
        }
        all.push(series);
    }
    Ok(rows(all))
}

/// The median of small groups of checks, in nanoseconds for each.
fn turn(time: Duration, check: impl Fn() -> bool) -> f64 {
    let mut chunks = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time || chunks.is_empty() {
        let chunk = Instant::now();
        for _ in 0..CHUNK {
            black_box(check());
        }
        chunks.push(chunk.elapsed().as_secs_f64() * 1e9 / f64::from(CHUNK));
    }
    median(chunks)
}
