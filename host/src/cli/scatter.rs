//! `mistersmith scatter [PAYLOAD]`: puts a question to many agents, and prints the answers.
//!
//! Every agent that answers questions receives it.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::global::Global;
use crate::cli::message::{Content, command_error, duration};
use crate::cli::usage::usage;
use crate::cli::{connect, output};
use crate::scatter::{self, shown};
use mistersmith_core::limits::{MAX_EXPECTED, MAX_GATHERED_BYTES};
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Connection, Role, Trace};
use mistersmith_runtime::{GatherStatus, Gathered, Question};

/// Arguments of `scatter`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    content: Content,
    /// How long to gather answers
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,
    /// So many answers are enough
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    min: Option<u32>,
    /// Wait for this agent, and let no others count; may be given several times
    #[arg(long = "expect", value_name = "AGENT")]
    expected: Vec<AgentId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let expected = expected(&args)?;
    let mut headers = args.content.headers()?;
    let transport = connect::connect(global).await?;
    let connection = transport.connection(Role::Bulk);
    let payload = args.content.payload(connection.max_payload()).await?;
    let request = nuid::next().to_string();
    Trace::received(&headers, || &*request).stamp(None, &mut headers);
    let question = Question {
        request,
        payload,
        headers,
        asking: None,
        until: Instant::now() + args.timeout,
        min: args.min.map(|min| min as usize),
        expected,
        answer_bytes: connection.max_payload(),
        total_bytes: MAX_GATHERED_BYTES as usize,
    };
    let gathered = gather(connection, question).await?;
    if args.json {
        output::json(&as_json(&gathered))?;
    } else {
        show(&gathered)?;
    }
    verdict(&gathered, args.timeout)
}

/// The expected agents, without duplicates.
fn expected(args: &Args) -> anyhow::Result<Vec<AgentId>> {
    let mut expected = args.expected.clone();
    expected.sort();
    expected.dedup();
    if expected.len() > MAX_EXPECTED {
        return Err(usage(format!(
            "at most {MAX_EXPECTED} agents can be expected"
        )));
    }
    match args.min {
        Some(min) if !expected.is_empty() && min as usize > expected.len() => Err(usage(format!(
            "--min is {min}, and only {} agents are expected",
            expected.len()
        ))),
        _ => Ok(expected),
    }
}

/// Publishes the question, gathers the answers, and stores the report.
async fn gather(connection: &Connection, question: Question) -> anyhow::Result<Gathered> {
    let asked = scatter::ask(connection, question)
        .await
        .map_err(command_error)?;
    let progress = progress();
    let (gathered, report) = asked.gather(connection, |_| progress.inc(1)).await;
    progress.finish_and_clear();
    if let Err(error) = report.store(connection).await {
        output::remark(&format!(
            "the end of the gathering was not stored: {error}; `mistersmith provision` makes the stream"
        ));
    }
    Ok(gathered)
}

/// A counter of the answers so far, on a terminal.
fn progress() -> ProgressBar {
    if !output::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} answers, {elapsed}");
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn as_json(gathered: &Gathered) -> Value {
    let answers: Vec<Value> = gathered
        .answers
        .iter()
        .map(|answer| {
            json!({
                "agent_id": answer.agent, "result": shown(&answer.payload),
                "content_type": answer.content_type,
            })
        })
        .collect();
    let failed: Vec<Value> = gathered
        .failed
        .iter()
        .map(|(agent, error)| json!({"agent_id": agent, "error": error}))
        .collect();
    json!({
        "request": gathered.request, "status": gathered.status, "results": answers,
        "failed": failed, "missing": gathered.missing,
    })
}

fn show(gathered: &Gathered) -> anyhow::Result<()> {
    let line = |text: String| output::line(&output::one_line(&text, usize::MAX));
    for answer in &gathered.answers {
        let text = String::from_utf8_lossy(&answer.payload);
        line(format!("{}  {text}", answer.agent))?;
    }
    for (agent, reason) in &gathered.failed {
        line(format!("{agent}  failed: {reason}"))?;
    }
    let failed = |agent: &&AgentId| gathered.failed.iter().all(|(other, _)| other != *agent);
    for agent in gathered.missing.iter().filter(failed) {
        line(format!("{agent}  missing"))?;
    }
    Ok(())
}

fn verdict(gathered: &Gathered, timeout: Duration) -> anyhow::Result<()> {
    let answers = gathered.answers.len();
    match gathered.status {
        GatherStatus::Complete => Ok(()),
        GatherStatus::Partial => bail!("only {answers} answers came, and more were asked for"),
        GatherStatus::Timeout if !gathered.failed.is_empty() => {
            Err(anyhow!("nobody could answer").context("no answer"))
        }
        GatherStatus::Timeout => Err(anyhow!(
            "none came in {timeout:?}; agents with [scatter] in their manifest answer"
        )
        .context("no answer")),
    }
}
