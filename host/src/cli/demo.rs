//! `mistersmith demo`: a host of its own, real documents, and what came of it.

mod documents;
mod feed;
mod report;
mod tally;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::global::Global;
use super::{connect, output};
use crate::host::{Ended, Host};
use crate::transport::{Link, Message, Role, Transport};
use documents::Paragraph;
use feed::Ids;
use tally::Tally;

/// How long the demonstration goes on when no result comes any more.
const SILENCE: Duration = Duration::from_secs(30);

/// What a signal makes of it.
const STOPPED: &str = "stopped before the end";

/// The agents that it needs.
const PLUGINS: [&str; 2] = ["sentiment", "word-count"];

/// Options of `mistersmith demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Texts to work on, files or folders [default: the machine's licences and this project's documents]
    #[arg(value_name = "PATH")]
    documents: Vec<PathBuf>,
    /// Most paragraphs to work on
    #[arg(long, default_value_t = 1500, value_name = "N")]
    paragraphs: usize,
}

/// Starts a host, gives it work, waits for the results, and tells what happened.
pub(super) async fn run(
    global: &Global,
    args: Args,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let paragraphs = documents::collect(&args.documents, args.paragraphs);
    if paragraphs.is_empty() {
        bail!("there is no text to work on; name files or folders: mistersmith demo PATH…");
    }
    let spec = global.host_spec()?;
    let missing: Vec<&str> = PLUGINS
        .into_iter()
        .filter(|name| {
            !spec
                .plugins
                .join(name)
                .join(format!("{name}.wasm"))
                .is_file()
        })
        .collect();
    if !missing.is_empty() {
        bail!(
            "`{}` lacks the components of {}; run: mistersmith build --plugins {}",
            spec.plugins.display(),
            missing.join(" and "),
            spec.plugins.display()
        );
    }
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
    host.load().await;
    let stopper = host.stopper();
    let introduction = introduction(&host).await;
    let running = tokio::spawn(host.run());
    let worked = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(anyhow::anyhow!(STOPPED)),
        worked = work(&spec, &introduction, &paragraphs, begun) => worked,
    };
    stopper.cancel();
    let worked = match worked {
        Ok(mut seen) => {
            seen.hear_until_silence().await;
            Ok(seen.tally)
        }
        Err(error) => Err(error),
    };
    // Also when the work failed: what runs is brought to its end.
    let ended = running.await.context("the host")?;
    let mut tally = worked?;
    if let Ended::ServerDied(how) = ended {
        bail!("{how}");
    }
    tally.note("the host has drained and stopped");
    conclude(&tally, begun)
}

async fn introduction(host: &Host) -> String {
    let (summary, state) = (host.summary().await, host.transport().state());
    format!(
        "{} agents of {} plugins are up on nats-server {}, {} broken",
        summary.agents, summary.plugins, state.version, summary.broken
    )
}

/// What is seen of the host from outside, over a connection of its own.
struct Seen {
    tally: Tally,
    heard: mpsc::UnboundedReceiver<Message>,
    _outside: Transport,
}

impl Seen {
    async fn listen(outside: Transport, tally: Tally) -> anyhow::Result<Self> {
        let link = outside.link(Role::Bulk);
        let (tell, heard) = mpsc::unbounded_channel();
        for pattern in [
            "agent.*.resp.*",
            "dlq.>",
            "agent.*.stopped",
            "agent.*.error",
        ] {
            let mut messages = link.subscribe(pattern, None).await?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(message) = messages.next().await {
                    if tell.send(message).is_err() {
                        return;
                    }
                }
            });
        }
        // The subscriptions must stand before the work is published.
        link.round_trip(Duration::from_secs(5)).await?;
        Ok(Self {
            tally,
            heard,
            _outside: outside,
        })
    }

    /// Hears until nothing has come for a moment: the last words of the agents.
    async fn hear_until_silence(&mut self) {
        let pause = Duration::from_millis(700);
        while let Ok(Some(message)) = tokio::time::timeout(pause, self.heard.recv()).await {
            self.tally.hear(&message);
        }
    }
}

/// Publishes the work, and waits until every item has its result or its dead letter.
async fn work(
    spec: &crate::config::HostSpec,
    introduction: &str,
    paragraphs: &[Paragraph],
    begun: Instant,
) -> anyhow::Result<Seen> {
    output::line(introduction)?;
    let outside = connect::to(spec).await?;
    let link = outside.link(Role::Work).clone();
    let ids = Ids::new();
    let mut seen = Seen::listen(outside, Tally::new(begun, ids.clone())).await?;
    note_ready(&link, &mut seen.tally, begun).await?;
    let items = feed::items(paragraphs, &ids);
    let wanted = items.len() - 1;
    let documents: std::collections::BTreeSet<&str> = paragraphs
        .iter()
        .map(|paragraph| paragraph.document.as_str())
        .collect();
    output::line(&format!(
        "{} paragraphs of {} documents, each to be scored and counted at four priorities, \
         and one item that is no text",
        paragraphs.len(),
        documents.len()
    ))?;
    seen.tally
        .note(format!("{} work items are being published", items.len()));
    let (published, done) = bars(items.len());
    let counting = published.clone();
    let publishing = tokio::spawn(async move {
        let result = feed::publish(&link, items, || counting.inc(1)).await;
        counting.finish();
        result
    });
    while seen.tally.done() < wanted || !seen.tally.buried {
        let heard = tokio::time::timeout(SILENCE, seen.heard.recv()).await;
        let Ok(Some(message)) = heard else {
            bail!(
                "no result for {} s: {} of {wanted} items are done; look at the log above",
                SILENCE.as_secs(),
                seen.tally.done()
            );
        };
        seen.tally.hear(&message);
        done.set_position(seen.tally.done() as u64 + u64::from(seen.tally.buried));
    }
    done.finish();
    publishing.await.context("publishing")??;
    seen.tally
        .note("every item has its result, and the one that is no text its dead letter");
    Ok(seen)
}

/// The agents were ready before anybody outside could listen; the stream has kept it.
async fn note_ready(link: &Link, tally: &mut Tally, begun: Instant) -> anyhow::Result<()> {
    let start = OffsetDateTime::now_utc() - begun.elapsed();
    let stream = link.stream("AGENT_LIFECYCLE")?;
    let mut from = 1;
    while let Some(event) = stream.next(from, "agent.*.ready").await? {
        from = event.sequence + 1;
        let body: serde_json::Value = serde_json::from_slice(&event.payload).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(|v| v.as_str()).unwrap_or_default();
        let at = OffsetDateTime::parse(text("at"), &Rfc3339);
        // Those of earlier runs are in the stream too.
        if let Some(at) = at.ok().and_then(|at| Duration::try_from(at - start).ok()) {
            tally.note_earlier(at, format!("{} is ready", text("agent_id")));
        }
    }
    Ok(())
}

/// One bar for what is published, one for what is done; drawn only where a person watches.
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
    output::line(&format!("\nTimeline\n{}", report::timeline(tally)))?;
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
  mistersmith new my-agent                         write one of your own";
