//! `mistersmith dlq list`: the dead letters, oldest first.

use crate::cli::dlq::letter::DeadLetter;
use crate::cli::dlq::{Filter, Letters};
use crate::cli::output;

/// Characters of an error in the list.
const SHOWN_ERROR: usize = 60;

/// Arguments of `dlq list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// How many to show at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Begin with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(letters: &Letters, args: &Args) -> anyhow::Result<()> {
    let range = letters.range(&args.filter).await?;
    let mut found = Vec::new();
    let mut next = letters.next(&range, args.from).await?;
    while let Some(letter) = next {
        if found.len() == args.limit {
            output::remark(&format!(
                "there are more; show them with --from {}",
                letter.number
            ));
            break;
        }
        let after = letter.number.saturating_add(1);
        found.push(letter);
        next = letters.next(&range, after).await?;
    }
    if args.json {
        let all: Vec<_> = found.iter().map(DeadLetter::summary).collect();
        return output::json(&all);
    }
    if found.is_empty() {
        output::remark("no dead letters");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let head = [
        "number",
        "given up at",
        "subject",
        "kind",
        "deliveries",
        "error",
    ];
    output::line(&output::table(&head, &rows))
}

fn row(letter: &DeadLetter) -> Vec<String> {
    // The list omits fractions of a second.
    let at = letter.at.split('.').next().unwrap_or_default();
    vec![
        letter.number.to_string(),
        output::one_line(at.trim_end_matches('Z'), 40),
        output::one_line(&letter.subject, 255),
        output::one_line(&letter.kind, 20),
        output::one_line(&letter.deliveries, 10),
        output::one_line(&letter.error, SHOWN_ERROR),
    ]
}
