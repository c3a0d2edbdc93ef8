//! The benchmark: measures the host beside a native handler that does the same steps, in one run.
//!
//! Each scenario has its own nats-server, folders and processes, is bounded in time, and ends
//! everything that it started. Host and native handler are separate processes, so their CPU time
//! and memory are measured apart from the load. A figure that cannot be measured is an error: a
//! guess would look like a result.

#![allow(
    clippy::disallowed_methods,
    reason = "a tool that reads its own files and prints"
)]

mod burst;
pub mod calls;
mod checks;
mod client;
mod cluster;
pub mod command;
mod fanout;
mod figures;
mod growth;
mod guard;
mod host_process;
mod lab;
mod memory;
pub mod native;
mod neighbours;
mod one_way;
mod output;
mod pipeline;
mod plugin;
mod process;
mod replace;
mod requests;
mod scale;
mod scatter;
mod servers;
mod starting;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use figures::{Reference, RoundStats, Row};
use mistersmith_nats::server::Places;

/// The settings of a benchmark.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often product and native handler take turns.
    pub rounds: u32,
    /// How long each turn takes.
    pub turn: Duration,
    /// Scenarios that start many agents, or many plugins, start at most so many.
    pub most_agents: u32,
    /// Where to look for the program nats-server.
    pub servers: Places,
    /// The program `mistersmith`.
    pub host: PathBuf,
    /// The program that is the native handler: this one.
    pub native: PathBuf,
    /// The component of the plugin `bench`.
    pub component: PathBuf,
    /// The nats-servers that are compared with each other; all else runs on the one that a host
    /// would start for itself.
    pub compared: Vec<PathBuf>,
    /// A folder that is empty and nobody else's.
    pub folder: PathBuf,
}

/// A running benchmark.
pub struct Bench<'a> {
    /// Its settings.
    pub settings: &'a Settings,
    /// Called with each step.
    pub progress: &'a (dyn Fn(&str) + Send + Sync),
}

impl Bench<'_> {
    fn report(&self, what: &str) {
        (self.progress)(what);
    }

    /// The numbers of agents that may be started, of those that are wanted; never none.
    fn sizes(&self, wanted: &[u32]) -> Vec<u32> {
        let most = self.settings.most_agents.max(1);
        let mut sizes: Vec<u32> = wanted.iter().map(|size| (*size).min(most)).collect();
        sizes.dedup();
        sizes
    }

    /// A number of messages that takes about a turn, of what takes a second.
    fn messages(&self, of_a_second: u32) -> u64 {
        let scaled = f64::from(of_a_second) * self.settings.turn.as_secs_f64();
        (scaled as u64).clamp(100, u64::from(of_a_second))
    }
}

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    run: Run,
}

type Run = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, anyhow::Result<Vec<Row>>>;

impl Scenario {
    /// Runs the scenario.
    ///
    /// # Errors
    /// It cannot be measured; nothing is reported in its place.
    pub async fn run(&self, bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
        (self.run)(bench).await
    }
}

/// A row of the table of scenarios.
macro_rules! scenario {
    ($name:literal, $about:literal, $run:path) => {
        Scenario {
            name: $name,
            about: $about,
            run: |bench| Box::pin($run(bench)),
        }
    };
}

/// All of them, in the order in which they run.
pub const SCENARIOS: &[Scenario] = &[
    scenario!(
        "call",
        "a call of a running agent, in process; also with a publish, and with a read of a key",
        calls::warm
    ),
    scenario!(
        "fresh",
        "a new instance for each message, in process",
        calls::fresh
    ),
    scenario!(
        "permissions",
        "one permission check, beside a search through the list of grants",
        checks::run
    ),
    scenario!(
        "request",
        "request and reply through NATS with 1, 16 and 256 in flight",
        requests::run
    ),
    scenario!(
        "one-way",
        "messages without reply, one at a time and in batches",
        one_way::run
    ),
    scenario!(
        "burst",
        "a burst of 200,000 messages without reply, and what is lost of it",
        burst::run
    ),
    scenario!(
        "work",
        "work items end to end: pulled, handled, result stored, acknowledged",
        work::run
    ),
    scenario!(
        "pipeline",
        "workflows of four stages: inputs, outputs and events stored, acknowledged",
        pipeline::run
    ),
    scenario!(
        "scatter",
        "one question to 1, 10 and 100 agents, until all have answered",
        scatter::run
    ),
    scenario!(
        "start",
        "start of 1, 200 and 1000 agents of a plugin, and of 200 plugins",
        starting::run
    ),
    scenario!(
        "memory",
        "memory of a host and of each agent, and what an idle host computes",
        memory::run
    ),
    scenario!(
        "neighbours",
        "a good agent beside one that computes, and one that floods",
        neighbours::run
    ),
    scenario!(
        "growth",
        "the same load on 2 to 2000 agents, and on 1 to 3 hosts",
        growth::run
    ),
    scenario!(
        "fan-out",
        "10 publishers to 50 agents on work.nlp.test, 1 to 200 on broadcast.global.test",
        fanout::run
    ),
    scenario!(
        "servers",
        "work items, workflows and requests on each `--nats-server`, alone and as a cluster of \
         three",
        servers::run
    ),
    scenario!(
        "scale",
        "20 hosts with 10,000 and 60,000 agents together on three servers; see --most-agents",
        scale::run
    ),
    scenario!(
        "replace",
        "a plugin is replaced while it is asked",
        replace::run
    ),
];

/// The version of the nats-server that is measured with.
///
/// # Errors
/// It does not start.
pub async fn server_version(bench: &Bench<'_>) -> anyhow::Result<String> {
    let lab = lab::Lab::open(bench, "version").await?;
    let version = lab.client.server_info().version;
    lab.close().await;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_can_be_typed() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(scenario.name.chars().all(plain), "{}", scenario.name);
            let others = SCENARIOS.iter().skip(index + 1);
            assert!(others.clone().all(|other| other.name != scenario.name));
        }
    }
}
