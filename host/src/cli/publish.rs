//! `mistersmith publish SUBJECT [PAYLOAD]`: sends one message.

use std::time::Duration;

use anyhow::Context;

use crate::cli::global::Global;
use crate::cli::message::{Content, check_length, command_error, duration};
use crate::cli::{connect, output};
use mistersmith_core::limits;
use mistersmith_nats::{Claim, Role, Stored, TransportError};

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Subject to publish on
    subject: String,
    #[command(flatten)]
    content: Content,
    /// Wait until a JetStream stream has stored the message; always so for work.…, pipeline.… and
    /// coord.…
    #[arg(long)]
    stored: bool,
    /// How long to wait for that
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    check_length(&args.subject)?;
    let headers = args.content.headers()?;
    let transport = connect::connect(global).await?;
    let connection = transport.connection(Role::Bulk);
    let subject = &args.subject;
    // A payload for hosts may exceed the message size: it goes through the object store.
    let most = match Claim::is_for(subject) {
        true => limits::PAYLOAD.max,
        false => connection.max_payload(),
    };
    let payload = args.content.payload(most).await?;
    let failed = || format!("cannot publish on {subject:?}");
    // Only the acknowledgement shows that a full queue refused a work item, or that no stream
    // stores the input of a stage.
    if Claim::is_for(subject) {
        let stored = connection.publish_stored_any(subject, headers, payload, args.timeout);
        return told_stored(stored.await, failed);
    }
    if args.stored || subject.starts_with("coord.") {
        let stored = connection.publish_stored(subject, headers, payload, args.timeout);
        return told_stored(stored.await, failed);
    }
    connection
        .publish(subject, None, headers, payload)
        .await
        .map_err(command_error)
        .with_context(failed)?;
    // A message still in the client's buffer is lost when the process ends.
    connection
        .round_trip(args.timeout)
        .await
        .with_context(failed)?;
    Ok(())
}

fn told_stored(
    stored: Result<Stored, TransportError>,
    failed: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let stored = stored.map_err(command_error).with_context(failed)?;
    let known = if stored.duplicate {
        ", which had it already"
    } else {
        ""
    };
    output::line(&format!(
        "stored by {}{known} as number {}",
        stored.stream, stored.sequence
    ))
}
