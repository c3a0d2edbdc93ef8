//! All plugins of this host: what the folder holds, what of it runs, and what must change.
//!
//! The folder is looked at every [`limits::SCAN`]: that also sees what a watcher of the operating
//! system misses (network file systems, mounts into containers). A plugin is acted upon when its
//! files were the same in two looks, so that one that is still being copied is left alone. A
//! broken one is reported once; what runs of it goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::agent::Version;
use crate::patterns::audit;

use super::Shared;
use super::loading::{self, Loaded, Problem};
use super::unit::{self, Unit};
use super::watch::{Fingerprint, Seen};

/// The plugins of this host.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    slots: BTreeMap<String, Slot>,
    /// What was wrong with the folder itself in the last look.
    findings: String,
    /// Without the lease nothing is started.
    suspended: bool,
}

/// What is known about one plugin.
#[derive(Default)]
struct Slot {
    /// What was seen in the last look.
    seen: Option<Fingerprint>,
    /// What was acted upon last, well or not.
    tried: Option<Fingerprint>,
    unit: Option<Unit>,
    broken: bool,
    /// When to try again although the files are the same: the failure was not theirs.
    again: Option<Instant>,
}

impl Fleet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            slots: BTreeMap::new(),
            findings: String::new(),
            suspended: false,
        }
    }

    /// Plugins that run, and plugins that could not be loaded.
    pub(super) async fn count(&self) -> (usize, usize) {
        let running = self
            .slots
            .values()
            .filter(|slot| slot.unit.is_some())
            .count();
        (
            running,
            self.slots.values().filter(|slot| slot.broken).count(),
        )
    }

    /// Looks at the folder twice, so that what lies there at the start is loaded at once.
    pub(super) async fn load(&mut self) {
        self.look(true).await;
    }

    /// Looks at the folder, and makes what runs follow it.
    pub(super) async fn scan(&mut self) {
        if !self.suspended {
            self.look(false).await;
        }
    }

    async fn look(&mut self, at_once: bool) {
        let (seen, findings) = super::watch::look(&self.shared.spec.plugins).await;
        self.report(findings.to_string());
        if !self.findings.is_empty() && seen.is_empty() {
            // A folder that cannot be read for a moment is no order to end everything.
            return;
        }
        self.remove_missing(&seen).await;
        let mut due = Vec::new();
        for Seen {
            name, fingerprint, ..
        } in &seen
        {
            let slot = self.slots.entry(name.clone()).or_default();
            let stable = at_once || slot.seen.as_ref() == Some(fingerprint);
            slot.seen = Some(fingerprint.clone());
            let again = slot.again.is_some_and(|at| at <= Instant::now());
            if stable && (slot.tried.as_ref() != Some(fingerprint) || again) {
                slot.tried = Some(fingerprint.clone());
                slot.again = None;
                due.push(name.clone());
            }
        }
        for name in due {
            if self.shared.draining.is_cancelled() {
                return;
            }
            let candidate = seen.iter().find(|s| s.name == name);
            if let Some(candidate) = candidate {
                self.act(candidate).await;
            }
        }
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

    async fn act(&mut self, seen: &Seen) {
        let others: Vec<Arc<crate::config::PluginSpec>> = self
            .slots
            .iter()
            .filter(|(name, _)| **name != seen.name)
            .filter_map(|(_, slot)| slot.unit.as_ref().map(|unit| unit.version().spec.clone()))
            .collect();
        let result = match loading::load(&self.shared, seen, &others).await {
            Ok(Loaded::Version(version)) => self.put(&seen.name, *version).await,
            Ok(Loaded::NotForRunning(text)) => {
                tracing::warn!(plugin = %seen.name, "{text}");
                Ok(())
            }
            Err(problem) => Err(problem),
        };
        let Some(slot) = self.slots.get_mut(&seen.name) else {
            return;
        };
        slot.broken = result.is_err();
        if let Err(problem) = result {
            let goes_on = if slot.unit.is_some() {
                "; the version that runs goes on"
            } else {
                ""
            };
            tracing::error!(plugin = %seen.name, "plugin not loaded{goes_on}: {}", problem.text());
            if let Problem::Passing(_) = problem {
                slot.again = Some(Instant::now() + crate::limits::LOAD_RETRY);
            }
            let entry = json!({"plugin": seen.name, "change": "refused", "error": problem.text()});
            self.shared.around.outbox.audit(audit::PLUGIN, entry);
        }
    }

    async fn put(&mut self, name: &str, version: Version) -> Result<(), Problem> {
        let shared = self.shared.clone();
        let Some(slot) = self.slots.get_mut(name) else {
            return Ok(());
        };
        let entry = |change: &str| {
            json!({
                "plugin": name,
                "version": version.spec.version,
                "change": change,
                "permissions": version.spec.permissions,
                "work": version.spec.work.iter().flat_map(|w| w.patterns()).collect::<Vec<_>>(),
            })
        };
        let (loaded, replaced) = (entry("loaded"), entry("replaced"));
        if let Some(unit) = &mut slot.unit {
            unit.replace(version).await.map_err(Problem::from)?;
            tracing::info!(plugin = name, agents = unit.agents(), "plugin replaced");
            shared.around.outbox.audit(audit::PLUGIN, replaced);
        } else {
            let unit = Unit::start(shared.clone(), version)
                .await
                .map_err(Problem::from)?;
            tracing::info!(plugin = name, agents = unit.agents(), "plugin loaded");
            shared.around.outbox.audit(audit::PLUGIN, loaded);
            slot.unit = Some(unit);
        }
        Ok(())
    }

    async fn remove_missing(&mut self, seen: &[Seen]) {
        let gone: Vec<String> = self
            .slots
            .keys()
            .filter(|name| !seen.iter().any(|s| s.name == **name))
            .cloned()
            .collect();
        for name in gone {
            let Some(slot) = self.slots.remove(&name) else {
                continue;
            };
            if let Some(unit) = slot.unit {
                let plugin = unit.version().spec.name.clone();
                let ids = unit.stop("removed", self.shared.spec.grace).await;
                unit::forget(&self.shared, &plugin, ids).await;
                tracing::info!(plugin = %name, "plugin removed");
                let entry = json!({"plugin": name, "change": "removed"});
                self.shared.around.outbox.audit(audit::PLUGIN, entry);
            }
        }
    }

    /// Ends every agent, at most for `limit`.
    pub(super) async fn stop(&mut self, reason: &'static str, limit: Duration) {
        let units = self.slots.values_mut().filter_map(|slot| slot.unit.take());
        join_all(units.map(|unit| unit.stop(reason, limit))).await;
    }

    /// Ends every agent because another host may soon have their ids.
    pub(super) async fn suspend(&mut self, limit: Duration) {
        self.suspended = true;
        self.stop("lease-lost", limit).await;
    }

    /// Starts again what was suspended.
    pub(super) async fn wake(&mut self) {
        self.suspended = false;
        for slot in self.slots.values_mut() {
            slot.tried = None;
        }
        self.look(true).await;
    }
}
