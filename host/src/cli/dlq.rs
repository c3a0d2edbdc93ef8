//! `mistersmith dlq`: lists, shows, replays and purges dead letters.
//!
//! A dead letter is removed only after the stream of its original subject has acknowledged it
//! again, or by a person's explicit command.

mod letter;
mod list;
mod purge;
mod replay;
mod show;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::connect;
use crate::cli::global::Global;
use crate::cli::message::{command_error, duration};
use crate::cli::usage::usage;
use letter::DeadLetter;
use mistersmith_nats::{Connection, PAYLOADS, Role, StoredMessage, StreamView, TransportError};

/// The stream of the dead letters.
const STREAM: &str = "DLQ";
/// The prefix before the original subject.
const PREFIX: &str = "dlq.";

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List dead letters, oldest first
    List(list::Args),
    /// Show one dead letter with its headers and payload
    Show(show::Args),
    /// Publish dead letters on their original subjects again, and remove each once it is stored
    Replay(replay::Args),
    /// Remove dead letters for good
    Purge(purge::Args),
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    let transport = connect::connect(global).await?;
    execute(&Letters::new(transport.connection(Role::Control))?, command).await
}

async fn execute(letters: &Letters, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list::run(letters, &args).await,
        Command::Show(args) => show::run(letters, &args).await,
        Command::Replay(args) => replay::run(letters, &args).await,
        Command::Purge(args) => purge::run(letters, &args).await,
    }
}

/// Which dead letters, by what they are about.
#[derive(Debug, Clone, clap::Args)]
struct Filter {
    /// Only those of this original subject, which may have wildcards
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only those that were given up longer ago than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<Duration>,
}

impl Filter {
    /// Whether no condition is given, so that it selects every dead letter.
    fn is_empty(&self) -> bool {
        self.subject.is_none() && self.older_than.is_none()
    }

    /// The filter as readable text.
    fn describe(&self) -> String {
        let mut text = match &self.subject {
            Some(subject) => format!("the dead letters of {subject}"),
            None => "all dead letters".to_owned(),
        };
        if let Some(age) = self.older_than {
            text.push_str(&format!(
                " older than {}",
                mistersmith_core::config::show_duration(age)
            ));
        }
        text
    }

    fn pattern(&self) -> String {
        format!("{PREFIX}{}", self.subject.as_deref().unwrap_or(">"))
    }
}

/// A part of the stream: the messages on `pattern` with a sequence smaller than `before`.
///
/// The upper bound is fixed: an item that fails for good while a command runs, perhaps because that
/// command sent it again, is not in it.
struct Range {
    pattern: String,
    before: u64,
}

/// The stream of the dead letters.
struct Letters {
    connection: Connection,
    view: StreamView,
}

impl Letters {
    fn new(connection: &Connection) -> anyhow::Result<Letters> {
        Ok(Letters {
            connection: connection.clone(),
            view: connection.stream(STREAM)?,
        })
    }

    /// The part of the stream that a filter selects.
    async fn range(&self, filter: &Filter) -> anyhow::Result<Range> {
        let pattern = filter.pattern();
        let facts = self
            .view
            .facts()
            .await
            .context("cannot read the dead letters")?;
        let end = facts.last.saturating_add(1);
        let before = match filter.older_than {
            None => end,
            Some(age) => {
                let newest = self.server_time().await? - age;
                self.boundary(&pattern, facts.first, end, newest).await?
            }
        };
        Ok(Range { pattern, before })
    }

    /// The time of the server, which stored the letters: a wrong clock of this machine must not
    /// remove a recent one. Where the server does not report it, the newest stored message counts.
    async fn server_time(&self) -> anyhow::Result<OffsetDateTime> {
        let now = self.connection.server_time().await.map_err(command_error)?;
        let newest = self.view.server_time().await.map_err(command_error)?;
        Ok(now.max(newest).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// The first sequence stored at or after `time`, by binary search: sequences grow with time.
    async fn boundary(
        &self,
        pattern: &str,
        first: u64,
        end: u64,
        time: OffsetDateTime,
    ) -> anyhow::Result<u64> {
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self
                .view
                .next(middle, pattern)
                .await
                .map_err(command_error)?
            {
                Some(message) if stored_at(&message)? < time => low = message.sequence + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The oldest dead letter of a range from a sequence on.
    async fn next(&self, range: &Range, from: u64) -> anyhow::Result<Option<DeadLetter>> {
        let found = self
            .view
            .next(from, &range.pattern)
            .await
            .map_err(command_error)?;
        Ok(found
            .filter(|message| message.sequence < range.before)
            .map(DeadLetter::read))
    }

    /// Whether the object store holds any payload, possibly of a letter.
    async fn have_payloads(&self) -> anyhow::Result<bool> {
        match self.connection.objects(PAYLOADS)?.next(1).await {
            Err(TransportError::NotFound(_)) => Ok(false),
            found => Ok(found.map_err(command_error)?.is_some()),
        }
    }

    /// The dead letter with the number that a person gave.
    async fn numbered(&self, number: u64) -> anyhow::Result<DeadLetter> {
        match self.view.message(number).await? {
            Some(message) => Ok(DeadLetter::read(message)),
            None => Err(usage(format!(
                "there is no dead letter {number}; `mistersmith dlq list` shows their numbers"
            ))),
        }
    }
}

fn stored_at(message: &StoredMessage) -> anyhow::Result<OffsetDateTime> {
    OffsetDateTime::parse(&message.stored_at, &Rfc3339)
        .with_context(|| format!("the server says a strange time, {:?}", message.stored_at))
}
