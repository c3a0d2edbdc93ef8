//! `mistersmith dlq replay`: publishes dead letters on their original subjects again.
//!
//! Each is removed only after a stream has acknowledged it. If the process dies in between, the
//! letter is still there, and the next replay has the same message id.

use anyhow::Context;
use serde_json::json;

use crate::cli::dlq::letter::DeadLetter;
use crate::cli::dlq::{Filter, Letters};
use crate::cli::exit::{Exit, Shown, usage};
use crate::cli::{audit, output};
use crate::transport::{Claim, TransportError};

/// Arguments of `dlq replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of the dead letters, as `dlq list` shows them
    #[arg(conflicts_with_all = ["subject", "older_than", "all"])]
    numbers: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(letters: &Letters, args: &Args) -> anyhow::Result<()> {
    if args.numbers.is_empty() && args.filter.is_empty() && !args.all {
        return Err(usage(
            "say which dead letters: by number, by --subject, by --older-than, or --all",
        ));
    }
    let details = json!({
        "numbers": args.numbers,
        "subject": args.filter.subject,
        "older_than_seconds": args.filter.older_than.map(|age| age.as_secs()),
    });
    audit::write(&letters.link, audit::COMMAND, "dlq replay", details).await?;
    let mut tally = Tally::default();
    if args.numbers.is_empty() {
        let range = letters.range(&args.filter).await?;
        let mut from = 1;
        while let Some(letter) = letters.next(&range, from).await? {
            from = letter.number.saturating_add(1);
            tally.count(replay(letters, &letter).await, &letter)?;
        }
    } else {
        for number in &args.numbers {
            let letter = letters.numbered(*number).await?;
            tally.count(replay(letters, &letter).await, &letter)?;
        }
    }
    tally.report()
}

/// Sends one dead letter again and removes it; returns where it is stored now.
async fn replay(letters: &Letters, letter: &DeadLetter) -> Result<String, TransportError> {
    // Whoever may write dead letters must not borrow the operator's rights: the API of the server
    // hears subjects too.
    if letter.subject.starts_with(['$', '_']) {
        return Err(TransportError::Denied(
            "the subject belongs to the server, and no host gave up a message of it".to_owned(),
        ));
    }
    if let Some((claim, _)) = &letter.claim {
        // From now on it belongs to a young message again, so that no host takes it for forgotten.
        claim.renew(&letters.link, &letter.subject).await?;
    }
    let id = letter.replay_id();
    let (headers, payload) = (letter.original_headers(), letter.payload.clone());
    let (link, subject) = (&letters.link, &letter.subject);
    // The server may take less than when the letter was stored.
    let stored = match Claim::is_for(subject) {
        true => link.store_any(subject, &id, headers, payload).await?,
        false => link.store(subject, &id, headers, payload).await?,
    };
    letters.view.delete(letter.number).await?;
    Ok(format!("{} as number {}", stored.stream, stored.sequence))
}

#[derive(Default)]
struct Tally {
    done: usize,
    failed: usize,
}

impl Tally {
    /// Tells what became of one letter. An error is returned when the next one would meet it too.
    fn count(
        &mut self,
        replayed: Result<String, TransportError>,
        letter: &DeadLetter,
    ) -> anyhow::Result<()> {
        let subject = output::one_line(&letter.subject, 255);
        let failed = || format!("cannot replay dead letter {} on {subject:?}", letter.number);
        match replayed {
            Ok(stored) => {
                self.done += 1;
                output::line(&format!("{}  {subject}  stored by {stored}", letter.number))
            }
            Err(error) if error.is_transient() => Err(error).with_context(failed),
            Err(error) => {
                self.failed += 1;
                output::complain(&format!("{}: {error}; it stays", failed()));
                Ok(())
            }
        }
    }

    fn report(&self) -> anyhow::Result<()> {
        output::remark(&format!("{} replayed, {} not", self.done, self.failed));
        if self.failed > 0 {
            return Err(Shown(Exit::FAILED).into());
        }
        Ok(())
    }
}
