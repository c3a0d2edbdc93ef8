//! Python with a NATS client, installed by `make python` beside cargo's build products.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::cli::Ran;

/// Time limit of a script: each wait in it has a deadline of its own, with a clearer message.
const LIMIT: Duration = Duration::from_secs(180);

/// The interpreter.
///
/// # Panics
/// When it is missing: a script that did not run is not a script that works.
fn interpreter() -> PathBuf {
    let python = crate::target().join("python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make test`, or `make python` once",
        python.display()
    );
    python
}

/// Runs Python in a folder, with these variables and without any other NATS settings.
pub async fn python<A: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    variables: &[(&str, &str)],
    args: &[A],
) -> Ran {
    let mut command = tokio::process::Command::new(interpreter());
    command
        .args(args)
        .current_dir(folder)
        .env_remove("NATS_URL")
        .env_remove("NATS_CREDS")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, command.output()).await;
    let output = ended.expect("a script ends").unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
