//! `mistersmith demo`: a host at work on real documents.
//!
//! Starts a host of its own, runs a workflow of many agents, publishes work, and reports the
//! outcome.

mod documents;
mod feed;
mod report;
mod seen;
mod tally;
mod workflow;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::global::Global;
use super::{connect, output};
use crate::host::Host;
use documents::Document;
use feed::{Ids, Item};
use mistersmith_core::config::HostSpec;
use mistersmith_nats::{Connection, Role};
use seen::Seen;
use tally::Tally;

/// How long the demonstration waits for a further result.
const SILENCE: Duration = Duration::from_secs(30);

/// The error after a signal.
const STOPPED: &str = "stopped before the end";

/// The plugins that it needs.
const PLUGINS: [&str; 10] = [
    "analyze",
    "coordinator",
    "extract",
    "librarian",
    "preprocess",
    "reporter",
    "researcher",
    "sentiment",
    "summarize",
    "word-count",
];

/// Options of `mistersmith demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Texts to work on, files or folders [default: the machine's licences and this project's
    /// documents]
    #[arg(value_name = "PATH")]
    documents: Vec<PathBuf>,
    /// Most paragraphs to work on
    #[arg(long, default_value_t = 1500, value_name = "N")]
    paragraphs: usize,
}

/// Starts a host, publishes work, waits for the results, and prints a report.
pub(super) async fn run(
    global: &Global,
    args: Args,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let documents = documents::read(&args.documents);
    if documents.is_empty() {
        bail!("there is no text to work on; name files or folders: mistersmith demo PATH…");
    }
    let spec = global.host_spec()?;
    look_for_components(&spec.plugins)?;
    output::line(&format!(
        "starting a host on {}",
        if spec.nats.servers.is_empty() {
            "its own nats-server"
        } else {
            "the NATS servers that are named"
        }
    ))?;
    let Some(mut host) = Host::build(spec.clone(), &shutdown).await? else {
        bail!("{STOPPED}");
    };
    host.load_all().await;
    let stopper = host.stopper();
    let introduction = introduction(&host).await;
    let running = tokio::spawn(host.run());
    let worked = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(anyhow::anyhow!(STOPPED)),
        worked = work(&spec, &introduction, &documents, args.paragraphs, begun) => worked,
    };
    stopper.cancel();
    let worked = match worked {
        Ok(mut seen) => {
            seen.hear_until_silence().await;
            Ok(seen.tally)
        }
        Err(error) => Err(error),
    };
    // Also after failed work: the host is drained.
    let ended = running.await.context("the host")?;
    let mut tally = worked?;
    ended.into_result()?;
    tally.note("the host has drained and stopped");
    conclude(&tally, begun)
}

async fn introduction(host: &Host) -> String {
    let (summary, state) = (host.summary().await, host.transport().state());
    // A machine may have several; the output shows which one was chosen.
    let place = host
        .server_program()
        .map(|program| format!(" ({})", program.display()));
    format!(
        "{} agents of {} plugins are up on nats-server {}{}, {} broken",
        summary.agents,
        summary.plugins,
        state.version,
        place.unwrap_or_default(),
        summary.broken
    )
}

fn look_for_components(plugins: &Path) -> anyhow::Result<()> {
    let is_there = |name: &str| plugins.join(name).join(format!("{name}.wasm")).is_file();
    let missing: Vec<&str> = PLUGINS.into_iter().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "`{0}` lacks the components of {1}; run: mistersmith build --plugins {0}",
        plugins.display(),
        missing.join(", ")
    )
}

/// First the workflow that many agents run together, then work for each paragraph.
async fn work(
    spec: &HostSpec,
    introduction: &str,
    documents: &[Document],
    most: usize,
    begun: Instant,
) -> anyhow::Result<Seen> {
    output::line(introduction)?;
    let outside = connect::to(spec).await?;
    let connection = outside.connection(Role::Work).clone();
    let ids = Ids::new();
    let mut seen = Seen::listen(outside, Tally::new(begun, ids.clone())).await?;
    seen.note_ready(&connection, begun).await?;
    let chosen = documents::chosen(documents, workflow::DOCUMENTS);
    workflow::run(&connection, &mut seen, &ids, &chosen).await?;
    seen.note_leaders(&connection).await?;
    let paragraphs = documents::paragraphs(documents, most);
    output::line(&format!(
        "{} paragraphs of {} documents, each to be scored and counted at four priorities, \
         and one item that is no text",
        paragraphs.len(),
        documents.len()
    ))?;
    bulk(&connection, &mut seen, feed::items(&paragraphs, &ids)).await?;
    Ok(seen)
}

/// Publishes work, and waits until every item has its result or its dead letter.
async fn bulk(connection: &Connection, seen: &mut Seen, items: Vec<Item>) -> anyhow::Result<()> {
    let wanted = items.len() - 1;
    seen.tally
        .note(format!("{} work items are being published", items.len()));
    let (published, done) = bars(items.len());
    let (counting, connection) = (published.clone(), connection.clone());
    let publishing = tokio::spawn(async move {
        let result = feed::publish(&connection, items, || counting.inc(1)).await;
        counting.finish();
        result
    });
    while seen.tally.done() < wanted || !seen.tally.buried {
        if !seen.hear(SILENCE).await {
            bail!(
                "no result for {} s: {} of {wanted} items are done; look at the log above",
                SILENCE.as_secs(),
                seen.tally.done()
            );
        }
        done.set_position(seen.tally.done() as u64 + u64::from(seen.tally.buried));
    }
    done.finish();
    publishing.await.context("publishing")??;
    seen.tally
        .note("every item has its result, and the one that is no text its dead letter");
    Ok(())
}

/// One bar for published items, one for finished ones; drawn only on a terminal.
fn bars(items: usize) -> (ProgressBar, ProgressBar) {
    let bars = indicatif::MultiProgress::with_draw_target(if output::is_watched() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len} {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = |name: &'static str| {
        bars.add(ProgressBar::new(items as u64))
            .with_style(style.clone())
            .with_prefix(name)
    };
    (bar("published"), bar("done"))
}

fn conclude(tally: &Tally, begun: Instant) -> anyhow::Result<()> {
    output::line(&format!(
        "\nThe load that each agent took\n{}",
        report::load(tally)
    ))?;
    output::line(&format!(
        "\nHow soon each priority was done, as the mean place among all results\n{}",
        report::priorities(tally)
    ))?;
    let labels: Vec<String> = tally
        .labels
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    output::line(&format!("\nParagraphs by sentiment: {}", labels.join(", ")))?;
    if let Some(totals) = &tally.totals {
        output::line(&format!(
            "Totals that the word counters share: {}",
            output::one_line(&totals.to_string(), 200)
        ))?;
    }
    output::line(&format!("\n{}", report::dead_letters(tally)))?;
    output::line(&format!("\n{}", report::leaders(tally)))?;
    output::line(&format!("\nWhat happened\n{}", report::timeline(tally)))?;
    output::line(&format!(
        "\n{} results and 1 dead letter in {:.1} s. How to go on:\n\n{HOW_TO_GO_ON}",
        tally.done(),
        begun.elapsed().as_secs_f64()
    ))
}

/// The next steps, as commands to type.
const HOW_TO_GO_ON: &str =
    "  mistersmith run                                  start the agents, and leave them running
  mistersmith request tools.echo hello             ask one of them (in another terminal)
  mistersmith publish work.nlp.high.sentiment 'What a fine day'
  mistersmith agents                               see them
  mistersmith dlq list                             see the dead letter
  mistersmith timeline ID                          see a workflow, or any request, again
  mistersmith new my-agent                         write one of your own";
