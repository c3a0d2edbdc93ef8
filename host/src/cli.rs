//! The command line: arguments, commands and exit codes.
//!
//! One file per command. A command reads its arguments and the configuration, calls the parts that
//! do the work, and prints; it makes no decision that a host, a plugin or NATS relies on. Only this
//! module reads the environment and writes standard output.

mod agents;
mod audit;
mod build;
mod check;
mod connect;
mod demo;
mod dlq;
mod draft;
mod exit;
mod global;
mod lock;
mod logging;
mod message;
mod new;
mod output;
mod permissions;
mod provision;
mod publish;
mod request;
mod run;
mod scatter;
mod timeline;
mod usage;

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

pub use exit::Exit;
use global::Global;
pub use logging::flush as flush_log;
pub use mistersmith_runtime::trim_when_idle;

/// Run agents as sandboxed WebAssembly components on NATS
#[derive(Debug, Parser)]
#[command(name = "mistersmith", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agents of the plugins folder (the default)
    Run,
    /// Start a host and show it at work on real documents
    Demo(demo::Args),
    /// Write a new plugin that compiles, passes its own test, and runs
    New(new::Args),
    /// Compile plugins to components and put each beside its manifest
    Build(build::Args),
    /// Show what the plugins import, take part in, may do and may use, and every mistake
    Check(check::Args),
    /// Show what the plugins may do, in words or as permissions of nats-server
    Permissions(permissions::Args),
    /// Pin the plugins of the folder, so that a host runs no others
    Lock(lock::Args),
    /// Make JetStream hold what hosts and plugins need
    Provision(provision::Args),
    /// Show the agents of all hosts, and work that nobody takes
    Agents(agents::Args),
    /// Publish a message
    Publish(publish::Args),
    /// Publish a message and print the answer
    Request(request::Args),
    /// Put a question to every agent that answers such, and print the answers
    Scatter(scatter::Args),
    /// Show what happened to a request or a workflow, rebuilt from the streams
    Timeline(timeline::Args),
    /// Compile one component for a host, which starts this itself
    #[command(hide = true)]
    CompileComponent,
    /// Look at dead letters, send them again, remove them
    #[command(subcommand)]
    Dlq(dlq::Command),
}

impl Cli {
    /// Parses the arguments of the process. Prints errors in them, or the help that they request.
    ///
    /// # Errors
    /// The exit code to end with: 64, or 0 after help.
    pub fn from_arguments(arguments: impl Iterator<Item = OsString>) -> Result<Cli, Exit> {
        Cli::try_parse_from(arguments).map_err(|error| {
            // Nothing remains to be done when neither stream can be written.
            let _ = error.print();
            if error.use_stderr() {
                Exit::USAGE
            } else {
                Exit::DONE
            }
        })
    }

    /// Whether the command holds agents or processes, so that it must be notified of a signal and
    /// given time to end them.
    pub fn drains(&self) -> bool {
        matches!(self.command, None | Some(Command::Run | Command::Demo(_)))
    }

    /// Whether this is the command that a host starts to compile a component: [`Cli::compile`] runs
    /// it, without threads and without a log.
    pub fn compiles(&self) -> bool {
        matches!(self.command, Some(Command::CompileComponent))
    }

    /// Reads an order from standard input and answers on standard output; both are pipes of a host.
    #[expect(clippy::disallowed_methods, reason = "the host reads the answer there")]
    pub fn compile() -> Exit {
        match mistersmith_runtime::serve(std::io::stdin(), std::io::stdout()) {
            Ok(()) => Exit::DONE,
            Err(error) => Exit::failed(&error.into()),
        }
    }

    /// Whether the user watches the log; the demonstration prints its own progress instead.
    fn logs(&self) -> bool {
        matches!(self.command, None | Some(Command::Run))
    }

    /// Runs the command and prints its error, if any. A command that [`Cli::drains`] returns soon
    /// after `shutdown` is cancelled; the others may be dropped at any time.
    pub async fn run(self, shutdown: CancellationToken) -> Exit {
        match self.execute(shutdown).await {
            Ok(()) => Exit::DONE,
            Err(error) => Exit::failed(&error),
        }
    }

    async fn execute(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.global.start_log(self.logs(), self.drains())?;
        let global = &self.global;
        match self.command {
            Some(Command::New(args)) => new::run(global, &args),
            Some(Command::Build(args)) => build::run(global, args).await,
            Some(Command::Check(args)) => check::run(global, &args).await,
            Some(Command::Permissions(args)) => permissions::run(global, &args),
            Some(Command::Lock(args)) => lock::run(global, &args),
            Some(Command::Provision(args)) => provision::run(global, &args).await,
            Some(Command::Agents(args)) => agents::run(global, &args).await,
            Some(Command::Publish(args)) => publish::run(global, args).await,
            Some(Command::Request(args)) => request::run(global, args).await,
            Some(Command::Scatter(args)) => scatter::run(global, args).await,
            Some(Command::Timeline(args)) => timeline::run(global, &args).await,
            Some(Command::Dlq(command)) => dlq::run(global, command).await,
            Some(Command::Demo(args)) => demo::run(global, args, shutdown).await,
            Some(Command::Run) | None => run::run(global, shutdown).await,
            Some(Command::CompileComponent) => {
                anyhow::bail!("compile-component is started by a host, before anything else")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, Exit> {
        let program = std::iter::once("mistersmith");
        Cli::from_arguments(program.chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_not() {
        for wrong in [
            &["frobnicate"][..],
            &["--frob"],
            &["build", "--frob"],
            &["--log-format", "xml"],
        ] {
            assert_eq!(parse(wrong).err(), Some(Exit::USAGE), "{wrong:?}");
        }
        for help in [&["--help"][..], &["--version"], &["build", "--help"]] {
            assert_eq!(parse(help).err(), Some(Exit::DONE), "{help:?}");
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = parse(&["build", "--plugins", "there", "-vv"]).unwrap();
        assert_eq!(cli.global.plugins().unwrap().to_str(), Some("there"));
    }
}
