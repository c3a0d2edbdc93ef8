//! The `mistersmith` program: arguments, logging, one command, its exit code.
//!
//! Everything a command does is in [`mistersmith::cli`]; here are only the things a process has one
//! of: the tokio runtime, the signals, and the place where the process ends.

use std::process::ExitCode;
use std::time::Duration;

use mistersmith::cli::{Cli, Exit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the end of the process waits for work on blocking threads, such as a read of standard
/// input that nobody will ever satisfy.
const BLOCKING_GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = match Cli::from_arguments(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Exit::failed(&anyhow::Error::new(error).context("cannot start the threads"))
                .into();
        }
    };
    let exit = runtime.block_on(run(cli));
    runtime.shutdown_timeout(BLOCKING_GRACE);
    exit.into()
}

/// Runs the command until it ends by itself or a signal ends it.
///
/// The commands that hold agents drain at the first signal and are told by the token; the others
/// have nothing to bring home, and end at once. A second signal ends the process whatever it does.
async fn run(cli: Cli) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            return Exit::failed(&anyhow::Error::new(error).context("cannot listen for signals"));
        }
    };
    let drains = cli.drains();
    let shutdown = CancellationToken::new();
    let command = cli.run(shutdown.clone());
    tokio::pin!(command);
    tokio::select! {
        exit = &mut command => return exit,
        signal = signals.next() => {
            if !drains {
                return Exit::signalled(signal);
            }
            shutdown.cancel();
        }
    }
    tokio::select! {
        exit = command => exit,
        // Not a return: the runtime would wait for the very task that hangs.
        signal = signals.next() => std::process::exit(Exit::signalled(signal).code().into()),
    }
}

/// The signals that ask the process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
