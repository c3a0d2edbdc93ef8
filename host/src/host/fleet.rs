//! All plugins of this host: what the folder holds, what of it runs, and what must change.
//!
//! The folder is looked at every [`limits::SCAN`]: that also sees what a watcher of the operating
//! system misses (network file systems, mounts into containers). A plugin is acted upon when its
//! files were the same in two looks, so that one that is still being copied is left alone. A
//! broken one is reported once; what runs of it goes on. Plugins are loaded and replaced side by
//! side, each in a job of its own: one whose agents are busy for an hour holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, Findings, PluginSpec};
use crate::limits;
use crate::names::AgentId;
use crate::patterns::audit;

use super::Shared;
use super::job::{Done, Job};
use super::loading::{self, Problem, Read};
use super::unit::{self, Unit};
use super::watch::{Fingerprint, Seen, Watch};

/// The plugins of this host.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    watch: Watch,
    slots: BTreeMap<String, Slot>,
    /// Removed plugins that still finish what they have in hand. At their end they give up ids and
    /// consumers, so until then nothing is started under their names.
    leaving: BTreeMap<String, AbortOnDropHandle<()>>,
    /// What was wrong with the folder itself in the last look.
    findings: String,
    /// Without the lease nothing is started.
    suspended: bool,
    /// The next look is acted upon without waiting for a second one that sees the same.
    at_once: bool,
}

/// What is known about one plugin.
#[derive(Default)]
struct Slot {
    /// What was seen in the last look.
    seen: Option<Fingerprint>,
    /// What was acted upon last, well or not.
    tried: Option<Fingerprint>,
    /// What its manifest said when it was acted upon last.
    spec: Option<Arc<PluginSpec>>,
    unit: Option<Unit>,
    job: Option<Job>,
    /// Agents that a command had ended when the lease was lost.
    down: BTreeSet<AgentId>,
    broken: bool,
    /// What was wrong when it was last tried: said once, however often it is tried again.
    problem: String,
    /// When to try again although the files are the same: the failure was not theirs.
    again: Option<Instant>,
}

impl Slot {
    /// The manifest that counts beside others: of what runs or is being started.
    fn counts(&self) -> Option<&PluginSpec> {
        let busy = self.unit.is_some() || self.job.is_some();
        self.spec.as_deref().filter(|_| busy)
    }
}

impl Fleet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            watch: Watch::new(&shared.spec.plugins),
            shared,
            slots: BTreeMap::new(),
            leaving: BTreeMap::new(),
            findings: String::new(),
            suspended: false,
            at_once: true,
        }
    }

    /// Plugins that run, and plugins that could not be loaded.
    pub(super) fn count(&self) -> (usize, usize) {
        let running = self.slots.values().filter(|slot| slot.unit.is_some());
        let broken = self.slots.values().filter(|slot| slot.broken);
        (running.count(), broken.count())
    }

    /// Loads what lies in the folder, and returns when that is done; cancel safe like
    /// [`Fleet::scan`].
    pub(super) async fn load(&mut self) {
        self.scan().await;
        self.collect(|_| true).await;
        self.give_up_strays().await;
    }

    /// Gives up ids that this host claimed before it was started and does not use any more: the
    /// plugin was removed meanwhile, or has fewer instances. Those of a plugin that could not be
    /// loaded stay ours.
    async fn give_up_strays(&self) {
        let claims = unit::claims(&self.shared);
        let ids = match claims.all().await {
            Ok(ids) => ids,
            Err(error) => return tracing::debug!(%error, "claims not looked through"),
        };
        let stray = |id: &AgentId| match self.slots.get(id.plugin()) {
            Some(slot) => slot.unit.as_ref().is_some_and(|unit| !unit.claims_id(id)),
            None => !self.leaving.contains_key(id.plugin()),
        };
        claims.give_up(ids.into_iter().filter(stray)).await;
    }

    /// Looks at the folder, and makes what runs follow it. Waits for no job, and may be dropped
    /// while it waits for a file system that hangs.
    pub(super) async fn scan(&mut self) {
        let (seen, findings) = self.watch.next().await;
        self.collect(Job::is_finished).await;
        if !self.suspended {
            self.mend().await;
            self.follow(seen, &findings).await;
        }
    }

    /// Takes over what jobs have brought about, and waits for it where they are not finished.
    async fn collect(&mut self, which: impl Fn(&Job) -> bool) {
        let names: Vec<String> = self.slots.keys().cloned().collect();
        for name in names {
            let job = self.slots.get_mut(&name).and_then(|slot| slot.job.as_mut());
            // It stays in its slot while it is waited for: dropping the wait must not lose it.
            if let Some(job) = job.filter(|job| which(job)) {
                let done = job.finish().await;
                self.finished(&name, done);
            }
        }
    }

    /// Starts again what ended although it should run.
    async fn mend(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.job.is_none()) {
            let broken = match &slot.unit {
                Some(unit) => unit.is_broken().await,
                None => false,
            };
            // Taken out only now: a wait that is dropped must not drop the unit with it.
            if broken && let Some(unit) = slot.unit.take() {
                slot.job = Some(Job::mend(unit));
            }
        }
    }

    async fn follow(&mut self, seen: Vec<Seen>, findings: &Findings) {
        self.report(findings.to_string());
        if !self.findings.is_empty() && seen.is_empty() {
            // A folder that cannot be read for a moment is no order to end everything.
            return;
        }
        let at_once = std::mem::take(&mut self.at_once);
        self.leaving.retain(|_, task| !task.is_finished());
        self.remove_missing(&seen, findings);
        for one in self.without_doubles(seen) {
            if self.leaving.contains_key(&one.name) {
                continue;
            }
            let slot = self.slots.entry(one.name.clone()).or_default();
            let stable = at_once || slot.seen.as_ref() == Some(&one.fingerprint);
            slot.seen = Some(one.fingerprint.clone());
            let again = slot.again.is_some_and(|at| at <= Instant::now());
            let new = slot.tried.as_ref() != Some(&one.fingerprint);
            if stable && slot.job.is_none() && (new || again) {
                slot.tried = Some(one.fingerprint.clone());
                slot.again = None;
                if new {
                    slot.problem.clear();
                    slot.down.clear();
                }
                self.act(one).await;
            }
        }
    }

    /// Two plugins of one name cannot both run, and nobody can tell which one is meant: neither is
    /// acted upon, and what runs under the name goes on.
    fn without_doubles(&mut self, seen: Vec<Seen>) -> Vec<Seen> {
        let doubled = |one: &Seen| seen.iter().filter(|other| other.name == one.name).count() > 1;
        let (doubles, single): (Vec<Seen>, Vec<Seen>) =
            seen.iter().cloned().partition(|one| doubled(one));
        for one in doubles {
            let slot = self.slots.entry(one.name.clone()).or_default();
            if slot.seen.as_ref() != Some(&Fingerprint::doubled()) {
                slot.seen = Some(Fingerprint::doubled());
                slot.broken = true;
                tracing::error!(
                    plugin = %one.name,
                    "two plugins are called `{0}`: the folder `{0}` and the file `{0}.wasm`; remove one of them",
                    one.name
                );
            }
        }
        single
    }

    /// Says what is wrong with the folder itself, once.
    fn report(&mut self, findings: String) {
        if self.findings != findings {
            if !findings.is_empty() {
                tracing::error!("plugins folder: {findings}");
            }
            self.findings = findings;
        }
    }

    /// Reads a plugin's manifest and starts the job that brings it to life.
    async fn act(&mut self, seen: Seen) {
        let others: Vec<&PluginSpec> = self
            .slots
            .iter()
            .filter(|(name, _)| **name != seen.name)
            .filter_map(|(_, slot)| slot.counts())
            .collect();
        let read = loading::read(&seen, &others).await;
        let Some(slot) = self.slots.get_mut(&seen.name) else {
            return;
        };
        match read {
            Ok(Read::Spec(spec)) => {
                let spec = Arc::new(*spec);
                slot.spec = Some(spec.clone());
                let (unit, down) = (slot.unit.take(), slot.down.clone());
                slot.job = Some(Job::start(self.shared.clone(), spec, unit, down));
            }
            Ok(Read::NoManifest) => {
                let shared = self.shared.clone();
                tokio::spawn(async move { loading::suggest(&shared, &seen.candidate).await });
            }
            Ok(Read::NotBuilt(text)) => tracing::warn!(plugin = %seen.name, "{text}"),
            Err(problem) => self.failed(&seen.name, &problem),
        }
    }

    fn finished(&mut self, name: &str, done: Done) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        slot.job = None;
        slot.unit = done.unit;
        match done.result {
            Ok(change) => {
                slot.broken = false;
                slot.problem.clear();
                let agents = slot.unit.as_ref().map_or(0, Unit::agents);
                tracing::info!(plugin = name, agents, "plugin {change}");
                if let Some(spec) = &slot.spec {
                    if let Some(finding) = config::outlasts_drain(spec, &self.shared.spec) {
                        tracing::warn!(plugin = name, "{finding}");
                    }
                    let entry = json!({
                        "plugin": name,
                        "version": spec.version,
                        "change": change,
                        "permissions": spec.permissions,
                        "work": spec.work.iter().flat_map(|w| w.patterns()).collect::<Vec<_>>(),
                    });
                    self.shared.around.outbox.audit(audit::PLUGIN, entry);
                }
            }
            Err(problem) => {
                // What goes on is the old version.
                slot.spec = slot.unit.as_ref().map(|unit| unit.version().spec.clone());
                self.failed(name, &problem);
            }
        }
    }

    fn failed(&mut self, name: &str, problem: &Problem) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        let goes_on = match slot.unit {
            Some(_) => "; the version that runs goes on",
            None => "",
        };
        slot.broken = true;
        if let Problem::Passing(_) = problem {
            slot.again = Some(Instant::now() + limits::LOAD_RETRY);
        }
        if slot.problem == problem.text() {
            return;
        }
        slot.problem = problem.text().to_owned();
        tracing::error!(
            plugin = name,
            "plugin not loaded{goes_on}: {}",
            problem.text()
        );
        let entry = json!({"plugin": name, "change": "refused", "error": problem.text()});
        self.shared.around.outbox.audit(audit::PLUGIN, entry);
    }

    /// Ends what was missing in two looks: in one alone it may be on its way to its new content.
    fn remove_missing(&mut self, seen: &[Seen], findings: &Findings) {
        let folder = &self.shared.spec.plugins;
        let missing = |name: &String| {
            let unreadable = || findings.iter().any(|f| f.file == folder.join(name));
            !seen.iter().any(|s| s.name == *name) && !unreadable()
        };
        let twice = |(name, slot): (&String, &mut Slot)| {
            (missing(name) && slot.seen.take().is_none()).then(|| name.clone())
        };
        let gone: Vec<String> = self.slots.iter_mut().filter_map(twice).collect();
        for name in gone {
            let Some(slot) = self.slots.remove(&name) else {
                continue;
            };
            if slot.job.is_none() && slot.unit.is_none() {
                continue;
            }
            // A removed plugin may take its time; others are not held up by it.
            let leave = leave(self.shared.clone(), slot);
            self.leaving
                .insert(name, AbortOnDropHandle::new(tokio::spawn(leave)));
        }
    }

    /// Ends every agent, at most for `limit`.
    pub(super) async fn stop(&mut self, reason: &'static str, limit: Duration) {
        let slots = self.slots.values_mut().map(|slot| async {
            let unit = match slot.job.take() {
                Some(job) => job.interrupt().await.unit,
                None => slot.unit.take(),
            };
            if let Some(unit) = unit {
                unit.stop(reason, limit).await;
            }
        });
        // Removed plugins have agents too; what is not done in time ends with its task.
        let leaving = std::mem::take(&mut self.leaving).into_values();
        let leaving = leaving.map(|task| tokio::time::timeout(limit, task));
        tokio::join!(join_all(slots), join_all(leaving));
    }

    /// Ends every agent because another host may soon have their ids.
    pub(super) async fn suspend(&mut self, limit: Duration) {
        self.suspended = true;
        for slot in self.slots.values_mut() {
            if let Some(unit) = &slot.unit {
                slot.down = unit.shut_down().await;
            }
        }
        self.stop("lease-lost", limit).await;
    }

    /// Starts again what was suspended.
    pub(super) fn wake(&mut self) {
        self.suspended = false;
        self.at_once = true;
        for slot in self.slots.values_mut() {
            slot.again = Some(Instant::now());
        }
    }
}

/// Ends a plugin that was removed from the folder.
async fn leave(shared: Arc<Shared>, slot: Slot) {
    let unit = match slot.job {
        Some(job) => job.interrupt().await.unit,
        None => slot.unit,
    };
    let Some(plugin) = slot.spec.map(|spec| spec.name.clone()) else {
        return;
    };
    let claims = unit::claims(&shared);
    // A start that was interrupted has claimed ids of which no unit knows.
    let mut ids = claims.of(&plugin).await.unwrap_or_default();
    if let Some(unit) = unit {
        ids.extend(unit.stop("removed", shared.spec.grace).await);
    }
    unit::forget(&shared, &plugin, ids).await;
    tracing::info!(%plugin, "plugin removed");
    let entry = json!({"plugin": plugin.as_str(), "change": "removed"});
    shared.around.outbox.audit(audit::PLUGIN, entry);
}
