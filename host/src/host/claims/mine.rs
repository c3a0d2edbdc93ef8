//! The agent ids that this host claimed last.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use mistersmith_core::names::{AgentId, PluginName};

/// The ids of this host, kept even while it has no lease and no agents.
#[derive(Debug, Clone, Default)]
pub(in crate::host) struct Mine(Arc<Mutex<BTreeSet<AgentId>>>);

impl Mine {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<AgentId>> {
        self.0.lock()
    }

    /// The ids of a plugin.
    pub(super) fn of(&self, plugin: &PluginName) -> Vec<AgentId> {
        let ids = self.lock();
        let of = |id: &&AgentId| id.plugin() == plugin.as_str();
        ids.iter().filter(of).cloned().collect()
    }

    /// All ids.
    pub(in crate::host) fn all(&self) -> Vec<AgentId> {
        self.lock().iter().cloned().collect()
    }

    /// Removes ids that other hosts hold.
    pub(in crate::host) fn lost(&self, lost: &[AgentId]) {
        self.lock().retain(|id| !lost.contains(id));
    }

    /// Replaces the ids of a plugin with these.
    pub(super) fn took(&self, plugin: &PluginName, taken: &[AgentId]) {
        let mut ids = self.lock();
        ids.retain(|id| id.plugin() != plugin.as_str());
        ids.extend(taken.iter().cloned());
    }

    /// Removes an id that the host gave up.
    pub(super) fn gave_up(&self, id: &AgentId) {
        self.lock().remove(id);
    }
}
