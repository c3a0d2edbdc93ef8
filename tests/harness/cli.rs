//! Commands of `mistersmith` that end by themselves.

use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::wait::PATIENCE;

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// # Panics
    /// When the command did not end with 0.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Its standard output, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs a command in a folder, with these variables and without any other NATS settings.
pub(crate) async fn run<A: AsRef<OsStr>>(
    folder: &Path,
    variables: &[(&str, String)],
    args: &[A],
) -> Ran {
    run_fed(folder, variables, args, b"").await
}

/// Runs a command as above, with `input` on its standard input.
pub(crate) async fn run_fed<A: AsRef<OsStr>>(
    folder: &Path,
    variables: &[(&str, String)],
    args: &[A],
    input: &[u8],
) -> Ran {
    // A file and not a pipe, which would have to be filled while the command runs.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    let mut command = tokio::process::Command::new(crate::program("mistersmith"));
    command
        .args(args)
        .current_dir(folder)
        .env_remove("NATS_URL")
        .env_remove("NATS_CREDS")
        .env_remove("MISTERSMITH_LOG")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Some commands call cargo.
    let limit = PATIENCE * 10;
    let ended = tokio::time::timeout(limit, command.output()).await;
    let output = ended
        .unwrap_or_else(|_| panic!("a command does not end"))
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
