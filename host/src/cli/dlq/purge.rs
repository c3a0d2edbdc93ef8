//! `mistersmith dlq purge`: removes dead letters for good.

use std::io::{BufRead, IsTerminal};

use serde_json::json;

use crate::cli::dlq::letter::DeadLetter;
use crate::cli::dlq::{Filter, Letters, Range};
use crate::cli::message::{command_error, input};
use crate::cli::usage::usage;
use crate::cli::{audit, output};
use mistersmith_nats::Claim;

/// Arguments of `dlq purge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of the dead letters, as `dlq list` shows them; all when nothing is said
    #[arg(conflicts_with_all = ["subject", "older_than"])]
    numbers: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(letters: &Letters, args: &Args) -> anyhow::Result<()> {
    let what = if args.numbers.is_empty() {
        args.filter.describe()
    } else {
        format!("{} dead letters", args.numbers.len())
    };
    if !args.yes && !confirmed(&what).await? {
        output::remark("nothing is removed");
        return Ok(());
    }
    let range = letters.range(&args.filter).await?;
    let details = json!({
        "numbers": args.numbers,
        "subject": args.filter.subject,
        "before_number": args.numbers.is_empty().then_some(range.before),
    });
    audit::write(&letters.connection, audit::FORCED, "dlq purge", details).await?;
    let mut removed = 0;
    let claims = claims(letters, args, &range).await?;
    if args.numbers.is_empty() {
        removed = letters
            .view
            .purge(&range.pattern, range.before)
            .await
            .map_err(command_error)?;
    }
    for number in &args.numbers {
        removed += u64::from(letters.view.delete(*number).await?);
    }
    for (claim, subject) in claims {
        claim.discard(&letters.connection, &subject).await?;
    }
    output::line(&format!("{removed} removed"))
}

/// The claim checks of the letters to be removed, and the subjects that their payloads are for.
async fn claims(
    letters: &Letters,
    args: &Args,
    range: &Range,
) -> anyhow::Result<Vec<(Claim, String)>> {
    let mut found = Vec::new();
    if !letters.have_payloads().await? {
        return Ok(found);
    }
    let claim = |letter: DeadLetter| letter.claim.map(|(claim, _)| (claim, letter.subject));
    for number in &args.numbers {
        let message = letters.view.message(*number).await?;
        found.extend(message.map(DeadLetter::read).and_then(claim));
    }
    if args.numbers.is_empty() {
        let mut from = 1;
        while let Some(letter) = letters.next(range, from).await? {
            from = letter.number.saturating_add(1);
            found.extend(claim(letter));
        }
    }
    Ok(found)
}

/// Asks for confirmation on the terminal.
async fn confirmed(what: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(usage(format!(
            "{what} would be removed for good; say --yes to do it"
        )));
    }
    output::remark(&format!("remove {what} for good? write yes to do it"));
    let answer = input(|mut stdin| {
        let mut answer = String::new();
        stdin.read_line(&mut answer).map(|_| answer)
    })
    .await?;
    Ok(answer.trim() == "yes")
}
