//! The `mistersmith-bench` program: measures the host beside a native handler that does the same.

#![allow(
    clippy::disallowed_methods,
    reason = "a tool that reads its own files and prints"
)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use mistersmith_bench::command;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The allocator of the host: the native handler must not differ in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage (`EX_USAGE` of sysexits.h), as for `mistersmith`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match command::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is left to do when neither stream can be written.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(mistersmith_runtime::trim_when_idle)
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the threads")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when nobody reads it.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures until it is done or a signal stops it.
async fn run(args: command::Args) -> anyhow::Result<()> {
    let stopped = CancellationToken::new();
    for kind in [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::terminate(),
    ] {
        let (mut signal, stopped) = (signal(kind)?, stopped.clone());
        tokio::spawn(async move {
            signal.recv().await;
            stopped.cancel();
        });
    }
    command::run(args, stopped).await
}
