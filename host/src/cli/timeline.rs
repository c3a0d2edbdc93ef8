//! `mistersmith timeline ID`: the history of a request or a workflow, rebuilt from the streams.
//!
//! Read-only: it consumes no message. Messages that the streams no longer hold are missing.

mod gather;
mod rebuild;
mod show;
#[cfg(test)]
mod tests;

use anyhow::bail;

use crate::cli::global::Global;
use crate::cli::usage::usage;
use crate::cli::{connect, output};
use mistersmith_nats::{Connection, Role};
use rebuild::Timeline;

/// Longest id, in bytes: a host accepts no longer one.
const MAX_ID: usize = 96;

/// Arguments of `timeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A request id, a workflow id, or a trace id
    id: String,
    /// How many messages of each stream to look through, newest first, for those that name the id
    /// in a header and not in their subject
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    check(&args.id)?;
    let transport = connect::connect(global).await?;
    let connection = transport.connection(Role::Bulk);
    let (timeline, cut) = of(connection, &args.id, args.limit).await?;
    for stream in cut {
        output::remark(&format!(
            "{stream} holds more than was looked through; --limit looks at more"
        ));
    }
    if timeline.is_empty() {
        bail!("no stream knows the id {:?}", args.id);
    }
    if args.json {
        return output::json(&timeline.lines());
    }
    output::line(&timeline.text(&args.id, output::is_terminal()))
}

/// Rebuilds the timeline of an id; also returns the streams that were searched only in part.
pub(in crate::cli) async fn of(
    connection: &Connection,
    id: &str,
    limit: usize,
) -> anyhow::Result<(Timeline, Vec<&'static str>)> {
    let found = gather::events(connection, id, limit).await?;
    Ok((Timeline::of(&found.events), found.cut))
}

/// The id becomes part of subjects, where it must not be a wildcard.
fn check(id: &str) -> anyhow::Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(good) {
        return Ok(());
    }
    Err(usage(format!(
        "{id:?} is no id: 1 to {MAX_ID} of a-z, A-Z, 0-9, \"-\" and \"_\""
    )))
}
