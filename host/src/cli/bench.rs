//! `mistersmith bench`: measures, and shows what was measured and on what.

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

use super::exit::usage;
use super::global::Global;
use super::output;
use crate::bench::{Bench, Row, SCENARIOS, Scenario, Settings, native, server_version};
use machine::Machine;

/// How long what was measured with may take to end when the benchmark is broken off.
const END_WAIT: Duration = Duration::from_secs(1);

/// What a build without optimisation is told.
const DEBUG: &str = "THIS IS A DEBUG BUILD: its figures say nothing about the product. \
                     Use `make bench`, or `cargo build --release`.";

/// Options of `mistersmith bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to measure [default: all of `--list`, in that order]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
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
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4000))]
    most_agents: u32,
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
    /// Be the native handler: what the command starts itself with
    #[arg(long, hide = true, exclusive = true)]
    native: bool,
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

/// What came of a scenario.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    about: &'static str,
    /// What it was measured on; the rows of `servers` name theirs.
    server: String,
    rows: Vec<Row>,
    /// Why there are no rows.
    error: Option<String>,
    took_seconds: f64,
}

/// Measures what is asked for.
pub(super) async fn run(
    global: &Global,
    args: Args,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    if args.native {
        return be_native().await;
    }
    let wanted = wanted(&args.scenarios)?;
    if args.list {
        let rows = wanted
            .iter()
            .map(|s| vec![s.name.to_owned(), s.about.to_owned()]);
        return output::line(&output::table(
            &["scenario", "measures"],
            &rows.collect::<Vec<_>>(),
        ));
    }
    let component = component(&global.plugins()?)?;
    let folder = Folder::new()?;
    let settings = Settings {
        rounds: args.rounds,
        turn: Duration::from_secs_f64(args.seconds),
        most_agents: args.most_agents,
        servers: global.host_spec()?.nats.places(),
        program: std::env::current_exe().context("where this program is")?,
        component,
        compared: args.servers.clone(),
        folder: folder.0.clone(),
    };
    if cfg!(debug_assertions) {
        output::remark(DEBUG);
    }
    let measured = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        measured = measure(&args, &settings, &wanted) => Some(measured?),
    };
    let Some(report) = measured else {
        // What was started is told to end, and writes into the folder until it has.
        tokio::time::sleep(END_WAIT).await;
        bail!("stopped before the end");
    };
    show(&args, &report)
}

/// The scenarios of these names, or all.
fn wanted(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| {
            let all: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            usage(format!(
                "there is no scenario {name:?}; there are {}",
                all.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

/// The component that is measured, in the plugins folder.
fn component(plugins: &Path) -> anyhow::Result<PathBuf> {
    let path = plugins.join("bench").join("bench.wasm");
    if !path.is_file() {
        bail!(
            "there is no {}, the component that is measured; in a checkout run `make bench`, or: \
             mistersmith build --plugins tests/plugins bench && mistersmith bench --plugins tests/plugins",
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
    let tell = |what: &str| bar.set_message(what.to_owned());
    let bench = Bench {
        settings,
        tell: &tell,
    };
    let version = server_version(&bench).await?;
    let server = format!("nats-server {version}, alone");
    let mut report = Report {
        machine: machine::look(settings, version)?,
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
        output::json(report)?;
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

/// Drawn only where a person watches.
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

/// Reads the order from standard input, does it until that ends.
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
    // Nothing more is said; its end is ours, also while we wait for a server that is gone.
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
