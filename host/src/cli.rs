//! The command line: what a person types, and how it ends.
//!
//! One file per command. A command reads its arguments and the configuration, asks the parts that
//! do the work, and prints; it decides nothing that a host, a plugin or NATS relies on. Only here
//! are the environment read and standard output written.

mod agents;
mod audit;
mod bench;
mod build;
mod check;
mod connect;
mod demo;
mod dlq;
mod exit;
mod global;
mod logging;
mod message;
mod new;
mod output;
mod provision;
mod publish;
mod request;
mod run;
mod scatter;
mod timeline;

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

pub use exit::Exit;
use global::Global;
pub use logging::flush as flush_log;

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
    /// Measure this machine: the product beside a native handler that does the same
    Bench(bench::Args),
    /// Look at dead letters, send them again, remove them
    #[command(subcommand)]
    Dlq(dlq::Command),
}

impl Cli {
    /// Reads the arguments of the process. What is wrong with them, or the help that they ask
    /// for, is printed here.
    ///
    /// # Errors
    /// The exit that is left to do: 64, or 0 after help.
    pub fn from_arguments(arguments: impl Iterator<Item = OsString>) -> Result<Cli, Exit> {
        Cli::try_parse_from(arguments).map_err(|error| {
            // Nothing is left to say when neither stream can be written.
            let _ = error.print();
            if error.use_stderr() {
                Exit::USAGE
            } else {
                Exit::DONE
            }
        })
    }

    /// The command holds agents, or processes, so that it has to be told of a signal and given time to end them.
    pub fn drains(&self) -> bool {
        matches!(
            self.command,
            None | Some(Command::Run | Command::Demo(_) | Command::Bench(_))
        )
    }

    /// The log is what the person watches; the demonstration tells its own story.
    fn logs(&self) -> bool {
        matches!(self.command, None | Some(Command::Run))
    }

    /// Runs the command and prints its error, if any. Where [`Cli::drains`], it returns soon
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
            Some(Command::Provision(args)) => provision::run(global, &args).await,
            Some(Command::Agents(args)) => agents::run(global, &args).await,
            Some(Command::Publish(args)) => publish::run(global, args).await,
            Some(Command::Request(args)) => request::run(global, args).await,
            Some(Command::Scatter(args)) => scatter::run(global, args).await,
            Some(Command::Timeline(args)) => timeline::run(global, &args).await,
            Some(Command::Dlq(command)) => dlq::run(global, command).await,
            Some(Command::Demo(args)) => demo::run(global, args, shutdown).await,
            Some(Command::Bench(args)) => bench::run(global, args, shutdown).await,
            Some(Command::Run) | None => run::run(global, shutdown).await,
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
