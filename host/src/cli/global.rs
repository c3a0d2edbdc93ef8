//! The options of every command, and the host configuration that they change.

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, Args};

use crate::cli::exit::{Exit, Shown};
use crate::cli::logging::{self, LogFormat, Verbosity};
use crate::cli::output;
use mistersmith_core::config::{self, Findings, HostEnv, HostSpec};

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
    /// Starts the log. `hosts`: the user watches the log; `queued`: no thread may wait for its
    /// reader.
    pub(crate) fn start_log(&self, hosts: bool, queued: bool) -> anyhow::Result<()> {
        let verbosity = Verbosity {
            hosts,
            more: self.verbose,
            less: self.quiet,
        };
        logging::start(self.log_format, verbosity, queued)
    }

    /// Whether the user asked for less output.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    /// The folder of the plugins.
    pub(crate) fn plugins(&self) -> anyhow::Result<PathBuf> {
        match &self.plugins {
            Some(plugins) => Ok(plugins.clone()),
            None => Ok(self.host_spec()?.plugins),
        }
    }

    /// The configuration of the host: the file, overridden by the environment, overridden by these
    /// options.
    #[expect(
        clippy::disallowed_methods,
        reason = "reads the environment for the host"
    )]
    pub(crate) fn host_spec(&self) -> anyhow::Result<HostSpec> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let environment = HostEnv {
            nats_url: self.nats.clone().or_else(|| variable("NATS_URL")),
            nats_creds: variable("NATS_CREDS").map(PathBuf::from),
            nats_server: variable("MISTERSMITH_NATS_SERVER").map(PathBuf::from),
            // Where the system cannot name it, only the search for a server beside it is left out.
            program: std::env::current_exe().ok(),
            path: std::env::var_os("PATH")
                .map(|path| std::env::split_paths(&path).collect())
                .unwrap_or_default(),
            compiler: program()?,
        };
        let mut spec = config::load_host(self.config.as_deref(), &environment)
            .map_err(|findings| complain(&findings))?;
        if let Some(plugins) = &self.plugins {
            spec.plugins.clone_from(plugins);
        }
        if let Some(data) = &self.data {
            spec.data.clone_from(data);
        }
        Ok(spec)
    }
}

/// The path of this program. On Linux the running file, even when another has replaced it: a
/// process that the host starts must be of its own version.
#[expect(clippy::disallowed_methods, reason = "finds this program")]
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Ok(running);
    }
    std::env::current_exe().context("cannot tell which file this program is")
}

/// Prints every mistake of a configuration, one line each; the returned error has only the exit
/// code.
pub(crate) fn complain(findings: &Findings) -> anyhow::Error {
    for finding in findings.iter() {
        output::complain(&finding.to_string());
    }
    Shown(Exit::USAGE).into()
}
