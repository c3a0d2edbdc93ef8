//! Guards: shell processes that end what the benchmark started, also when it is killed itself.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::{ChildStdin, Command};

/// Ends a host when its standard input ends: with the host's owner, also where that is killed
/// outright. Looks first whether the process is still that host.
const GUARD: &str = "read -r _; \
    case \"$(tr '\\0' ' ' <\"/proc/$1/cmdline\")\" in *\"$2\"*) kill -KILL \"$1\" ;; esac";

/// Starts the guard of a host; it acts when what is returned is dropped.
pub(super) fn guard(pid: u32, folder: &Path) -> anyhow::Result<ChildStdin> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", GUARD, "mistersmith-guard", &pid.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the guard of a host")?;
    shell.stdin.take().context("the guard has no pipe")
}
