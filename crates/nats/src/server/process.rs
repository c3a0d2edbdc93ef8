//! The process of the host's own nats-server, and a guard that ends it when the host is gone.
//!
//! The guard is a shell that waits on a pipe from the host. However the host ends, the pipe closes,
//! and the guard asks the server to end. (A signal at the parent's death would need unsafe code.)

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, ChildStdin, Command};

use super::error::ServerError;
use super::files::Files;
use mistersmith_core::files::{read, read_text};
use mistersmith_core::limits::MAX_SMALL_FILE;

/// Waits until standard input closes, then ends the process `$1` if that still is the server with
/// the configuration `$2`: process ids are used again.
const GUARD: &str = r#"
read -r nothing
words=$(tr '\0' ' ' < "/proc/$1/cmdline" || ps -o args= -p "$1")
case "$words" in *nats-server*"$2"*) kill -TERM "$1" ;; esac
"#;

/// How long an orphan may take to end.
const ORPHAN_WAIT: Duration = Duration::from_secs(10);

/// Ends the server when it is dropped, or when this process is gone.
#[derive(Debug)]
pub(super) struct Guard {
    /// Closing it ends the server.
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Ends the server now.
    pub(super) fn end(mut self) {
        self.pipe = None;
    }
}

/// Starts the server, in a process group of its own: Ctrl-C in the terminal is for the host, which
/// drains before it ends the server.
pub(super) fn spawn(program: &Path, files: &Files) -> Result<Child, ServerError> {
    Command::new(program)
        .arg("-c")
        .arg(&files.config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(files.new_log()?)
        .process_group(0)
        .spawn()
        .map_err(|source| ServerError::File {
            path: program.to_owned(),
            source,
        })
}

/// Starts the guard of a server.
pub(super) fn guard(pid: u32, files: &Files) -> Result<Guard, ServerError> {
    files.write_pid(pid)?;
    let mut shell = Command::new("/bin/sh")
        .args(["-c", GUARD, "mistersmith-guard"])
        .arg(pid.to_string())
        .arg(&files.config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| ServerError::File {
            path: "/bin/sh".into(),
            source,
        })?;
    let pipe = shell.stdin.take();
    // It ends by itself; the runtime takes its exit status.
    drop(shell);
    Ok(Guard { pipe })
}

/// Ends a server that an earlier host left running on this data folder: two on one store would ruin
/// it.
pub(super) async fn end_orphan(files: &Files) -> Result<(), ServerError> {
    let written = read_text(&files.pid, MAX_SMALL_FILE).unwrap_or_default();
    let Ok(pid) = written.trim().parse::<u32>() else {
        return Ok(());
    };
    let start = Instant::now();
    while is_ours(pid, files).await {
        let hard = start.elapsed() > ORPHAN_WAIT;
        if start.elapsed() > 2 * ORPHAN_WAIT {
            return Err(files.failed(&format!(
                "of an earlier run (process {pid}) still uses this data folder and cannot be ended"
            )));
        }
        tracing::info!(
            pid,
            "ending the nats-server that an earlier run left behind"
        );
        let signal = if hard { "-KILL" } else { "-TERM" };
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill \"$1\" \"$2\"", "kill", signal, &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    files.remove_pid();
    Ok(())
}

/// Whether this process is a nats-server that was started with our configuration file.
async fn is_ours(pid: u32, files: &Files) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}/cmdline"));
    let words: Vec<u8> = match read(&proc, MAX_SMALL_FILE) {
        Ok(words) => words,
        Err(_) if Path::new("/proc/self").exists() => return false,
        // Not Linux.
        Err(_) => Command::new("ps")
            .args(["-o", "args=", "-p", &pid.to_string()])
            .output()
            .await
            .map(|output| output.stdout)
            .unwrap_or_default(),
    };
    let words = String::from_utf8_lossy(&words);
    words.contains("nats-server") && words.contains(&files.config.display().to_string())
}
