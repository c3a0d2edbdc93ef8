//! Child processes that end with the test, and their signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use super::wait::{PATIENCE, until};

/// A command to start. Where the system supports it, the child is killed when the test process
/// dies, so that an aborted test run leaves no servers behind.
pub(crate) fn program(path: impl AsRef<Path>) -> Command {
    const SETPRIV: &str = "/usr/bin/setpriv";
    if !Path::new(SETPRIV).exists() {
        return Command::new(path.as_ref());
    }
    // If `nohup` runs the tests, a host would inherit the ignored SIGHUP.
    let mut command = Command::new("env");
    command
        .args(["--default-signal=HUP", SETPRIV, "--pdeathsig", "KILL"])
        .arg(path.as_ref());
    command
}

/// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`, `INT`.
pub fn signal(pid: u32, name: &str) {
    let line = format!("kill -{name} {pid}");
    let sent = Command::new("sh").args(["-c", &line]).status().expect("sh");
    assert!(sent.success(), "`{line}` failed");
}

/// Stops a process until `CONT`, and waits until all of its threads have stopped: after the signal
/// alone it still has time to answer a message.
pub(crate) fn pause(pid: u32) {
    signal(pid, "STOP");
    let begun = Instant::now();
    while !threads(pid).all(|thread| state(&thread) == Some('T')) {
        assert!(begun.elapsed() < PATIENCE, "process {pid} does not stop");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// The `/proc` folders of its threads.
fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    threads.filter_map(|thread| Some(thread.ok()?.path()))
}

/// The state letter of a process or thread, from its `/proc` folder.
fn state(folder: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The state follows the name, which is in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let state = state(Path::new(&format!("/proc/{pid}")));
    !matches!(state, Some('Z' | 'X') | None)
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Owned(Child);

impl Owned {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Waits until the child has ended by itself.
    pub(crate) async fn ended(&mut self, what: &str) -> ExitStatus {
        until(&format!("{what} ends"), async || self.exited()).await
    }

    pub(crate) fn kill(&mut self) {
        // The child may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}
