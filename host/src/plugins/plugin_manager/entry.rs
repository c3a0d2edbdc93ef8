//! The state of one plugin of the folder: files found, revision running, time of the next try.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use mistersmith_core::config::PluginSpec;
use mistersmith_core::limits::{COMPILE_RETRY_FIRST, COMPILE_RETRY_MOST, LOAD_RETRY};
use mistersmith_core::names::AgentId;

use super::super::load_task::LoadTask;
use super::super::loading::Problem;
use super::super::manager_port::Running;
use super::super::pins::Pins;
use super::super::watch::Fingerprint;

/// The known state of one plugin.
pub(super) struct PluginEntry<U> {
    /// The files found in the last scan.
    pub(super) seen: Option<Fingerprint>,
    /// The files last acted upon, successfully or not.
    pub(super) tried: Option<Fingerprint>,
    /// The manifest last acted upon.
    pub(super) spec: Option<Arc<PluginSpec>>,
    pub(super) unit: Option<U>,
    pub(super) job: Option<LoadTask<U>>,
    /// Agents that a command had shut down when the lease was lost.
    pub(super) down: BTreeSet<AgentId>,
    pub(super) broken: bool,
    /// The lock holds the files that were last acted upon.
    pub(super) held: bool,
    /// The lock by which they were last looked at.
    pub(super) pins: Option<Arc<Pins>>,
    /// The problem of the last try, reported once however often it is tried again.
    pub(super) problem: String,
    /// When to retry unchanged files, because the failure was not theirs.
    pub(super) again: Option<Instant>,
    /// How often compiling these files has failed.
    pub(super) tries: u32,
}

/// The action due for a plugin that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// None: its files are still changing, or were acted upon.
    Nothing,
    /// A retry of the same files: the failure was not theirs.
    Again,
    /// A load: its files differ from those last acted upon.
    New,
}

impl<U> Default for PluginEntry<U> {
    fn default() -> Self {
        Self {
            seen: None,
            tried: None,
            spec: None,
            unit: None,
            job: None,
            down: BTreeSet::new(),
            broken: false,
            held: false,
            pins: None,
            problem: String::new(),
            again: None,
            tries: 0,
        }
    }
}

impl<U: Running> PluginEntry<U> {
    /// Records the files found, and decides which action is due. `at_once` needs no second scan
    /// that finds the same.
    pub(super) fn look(&mut self, seen: &Fingerprint, at_once: bool, now: Instant) -> Due {
        let stable = self.seen.as_ref() == Some(seen);
        self.seen = Some(seen.clone());
        if !stable && !at_once {
            return Due::Nothing;
        }
        if self.tried.as_ref() != Some(seen) {
            return Due::New;
        }
        match self.again.is_some_and(|at| at <= now) {
            true => Due::Again,
            false => Due::Nothing,
        }
    }

    /// The manifest that other plugins are checked against, if this plugin runs or is starting.
    pub(super) fn counts(&self) -> Option<&PluginSpec> {
        let busy = self.unit.is_some() || self.job.is_some();
        self.spec.as_deref().filter(|_| busy)
    }

    /// Holds it, because the lock cannot be read.
    pub(super) fn hold(&mut self, pins: Arc<Pins>) {
        (self.broken, self.held) = (true, true);
        self.pins = Some(pins);
    }

    /// Has held files tried again when the lock is another than the one that held them.
    pub(super) fn ask_again(&mut self, pins: &Arc<Pins>, now: Instant) {
        let same = self.pins.as_ref().is_some_and(|old| Arc::ptr_eq(old, pins));
        if self.held && !same {
            self.held = false;
            self.again = Some(now);
        }
    }

    /// Resets the state for new files: the problem of the old ones no longer applies.
    pub(super) fn renew(&mut self) {
        self.problem.clear();
        self.held = false;
        self.down.clear();
        self.tries = 0;
    }

    /// Interrupts a long compilation whose result is no longer needed. The running plugin goes on.
    pub(super) async fn give_up_compiling(&mut self) {
        if self.job.as_ref().is_some_and(|job| job.is_late())
            && let Some(job) = self.job.take()
        {
            self.unit = job.interrupt().await.unit;
            self.spec = self.unit.as_ref().map(|unit| unit.spec().clone());
        }
    }

    /// Records that it could not be loaded, and when to retry.
    pub(super) fn failed(&mut self, problem: &Problem, now: Instant) {
        self.broken = true;
        self.held = matches!(problem, Problem::Held(_));
        self.again = match problem {
            Problem::Files(_) | Problem::Held(_) => None,
            Problem::Passing(_) => Some(now + LOAD_RETRY),
            Problem::Costly(_) => {
                self.tries = self.tries.saturating_add(1);
                Some(now + costly(self.tries))
            }
        };
    }
}

/// The wait after this number of expensive tries.
fn costly(tries: u32) -> Duration {
    let doubled = 2_u32.checked_pow(tries.saturating_sub(1));
    let wait = doubled.and_then(|factor| COMPILE_RETRY_FIRST.checked_mul(factor));
    wait.map_or(COMPILE_RETRY_MOST, |wait| wait.min(COMPILE_RETRY_MOST))
}

#[cfg(test)]
mod tests;
