//! `mistersmith dlq replay`: publishes dead letters on their original subjects again.
//!
//! Each is removed only after a stream has acknowledged it. If the process dies in between, the
//! letter still exists, and the next replay uses the same message id.

use anyhow::Context;
use serde_json::json;

use crate::cli::dlq::letter::DeadLetter;
use crate::cli::dlq::{Filter, Letters};
use crate::cli::exit::{Exit, Shown};
use crate::cli::usage::usage;
use crate::cli::{audit, output};
use mistersmith_nats::{Claim, TransportError};

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
    audit::write(&letters.connection, audit::COMMAND, "dlq replay", details).await?;
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

/// Sends one dead letter again and removes it; returns where the message is stored now.
async fn replay(letters: &Letters, letter: &DeadLetter) -> Result<String, TransportError> {
    // A client that may write dead letters must not gain the operator's permissions: the server's
    // API has subjects too.
    if letter.subject.starts_with(['$', '_']) {
        return Err(TransportError::Denied(
            "the subject belongs to the server, and no host gave up a message of it".to_owned(),
        ));
    }
    if let Some((claim, _)) = &letter.claim {
        // From now on the payload belongs to a recent message again, so that no host sweeps it as
        // abandoned.
        claim.renew(&letters.connection, &letter.subject).await?;
    }
    let id = letter.replay_id();
    let (headers, payload) = (letter.original_headers(), letter.payload.clone());
    let (connection, subject) = (&letters.connection, &letter.subject);
    // The server's size limit may be lower than when the letter was stored.
    let stored = match Claim::is_for(subject) {
        true => connection.store_any(subject, &id, headers, payload).await?,
        false => connection.store(subject, &id, headers, payload).await?,
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
    /// Reports the outcome for one letter. Returns an error when it would affect the next letter
    /// too.
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
