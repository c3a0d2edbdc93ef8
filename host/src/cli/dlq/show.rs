//! `mistersmith dlq show NUMBER`: one dead letter, whole.

use crate::cli::dlq::Letters;
use crate::cli::output;
use mistersmith_nats::PAYLOADS;

/// Arguments of `dlq show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of the dead letter, as `dlq list` shows it
    number: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(letters: &Letters, args: &Args) -> anyhow::Result<()> {
    let letter = letters.numbered(args.number).await?;
    if args.json {
        return output::json(&letter.whole());
    }
    let facts = [
        ("number", letter.number.to_string()),
        ("subject", letter.subject.clone()),
        ("given up at", letter.at.clone()),
        ("kind", letter.kind.clone()),
        ("error", letter.error.clone()),
        ("deliveries", letter.deliveries.clone()),
        ("agent", letter.agent.clone()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(&format!(
            "{name:<12} {}",
            output::one_line(value, usize::MAX)
        ))?;
    }
    for line in letter.attempts() {
        output::line(&output::one_line(&line, usize::MAX))?;
    }
    output::line("headers")?;
    for (name, value) in letter.headers.iter() {
        let header = output::one_line(&format!("{name}: {value}"), usize::MAX);
        output::line(&format!("  {header}"))?;
    }
    if let Some((claim, size)) = &letter.claim {
        let name = output::one_line(claim.name(), usize::MAX);
        return output::line(&format!(
            "payload      {size} bytes, in the object store {PAYLOADS} as {name}"
        ));
    }
    output::line(&format!("payload      {} bytes", letter.payload.len()))?;
    output::payload(&letter.payload)
}
