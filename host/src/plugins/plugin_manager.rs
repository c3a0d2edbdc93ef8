//! The manager of all plugins of this host: compares the folder with what runs, and applies the
//! changes.
//!
//! The folder is scanned every `limits::SCAN`; that also finds changes that a watcher of the
//! operating system misses (network file systems, mounts into containers). A plugin is acted upon
//! when two scans found the same files, so that one that is still being copied is left alone. A
//! broken one is reported once, and its running revision goes on. Plugins are loaded and replaced
//! concurrently, each in a `LoadTask` of its own: one whose agents are busy for an hour holds up
//! no other.

mod entry;
mod scanned;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::status::StopReason;
use mistersmith_core::config::{Findings, PluginSpec};
use mistersmith_core::names::AgentId;

use super::load_task::{Done, LoadTask, Order};
use super::loading::{Problem, Read};
use super::manager_port::{Change, Folder, PluginPort, Running, Wanted};
use super::pins::Pins;
use super::watch::{Looked, Seen};
use entry::{Due, PluginEntry};

/// The plugins of this host.
pub(crate) struct PluginManager<P: PluginPort> {
    port: Arc<P>,
    folder: P::Folder,
    entries: BTreeMap<String, PluginEntry<P::Running>>,
    /// Removed plugins that are finishing their work. At their end they give up ids and consumers,
    /// so until then nothing is started under their names.
    leaving: BTreeMap<String, AbortOnDropHandle<()>>,
    /// The problems of the folder itself in the last scan.
    findings: String,
    /// The lock as the last scan found it.
    pins: Arc<Pins>,
    /// Set while the host has no lease; nothing is started then.
    suspended: bool,
    /// The next scan is acted upon without a second one that finds the same.
    at_once: bool,
    /// Ids of an earlier run are still to be given up, once every plugin has been tried.
    strays: bool,
}

impl<P: PluginPort> PluginManager<P> {
    /// A manager of the plugins of this folder; none is loaded yet.
    pub(super) fn over(port: P) -> Self {
        Self {
            folder: port.folder(),
            port: Arc::new(port),
            entries: BTreeMap::new(),
            leaving: BTreeMap::new(),
            findings: String::new(),
            pins: Arc::new(Pins::Absent),
            suspended: false,
            at_once: true,
            strays: true,
        }
    }

    /// The number of plugins that run, that are loading for the first time, and that failed to
    /// load.
    pub(crate) fn count(&self) -> [usize; 3] {
        let running = |entry: &&PluginEntry<P::Running>| entry.unit.is_some();
        let loading =
            |entry: &&PluginEntry<P::Running>| entry.unit.is_none() && entry.job.is_some();
        let broken = |entry: &&PluginEntry<P::Running>| entry.broken;
        let entries = || self.entries.values();
        [
            entries().filter(running).count(),
            entries().filter(loading).count(),
            entries().filter(broken).count(),
        ]
    }

    /// Loads the plugins of the folder, and returns when that is done or only components that take
    /// long to compile are left; with `every` it waits for these too. Cancel safe like
    /// [`PluginManager::scan`].
    pub(crate) async fn load(&mut self, every: bool) {
        self.scan().await;
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            let job = self
                .entries
                .get_mut(&name)
                .and_then(|entry| entry.job.as_mut());
            let done = match job {
                Some(job) if every => Some(job.finish().await),
                Some(job) => job.finish_soon().await,
                None => None,
            };
            if let Some(done) = done {
                self.finished(&name, done);
            }
        }
        self.give_up_strays().await;
    }

    /// Gives up ids that this host claimed in an earlier run and no longer uses: the plugin was
    /// removed meanwhile, or has fewer instances. Ids of a plugin that could not be loaded stay
    /// claimed. Runs once, when no plugin is loading any more.
    async fn give_up_strays(&mut self) {
        // A folder that cannot be read gives no information about its plugins.
        let unread = self.entries.is_empty() && !self.findings.is_empty();
        if !self.strays || unread || self.entries.values().any(|entry| entry.job.is_some()) {
            return;
        }
        let ids = self.port.claimed().await.unwrap_or_default();
        let stray = |id: &AgentId| match self.entries.get(id.plugin()) {
            Some(entry) => entry.unit.as_ref().is_some_and(|unit| !unit.claims_id(id)),
            None => !self.leaving.contains_key(id.plugin()),
        };
        let strays = ids.into_iter().filter(stray).collect();
        self.port.give_up(strays).await;
        self.strays = false;
    }

    /// Scans the folder and applies the changes. Waits for no load task, and may be dropped while
    /// it waits for a file system that hangs.
    pub(crate) async fn scan(&mut self) {
        let Looked {
            seen,
            findings,
            pins,
        } = self.folder.next().await;
        self.collect().await;
        self.follow_lock(pins);
        if !self.suspended {
            self.mend().await;
            self.follow(seen, &findings).await;
            // Every plugin found now has a load task; before, each of its ids would look unused.
            self.give_up_strays().await;
        }
    }

    /// Takes in the results of finished load tasks.
    async fn collect(&mut self) {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            let job = self
                .entries
                .get_mut(&name)
                .and_then(|entry| entry.job.as_mut());
            // It stays in its entry while it is waited for: dropping the wait must not lose it.
            if let Some(job) = job.filter(|job| job.is_finished()) {
                let done = job.finish().await;
                self.finished(&name, done);
            }
        }
    }

    /// Restarts the parts of plugins that exited unexpectedly.
    async fn mend(&mut self) {
        for entry in self
            .entries
            .values_mut()
            .filter(|entry| entry.job.is_none())
        {
            let broken = match &entry.unit {
                Some(unit) => unit.is_broken().await,
                None => false,
            };
            // Taken out only now, so that dropping the wait does not drop the running plugin with
            // it.
            if broken && let Some(unit) = entry.unit.take() {
                entry.job = Some(LoadTask::mend(unit));
            }
        }
    }

    async fn follow(&mut self, seen: Vec<Seen>, findings: &Findings) {
        self.report(findings.to_string());
        if !self.findings.is_empty() && seen.is_empty() {
            // A folder that is unreadable for a moment must not end every plugin.
            return;
        }
        let at_once = std::mem::take(&mut self.at_once);
        self.leaving.retain(|_, task| !task.is_finished());
        self.remove_missing(&seen, findings);
        for one in self.without_doubles(seen) {
            if self.leaving.contains_key(&one.name) {
                continue;
            }
            let entry = self.entries.entry(one.name.clone()).or_default();
            entry.ask_again(&self.pins, Instant::now());
            let due = entry.look(&one.fingerprint, at_once, Instant::now());
            if due == Due::New {
                entry.give_up_compiling().await;
            }
            if due == Due::Nothing || entry.job.is_some() {
                continue;
            }
            entry.tried = Some(one.fingerprint.clone());
            entry.again = None;
            if due == Due::New {
                entry.renew();
            }
            self.act(one).await;
        }
    }

    /// Reads a plugin's manifest and starts its load task.
    async fn act(&mut self, seen: Seen) {
        let others: Vec<&PluginSpec> = self
            .entries
            .iter()
            .filter(|(name, _)| **name != seen.name)
            .filter_map(|(_, entry)| entry.counts())
            .collect();
        let read = self.port.read(&seen, &others).await;
        let Some(entry) = self.entries.get_mut(&seen.name) else {
            return;
        };
        match read {
            // It is reported once for all plugins.
            Ok(Read::Spec(_)) if matches!(*self.pins, Pins::Unreadable(_)) => {
                entry.hold(self.pins.clone());
            }
            Ok(Read::Spec(spec)) => {
                let spec = Arc::new(*spec);
                entry.spec = Some(spec.clone());
                entry.pins = Some(self.pins.clone());
                let wanted = Wanted {
                    spec,
                    down: entry.down.clone(),
                    pins: self.pins.clone(),
                };
                let order = Order {
                    wanted,
                    unit: entry.unit.take(),
                    tries: entry.tries,
                };
                entry.job = Some(LoadTask::start(self.port.clone(), order));
            }
            Ok(Read::NoManifest) => self.port.suggest(seen.candidate),
            Ok(Read::NotBuilt(text)) => tracing::warn!(plugin = %seen.name, "{text}"),
            Err(problem) => self.failed(&seen.name, &problem),
        }
    }

    fn finished(&mut self, name: &str, done: Done<P::Running>) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.job = None;
        entry.unit = done.unit;
        match done.result {
            Ok(change) => {
                entry.broken = false;
                entry.held = false;
                entry.problem.clear();
                entry.tries = 0;
                let agents = entry.unit.as_ref().map_or(0, Running::agents);
                tracing::info!(plugin = name, agents, "plugin {}", change.as_str());
                if let Some(spec) = &entry.spec {
                    if let Some(finding) = self.port.outlasts_drain(spec) {
                        tracing::warn!(plugin = name, "{finding}");
                    }
                    let entry = json!({
                        "plugin": name,
                        "version": spec.version,
                        "change": change.as_str(),
                        "permissions": spec.permissions,
                        "work": spec.work.iter().flat_map(|w| w.patterns()).collect::<Vec<_>>(),
                    });
                    self.port.audit(entry);
                }
            }
            Err(problem) => {
                // The old revision goes on.
                entry.spec = entry.unit.as_ref().map(|unit| unit.spec().clone());
                self.failed(name, &problem);
            }
        }
    }

    fn failed(&mut self, name: &str, problem: &Problem) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let goes_on = match entry.unit {
            Some(_) => "; the version that runs goes on",
            None => "",
        };
        entry.failed(problem, Instant::now());
        if entry.problem == problem.text() {
            return;
        }
        entry.problem = problem.text().to_owned();
        tracing::error!(
            plugin = name,
            "plugin not loaded{goes_on}: {}",
            problem.text()
        );
        let entry =
            json!({"plugin": name, "change": Change::Refused.as_str(), "error": problem.text()});
        self.port.audit(entry);
    }

    /// Ends plugins that two scans did not find: in a single scan the folder may be in transition
    /// to its new content.
    fn remove_missing(&mut self, seen: &[Seen], findings: &Findings) {
        let folder = self.port.path();
        let missing = |name: &String| {
            let unreadable = || findings.iter().any(|f| f.file == folder.join(name));
            !seen.iter().any(|s| s.name == *name) && !unreadable()
        };
        let twice = |(name, entry): (&String, &mut PluginEntry<P::Running>)| {
            (missing(name) && entry.seen.take().is_none()).then(|| name.clone())
        };
        let gone: Vec<String> = self.entries.iter_mut().filter_map(twice).collect();
        for name in gone {
            let Some(entry) = self.entries.remove(&name) else {
                continue;
            };
            if entry.job.is_none() && entry.unit.is_none() {
                continue;
            }
            // A removed plugin may take its time without holding up others.
            let leave = leave(self.port.clone(), entry);
            self.leaving
                .insert(name, AbortOnDropHandle::new(tokio::spawn(leave)));
        }
    }

    /// Ends every agent within `limit`. Suspended plugins remember what a command has shut down.
    pub(crate) async fn stop(&mut self, reason: StopReason, limit: Duration) {
        let suspended = self.suspended;
        let entries = self.entries.values_mut().map(|entry| async move {
            let unit = match entry.job.take() {
                Some(job) => job.interrupt().await.unit,
                None => entry.unit.take(),
            };
            if let Some(unit) = unit {
                if suspended {
                    entry.down = unit.shut_down().await;
                }
                unit.stop(reason, limit).await;
            }
        });
        // Removed plugins have agents too; dropping their tasks ends those that exceed the limit.
        let leaving = std::mem::take(&mut self.leaving).into_values();
        let leaving = leaving.map(|task| tokio::time::timeout(limit, task));
        tokio::join!(join_all(entries), join_all(leaving));
    }

    /// Ends every agent within `limit`, because another host may soon have their ids.
    pub(crate) async fn suspend(&mut self, limit: Duration) {
        self.suspended = true;
        self.stop(StopReason::LeaseLost, limit).await;
    }

    /// Starts the suspended plugins again.
    pub(crate) fn wake(&mut self) {
        self.suspended = false;
        self.at_once = true;
        for entry in self.entries.values_mut() {
            entry.again = Some(Instant::now());
        }
    }
}

/// Ends a plugin that was removed from the folder.
async fn leave<P: PluginPort>(port: Arc<P>, entry: PluginEntry<P::Running>) {
    let unit = match entry.job {
        Some(job) => job.interrupt().await.unit,
        None => entry.unit,
    };
    if let Some(spec) = entry.spec {
        port.leave(&spec.name, unit).await;
    }
}

#[cfg(test)]
mod tests;
