//! The options that every command takes, and the host configuration that they change.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use crate::cli::logging::{self, LogFormat, Verbosity};

/// Where plugins are looked for unless said otherwise.
const DEFAULT_PLUGINS: &str = "plugins";

/// Options that stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration of the host [default: mistersmith.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the plugins [default: plugins]
    #[arg(long, global = true, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Folder of the host's own data [default: .mistersmith]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// NATS server to use, several with commas between [default: $NATS_URL, else the
    /// configuration, else the host's own server]
    #[arg(long, global = true, value_name = "URL")]
    nats: Option<String>,
    /// Log more; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log less; twice for errors only
    #[arg(short, long, global = true, action = ArgAction::Count)]
    quiet: u8,
    /// Form of the log [default: text on a terminal, else json]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Global {
    /// Starts the log. `hosts` says that the command runs agents.
    pub(crate) fn start_log(&self, hosts: bool) -> anyhow::Result<()> {
        let verbosity = Verbosity {
            hosts,
            more: self.verbose,
            less: self.quiet,
        };
        logging::start(self.log_format, verbosity)
    }

    /// The person wants to see less.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    /// The folder of the plugins.
    pub(crate) fn plugins(&self) -> &Path {
        self.plugins
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_PLUGINS))
    }
}
