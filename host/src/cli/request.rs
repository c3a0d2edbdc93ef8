//! `mistersmith request SUBJECT [PAYLOAD]`: sends one message and prints the answer.

use std::time::Duration;

use anyhow::anyhow;

use crate::cli::global::Global;
use crate::cli::message::{Content, check_length, command_error, duration};
use crate::cli::{connect, output};
use mistersmith_nats::{Message, Role, TransportError};

/// Arguments of `request`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Subject to publish on
    subject: String,
    #[command(flatten)]
    content: Content,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,
    /// Print the headers of the answer before its payload
    #[arg(long = "headers")]
    show_headers: bool,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    check_length(&args.subject)?;
    let headers = args.content.headers()?;
    let transport = connect::connect(global).await?;
    let connection = transport.connection(Role::Bulk);
    let payload = args.content.payload(connection.max_payload()).await?;
    let answer = connection
        .request(&args.subject, headers, payload, args.timeout)
        .await
        .map_err(|error| explain(error, &args))?;
    show(&answer, args.show_headers)?;
    failure(&answer).map_or(Ok(()), Err)
}

fn explain(error: TransportError, args: &Args) -> anyhow::Error {
    let subject = &args.subject;
    let failed = format!("no answer on {subject:?}");
    // Every host subscribes to the commands of all agents, so NATS cannot report "no responders"
    // for an agent that does not exist.
    let is_command = subject.starts_with("agent.") && subject.contains(".cmd.");
    match error {
        TransportError::Timeout if is_command => anyhow!(
            "none came in {:?}; `mistersmith agents` shows which agents there are",
            args.timeout
        ),
        TransportError::Timeout => anyhow!("none came in {:?}", args.timeout),
        other => command_error(other),
    }
    .context(failed)
}

fn show(answer: &Message, with_headers: bool) -> anyhow::Result<()> {
    if with_headers {
        for (name, value) in answer.headers.iter() {
            output::line(&output::one_line(&format!("{name}: {value}"), usize::MAX))?;
        }
        output::line("")?;
    }
    output::payload(&answer.payload)
}

/// The error of an answer whose headers mark it as one.
fn failure(answer: &Message) -> Option<anyhow::Error> {
    let text = answer.headers.text("Nats-Service-Error")?;
    let code = answer.headers.get("Nats-Service-Error-Code").unwrap_or("?");
    let text = output::one_line(&text, 1000);
    Some(anyhow!("{text} (code {code})")).map(|error| error.context("the answer is an error"))
}
