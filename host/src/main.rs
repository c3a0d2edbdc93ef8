//! The `mistersmith` program: arguments, logging, one command, its exit code.
//!
//! [`mistersmith::cli`] contains the commands; this file contains the parts that exist once per
//! process: the tokio runtime, the signals, and the exit.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mistersmith::cli::{Cli, Exit, flush_log, trim_when_idle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// Messages are small allocations, made on one thread and freed on another: with this allocator the
/// host handles a fifth more of them than with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longest wait at the end of the process for blocking threads, such as a read of standard input
/// that never completes.
const BLOCKING_GRACE: Duration = Duration::from_millis(500);

/// A signal this soon after the first is a repetition of it: `timeout` and others signal both the
/// process and its group.
const ECHO: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "parses the arguments")]
fn main() -> ExitCode {
    let cli = match Cli::from_arguments(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    // Before any thread exists: the child process of a host closes and gives up the resources it
    // inherited.
    if cli.compiles() {
        return Cli::compile().into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(trim_when_idle)
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
    flush_log();
    exit.into()
}

/// Runs the command until it ends by itself or a signal ends it.
///
/// The commands that hold agents drain at the first signal, by the cancelled token; the others have
/// nothing to finish, and end at once. A second SIGINT or SIGTERM ends the process in any state.
#[expect(
    clippy::exit,
    reason = "a second signal ends the process whatever hangs"
)]
async fn run(cli: Cli) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            return Exit::failed(&anyhow::Error::new(error).context("cannot listen for signals"));
        }
    };
    let drains = cli.drains();
    let shutdown = CancellationToken::new();
    // A separate task: a command that blocks its thread must not keep the process from handling
    // signals.
    let mut command = tokio::spawn(cli.run(shutdown.clone()));
    let mut first: Option<Instant> = None;
    loop {
        let signal = tokio::select! {
            ended = &mut command => return exit_of(ended),
            signal = signals.next() => signal,
        };
        if !drains {
            return Exit::signalled(signal);
        }
        shutdown.cancel();
        // A closing terminal sends SIGHUP more than once, and so do shells and service managers
        // after SIGTERM. A repetition does not ask for an immediate end.
        if signal == HANGUP {
            continue;
        }
        if first.get_or_insert_with(Instant::now).elapsed() > ECHO {
            flush_log();
            // Not a return: the runtime would wait for the task that hangs.
            std::process::exit(Exit::signalled(signal).code().into());
        }
    }
}

/// The exit code of a command that ended; a panic was logged already.
fn exit_of(ended: Result<Exit, JoinError>) -> Exit {
    ended.unwrap_or(Exit::FAILED)
}

/// The number of SIGHUP.
const HANGUP: u8 = 1;

/// The signals that ask the process to end.
struct Signals {
    /// None where SIGHUP is ignored.
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let hangup = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Signals {
            hangup: hangup.transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => HANGUP,
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// Whether the process was started with SIGHUP ignored, as by `nohup`: then it stays ignored, and
/// the host outlives its terminal.
#[expect(clippy::disallowed_methods, reason = "a file of the kernel")]
fn is_hangup_ignored() -> bool {
    // On other systems than Linux this is unknown, and the signal counts.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}
