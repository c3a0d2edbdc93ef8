//! The command line: runs scenarios, and prints the figures and the machine.

mod machine;
mod plot;
mod report;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use machine::Machine;
use mistersmith_nats::server::Places;

use crate::output;
use crate::{Bench, Row, SCENARIOS, Scenario, Settings, native, server_version};

/// How long hosts and servers may take to end when the benchmark is interrupted.
const END_WAIT: Duration = Duration::from_secs(1);

/// The warning of a build without optimisation.
const DEBUG: &str = "THIS IS A DEBUG BUILD: its figures say nothing about the product. \
                     Use `make bench`, or `cargo build --release`.";

/// Measure MisterSmith beside native handlers that do the same, in turns
#[derive(Debug, clap::Parser)]
#[command(name = "mistersmith-bench", version, max_term_width = 100)]
pub struct Args {
    /// What to measure [default: all of `--list`, in that order]
    #[arg(value_name = "SCENARIO", value_parser = scenario)]
    scenarios: Vec<&'static Scenario>,
    /// Show the scenarios, and measure nothing
    #[arg(long)]
    list: bool,
    /// How often product and native handler take turns
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each turn takes
    #[arg(long, default_value_t = 1.0, value_name = "S", value_parser = seconds)]
    seconds: f64,
    /// Start at most so many agents, or plugins
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    most_agents: u32,
    /// The folder that has the plugin `bench`, compiled
    #[arg(long, default_value = "tests/plugins", value_name = "DIR")]
    plugins: PathBuf,
    /// The host to measure [default: `mistersmith` beside this program]
    #[arg(long, value_name = "PATH")]
    host: Option<PathBuf>,
    /// The nats-server to measure on [default: the one that a host would start]
    #[arg(long, env = "MISTERSMITH_NATS_SERVER", value_name = "PATH")]
    server: Option<PathBuf>,
    /// Compare this server with others in the scenario `servers`; may be given several times
    /// [default: the one that a host would start]
    #[arg(long = "nats-server", value_name = "PATH")]
    servers: Vec<PathBuf>,
    /// Write a plot of each scenario into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Be the native handler: what the program starts itself with
    #[arg(long, hide = true)]
    native: bool,
}

/// The scenario of this name.
fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| {
        let all: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!("the scenarios are {}", all.join(", "))
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=60.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("a turn takes 0.01 to 60 seconds".to_owned())
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rounds: u32,
    seconds: f64,
    most_agents: u32,
    scenarios: Vec<Measured>,
}

/// The result of a scenario.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    about: &'static str,
    /// The server; the rows of `servers` name theirs.
    server: String,
    rows: Vec<Row>,
    /// Why there are no rows.
    error: Option<String>,
    took_seconds: f64,
}

/// Runs the chosen scenarios.
///
/// # Errors
/// A scenario could not be measured, or a signal stopped the benchmark.
pub async fn run(args: Args, stopped: CancellationToken) -> anyhow::Result<()> {
    if args.native {
        return be_native().await;
    }
    let wanted = match args.scenarios.as_slice() {
        [] => SCENARIOS.iter().collect(),
        named => named.to_vec(),
    };
    if args.list {
        let rows = wanted.iter().map(|s| [s.name, s.about].map(str::to_owned));
        let rows: Vec<[String; 2]> = rows.collect();
        return output::line(&output::table(["scenario", "measures"], &rows));
    }
    let folder = Folder::new()?;
    let settings = settings(&args, &folder)?;
    if cfg!(debug_assertions) {
        output::remark(DEBUG);
    }
    let measured = tokio::select! {
        biased;
        () = stopped.cancelled() => None,
        measured = measure(&args, &settings, &wanted) => Some(measured?),
    };
    let Some(report) = measured else {
        // What was started is told to end, and writes into the folder until it has.
        tokio::time::sleep(END_WAIT).await;
        bail!("stopped before the end");
    };
    show(&args, &report)
}

/// Resolves the programs, the component and the folder that a benchmark uses.
fn settings(args: &Args, folder: &Folder) -> anyhow::Result<Settings> {
    let this = std::env::current_exe().context("cannot tell which file this program is")?;
    let host = args.host.clone();
    let host = host.unwrap_or_else(|| this.with_file_name("mistersmith"));
    if !host.is_file() {
        bail!(
            "there is no {}, the host to measure; \
             in a checkout run `make bench`, or name one with --host",
            host.display()
        );
    }
    let path = std::env::var_os("PATH");
    Ok(Settings {
        rounds: args.rounds,
        turn: Duration::from_secs_f64(args.seconds),
        most_agents: args.most_agents,
        servers: Places {
            named: args.server.clone(),
            beside: Some(this.clone()),
            path: path.map_or_else(Vec::new, |path| std::env::split_paths(&path).collect()),
        },
        host: host.canonicalize().context("cannot find the host")?,
        native: this,
        component: component(&args.plugins)?,
        compared: args.servers.clone(),
        folder: folder.0.clone(),
    })
}

/// The component that is measured, in the plugins folder.
fn component(plugins: &Path) -> anyhow::Result<PathBuf> {
    let path = plugins.join("bench").join("bench.wasm");
    if !path.is_file() {
        bail!(
            "there is no {}, the component that is measured; in a checkout run `make bench`, or: \
             mistersmith build --plugins tests/plugins bench",
            path.display()
        );
    }
    path.canonicalize()
        .with_context(|| format!("cannot read {}", path.display()))
}

async fn measure(
    args: &Args,
    settings: &Settings,
    wanted: &[&'static Scenario],
) -> anyhow::Result<Report> {
    let bar = bar(wanted.len() as u64);
    let progress = |what: &str| bar.set_message(what.to_owned());
    let bench = Bench {
        settings,
        progress: &progress,
    };
    let version = server_version(&bench).await?;
    let server = format!("nats-server {version}, alone");
    let mut report = Report {
        machine: machine::inspect(settings, version)?,
        rounds: args.rounds,
        seconds: args.seconds,
        most_agents: args.most_agents,
        scenarios: Vec::new(),
    };
    for scenario in wanted {
        bar.set_prefix(scenario.name);
        let begun = Instant::now();
        let result = scenario.run(&bench).await;
        let (rows, error) = match result {
            Ok(rows) => (rows, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        report.scenarios.push(Measured {
            name: scenario.name,
            about: scenario.about,
            server: server.clone(),
            rows,
            error,
            took_seconds: begun.elapsed().as_secs_f64(),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

fn show(args: &Args, report: &Report) -> anyhow::Result<()> {
    if args.json {
        output::line(&serde_json::to_string_pretty(report)?)?;
    } else {
        output::line(&report::text(report))?;
    }
    if let Some(folder) = &args.plots {
        write_plots(folder, report)?;
    }
    if cfg!(debug_assertions) {
        output::remark(DEBUG);
    }
    let failed: Vec<&str> = report
        .scenarios
        .iter()
        .filter(|scenario| scenario.error.is_some())
        .map(|scenario| scenario.name)
        .collect();
    if !failed.is_empty() {
        bail!("could not be measured: {}", failed.join(", "));
    }
    Ok(())
}

fn write_plots(folder: &Path, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for scenario in report.scenarios.iter().filter(|s| !s.rows.is_empty()) {
        let path = folder.join(format!("{}.svg", scenario.name));
        let plot = plot::svg(scenario.about, &report.machine.summary(), &scenario.rows);
        std::fs::write(&path, plot).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Drawn only on a terminal.
fn bar(scenarios: u64) -> ProgressBar {
    let target = if output::is_watched() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:20}] {pos}/{len} {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(scenarios), target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Runs the order on standard input until the input ends.
async fn be_native() -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let order = serde_json::from_str(&line).context("the order on standard input")?;
    let work = async {
        native::start(order).await?;
        output::line(native::READY)?;
        std::future::pending().await
    };
    // The input holds nothing more; its end is ours, also while we wait for a server that is gone.
    let mut rest = Vec::new();
    tokio::select! {
        failed = work => failed,
        ended = input.read_to_end(&mut rest) => Ok(ended.map(|_| ())?),
    }
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("mistersmith-bench-{}", nuid::next()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
