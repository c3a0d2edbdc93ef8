//! The findings of a scan about the folder and the lock as a whole; each change is reported once.

use std::sync::Arc;

use super::super::manager_port::PluginPort;
use super::super::pins::Pins;
use super::super::watch::{Fingerprint, Seen};
use super::PluginManager;

impl<P: PluginPort> PluginManager<P> {
    /// Filters out plugins that share a name: both cannot run, and none is preferred. Neither is
    /// acted upon, and a running plugin of that name goes on.
    pub(super) fn without_doubles(&mut self, seen: Vec<Seen>) -> Vec<Seen> {
        let doubled = |one: &Seen| seen.iter().filter(|other| other.name == one.name).count() > 1;
        let (doubles, single): (Vec<Seen>, Vec<Seen>) =
            seen.iter().cloned().partition(|one| doubled(one));
        for one in doubles {
            let entry = self.entries.entry(one.name.clone()).or_default();
            if entry.seen.as_ref() != Some(&Fingerprint::doubled()) {
                entry.seen = Some(Fingerprint::doubled());
                entry.broken = true;
                tracing::error!(
                    plugin = %one.name,
                    "two plugins are called `{0}`: the folder `{0}` and the file `{0}.wasm`; remove one of them",
                    one.name
                );
            }
        }
        single
    }

    /// Reports the problems of the folder itself, once.
    pub(super) fn report(&mut self, findings: String) {
        if self.findings != findings {
            if !findings.is_empty() {
                tracing::error!("plugins folder: {findings}");
            }
            self.findings = findings;
        }
    }

    /// Notes what the lock says now. Whatever it held is tried again when its turn comes.
    pub(super) fn follow_lock(&mut self, pins: Arc<Pins>) {
        if Arc::ptr_eq(&self.pins, &pins) {
            return;
        }
        match (&*self.pins, &*pins) {
            (Pins::Absent, Pins::Absent) => {}
            (_, Pins::Absent) => tracing::info!("there is no lock any more; no plugin is held"),
            (_, Pins::Pinned(lock)) => {
                let plugins = lock.plugins.len();
                tracing::info!(plugins, "lock read; plugins that it does not pin are held");
            }
            (_, Pins::Unreadable(problem)) => tracing::error!(
                "lock not read, so that every plugin that does not run already is held: {problem}"
            ),
        }
        self.pins = pins;
    }
}
