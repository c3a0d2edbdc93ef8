//! Child processes that end with the test, and signals.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use super::wait::until;

/// A program to start. Where the system can do it, the child is killed when the test process
/// dies, so that an aborted test run leaves no servers behind.
pub fn program(path: impl AsRef<Path>) -> Command {
    const SETPRIV: &str = "/usr/bin/setpriv";
    if !Path::new(SETPRIV).exists() {
        return Command::new(path.as_ref());
    }
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", "KILL"]).arg(path.as_ref());
    command
}

/// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`, `INT`.
pub fn signal(pid: u32, name: &str) {
    let line = format!("kill -{name} {pid}");
    let sent = Command::new("sh").args(["-c", &line]).status().expect("sh");
    assert!(sent.success(), "`{line}` failed");
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state stands behind the name, which is in parentheses and may hold anything.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub struct Owned(Child);

impl Owned {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, what: &str) -> ExitStatus {
        until(&format!("{what} ends"), async || self.exited()).await
    }

    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}
