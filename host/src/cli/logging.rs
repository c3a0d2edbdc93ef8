//! The log: destination, filter and format of its lines.
//!
//! Lines go to standard error, because standard output holds the command's result. A command that
//! holds agents writes them through a [`queue`], so that no reader of the log can stop or end it;
//! any other command waits for its reader, as programs do.

mod panics;
mod queue;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::cli::usage::usage;
use queue::Queue;

/// How long the end of the process waits until the last lines are read.
const LAST_LINES: Duration = Duration::from_secs(2);
/// The log message in place of missing lines.
const DROPPED: &str = "lines of the log were dropped: what reads standard error does not keep up";

/// The lines waiting for standard error, in a command that holds agents.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The variable that replaces the filter made by `-v` and `-q`, in the syntax of `env_logger`.
const FILTER_VARIABLE: &str = "MISTERSMITH_LOG";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// The log level: the command's default, and the number of `-v` and `-q` options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verbosity {
    /// The command runs agents, so the user watches its log.
    pub(crate) hosts: bool,
    /// Number of `-v` options.
    pub(crate) more: u8,
    /// Number of `-q` options.
    pub(crate) less: u8,
}

impl Verbosity {
    /// The filter: lines of this program and of plugins at the chosen level, lines of libraries
    /// from warnings up. The NATS library is logged only at a higher level: transport logs the same
    /// events once and with the fix, and the library logs a line for each message it drops. A
    /// command that runs no agents reports by its result and its error.
    fn filter(self) -> String {
        const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
        let normal: u8 = if self.hosts { 2 } else { 0 };
        let wanted = normal.saturating_add(self.more).saturating_sub(self.less);
        let level = LEVELS.get(usize::from(wanted)).unwrap_or(&"trace");
        let libraries = if wanted == 0 { "error" } else { "warn" };
        let nats = if self.more == 0 {
            ",async_nats=off"
        } else {
            ""
        };
        format!("{libraries},mistersmith={level},plugin={level}{nats}")
    }
}

/// Starts the log. Called once, before anything is logged. With `queued`, no thread ever waits for
/// the reader of standard error.
#[expect(
    clippy::disallowed_methods,
    reason = "the filter of the log, and its stream"
)]
pub(crate) fn start(
    format: Option<LogFormat>,
    verbosity: Verbosity,
    queued: bool,
) -> anyhow::Result<()> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::from_str(&text)
            .map_err(|error| usage(format!("{FILTER_VARIABLE} is {text:?}: {error}")))?,
        _ => EnvFilter::from_str(&verbosity.filter())?,
    };
    let watched = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let format = format.unwrap_or(if watched {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let writer = if queued {
        let queue = spawn(format)?;
        BoxMakeWriter::new(move || queue.clone())
    } else {
        BoxMakeWriter::new(std::io::stderr)
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // Its internal error about an unwritable standard error would be a panic.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE);
    let started = match format {
        LogFormat::Text => lines.with_ansi(watched).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))?;
    if queued {
        panics::log();
    }
    Ok(())
}

/// Starts the thread that writes the log.
#[expect(clippy::disallowed_methods, reason = "the stream of the log")]
fn spawn(format: LogFormat) -> anyhow::Result<Queue> {
    // Not through `io::stderr`: the thread would hold its lock while the reader does not read.
    let out = std::io::stderr().as_fd().try_clone_to_owned();
    let out = File::from(out.context("cannot start the log")?);
    let queue = QUEUE.get_or_init(Queue::default).clone();
    let writer = queue.clone();
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.write_to(out, |dropped| report(format, dropped)))
        .context("cannot start the log")?;
    Ok(queue)
}

/// Writes lines to standard error through the queue; false where there is none.
pub(crate) fn enqueue(lines: &str) -> bool {
    QUEUE
        .get()
        .map(|queue| queue.push(lines.as_bytes()))
        .is_some()
}

/// Waits, for a bounded time, until everything logged is read. For the end of the process.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// The line that replaces missing ones.
fn report(format: LogFormat, dropped: u64) -> String {
    let now = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default();
    let target = module_path!();
    match format {
        LogFormat::Text => format!("{now}  WARN {target}: {DROPPED} dropped={dropped}\n"),
        LogFormat::Json => {
            let line = json!({
                "timestamp": now,
                "level": "WARN",
                "target": target,
                "message": DROPPED,
                "dropped": dropped,
            });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn words_for_more_and_less() {
        let cases = [
            (
                true,
                0,
                0,
                "warn,mistersmith=info,plugin=info,async_nats=off",
            ),
            (
                false,
                0,
                0,
                "error,mistersmith=error,plugin=error,async_nats=off",
            ),
            (false, 1, 0, "warn,mistersmith=warn,plugin=warn"),
            (true, 1, 0, "warn,mistersmith=debug,plugin=debug"),
            (false, 9, 0, "warn,mistersmith=trace,plugin=trace"),
            (
                false,
                0,
                1,
                "error,mistersmith=error,plugin=error,async_nats=off",
            ),
            (
                true,
                0,
                200,
                "error,mistersmith=error,plugin=error,async_nats=off",
            ),
        ];
        for (hosts, more, less, filter) in cases {
            let verbosity = Verbosity { hosts, more, less };
            assert_eq!(verbosity.filter(), filter);
            assert!(EnvFilter::from_str(filter).is_ok());
        }
    }
    #[test]
    fn missing_lines_are_reported_in_the_form_of_the_log() {
        let line: serde_json::Value = serde_json::from_str(&report(LogFormat::Json, 3)).unwrap();
        assert_eq!(
            (&line["level"], &line["dropped"]),
            (&json!("WARN"), &json!(3))
        );
        let text = report(LogFormat::Text, 3);
        assert!(text.ends_with("does not keep up dropped=3\n"), "{text}");
    }
}
