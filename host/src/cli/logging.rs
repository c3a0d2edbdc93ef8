//! The log: where its lines go, which are written, and in what form.
//!
//! Lines go to standard error, because standard output belongs to the command's result.

use std::str::FromStr;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::cli::exit::usage;
use crate::cli::output;

/// The variable that replaces the filter that `-v` and `-q` make, in the form of `env_logger`.
const FILTER_VARIABLE: &str = "MISTERSMITH_LOG";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// How much is logged: what the command wants, and how often the person said `-v` and `-q`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verbosity {
    /// The command runs agents, so that its log is what the person watches.
    pub(crate) hosts: bool,
    /// How often `-v` was given.
    pub(crate) more: u8,
    /// How often `-q` was given.
    pub(crate) less: u8,
}

impl Verbosity {
    /// The filter: our own lines and those of plugins at the level asked for, those of the libraries
    /// only when they warn. The NATS library is heard only where more is asked for: what it has to say,
    /// transport says once and with the fix, and it logs a line for each message it drops. A command
    /// that runs no agents says what it has to say by its result and its error.
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

/// Starts the log. Called once, before anything is logged.
pub(crate) fn start(format: Option<LogFormat>, verbosity: Verbosity) -> anyhow::Result<()> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::from_str(&text)
            .map_err(|error| usage(format!("{FILTER_VARIABLE} is {text:?}: {error}")))?,
        _ => EnvFilter::from_str(&verbosity.filter())?,
    };
    let watched = output::is_watched();
    let format = format.unwrap_or(if watched {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match format {
        LogFormat::Text => lines.with_ansi(watched).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

#[cfg(test)]
mod tests {
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
}
