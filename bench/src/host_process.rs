//! A host in a process of its own: from its start until it has drained.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::process::{Child, ChildStdin, Command};

use super::guard::guard;
use super::process;

/// How long hosts may take until their agents are ready: compiling 200 plugins takes its time.
pub(super) const READY_WAIT: Duration = Duration::from_secs(300);
/// How long a process may take to end when asked to.
const END_WAIT: Duration = Duration::from_secs(60);
/// Lines of a host's log that an error quotes.
const QUOTED_LINES: usize = 5;

/// A host in a process of its own.
pub(super) struct HostProcess {
    child: Child,
    _guard: ChildStdin,
    /// Its process id.
    pub(super) pid: u32,
    log: PathBuf,
    /// From its start until the first of its agents was ready.
    pub(super) first_ready: Duration,
    /// From its start until all of its agents were ready.
    pub(super) all_ready: Duration,
}

impl HostProcess {
    /// A host whose process has just been started in this folder, and logs into a file.
    pub(super) fn of(child: Child, folder: &Path, log: PathBuf) -> anyhow::Result<Self> {
        let pid = child.id().unwrap_or_default();
        Ok(Self {
            pid,
            child,
            _guard: guard(pid, folder)?,
            log,
            first_ready: Duration::ZERO,
            all_ready: Duration::ZERO,
        })
    }

    /// Waits until so many agents are ready.
    pub(super) async fn ready(
        &mut self,
        events: &mut Subscriber,
        agents: usize,
        begun: Instant,
    ) -> anyhow::Result<()> {
        let mut ready = HashSet::new();
        while ready.len() < agents {
            let left = READY_WAIT.saturating_sub(begun.elapsed());
            tokio::select! {
                event = events.next() => {
                    let event = event.context("the connection has ended")?;
                    ready.insert(event.subject.to_string());
                    if ready.len() == 1 {
                        self.first_ready = begun.elapsed();
                    }
                }
                ended = self.child.wait() => bail!("the host has ended \
                    ({}):\n{}", ended?, self.last_words()),
                () = tokio::time::sleep(left) => bail!(
                    "{} of {agents} agents are ready after {} s:\n{}",
                    ready.len(), READY_WAIT.as_secs(), self.last_words()
                ),
            }
        }
        self.all_ready = begun.elapsed();
        Ok(())
    }

    /// Fails when the process has ended.
    pub(super) fn runs(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.child.try_wait()? {
            bail!("a host has ended ({ended}):\n{}", self.last_words());
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(QUOTED_LINES).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// CPU time since its start.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu(self.pid)
    }

    /// Lets it drain, and waits until it has ended.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        let line = ["-c", "kill -TERM \"$1\"", "kill", &self.pid.to_string()];
        Command::new("/bin/sh").args(line).status().await?;
        if tokio::time::timeout(END_WAIT, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await?;
        }
        Ok(())
    }
}
