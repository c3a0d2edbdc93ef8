//! `mistersmith timeline ID`: what happened to a request or a workflow, rebuilt from the streams.
//!
//! Only looks: nothing is taken from anybody, and what the streams have forgotten stays forgotten.

mod gather;
mod rebuild;
mod show;
#[cfg(test)]
mod tests;

use anyhow::bail;

use crate::cli::exit::usage;
use crate::cli::global::Global;
use crate::cli::{connect, output};
use crate::transport::{Link, Role};
use rebuild::Timeline;

/// Longest id, in bytes: a host takes none over that is longer.
const MAX_ID: usize = 96;

/// Arguments of `timeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A request id, a workflow id, or a trace id
    id: String,
    /// How many messages of each stream to look through, newest first, for those that name the id in
    /// a header and not in their subject
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    check(&args.id)?;
    let transport = connect::connect(global).await?;
    let link = transport.link(Role::Bulk);
    let (timeline, cut) = of(link, &args.id, args.limit).await?;
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

/// Rebuilds the timeline of an id; also returns the streams that were not looked through whole.
pub(in crate::cli) async fn of(
    link: &Link,
    id: &str,
    limit: usize,
) -> anyhow::Result<(Timeline, Vec<&'static str>)> {
    let found = gather::events(link, id, limit).await?;
    Ok((Timeline::of(&found.events), found.cut))
}

/// The id stands in subjects, where it must not be a wildcard.
fn check(id: &str) -> anyhow::Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(good) {
        return Ok(());
    }
    Err(usage(format!(
        "{id:?} is no id: 1 to {MAX_ID} of a-z, A-Z, 0-9, \"-\" and \"_\""
    )))
}
