//! `mistersmith publish SUBJECT [PAYLOAD]`: sends one message.

use std::time::Duration;

use anyhow::Context;

use crate::cli::global::Global;
use crate::cli::message::{Content, check_length, duration, told};
use crate::cli::{connect, output};
use crate::transport::Role;

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Subject to publish on
    subject: String,
    #[command(flatten)]
    content: Content,
    /// Wait until a JetStream stream has stored the message; always so for work.…, pipeline.… and coord.…
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
    let link = transport.link(Role::Bulk);
    let payload = args.content.payload(link.max_payload()).await?;
    let subject = &args.subject;
    let failed = || format!("cannot publish on {subject:?}");
    // Only the acknowledgement tells that a work item was refused by a full queue, or that there is
    // no stream that keeps the input of a stage.
    let kept = ["work.", "pipeline.", "coord."];
    if args.stored || kept.iter().any(|first| subject.starts_with(first)) {
        let stored = link
            .publish_stored(subject, headers, payload, args.timeout)
            .await
            .map_err(told)
            .with_context(failed)?;
        let known = if stored.duplicate {
            ", which had it already"
        } else {
            ""
        };
        return output::line(&format!(
            "stored by {}{known} as number {}",
            stored.stream, stored.sequence
        ));
    }
    link.publish(subject, None, headers, payload)
        .await
        .map_err(told)
        .with_context(failed)?;
    // A message that only left for the server is lost when the process ends.
    link.round_trip(args.timeout).await.with_context(failed)?;
    Ok(())
}
