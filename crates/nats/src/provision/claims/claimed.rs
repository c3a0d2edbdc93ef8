//! The consumers that this host claims, by plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::provision::consumers::Consumer;
use mistersmith_core::names::PluginName;

/// Claimed consumers by plugin. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct ClaimedConsumers(Arc<Mutex<BTreeMap<PluginName, Vec<Consumer>>>>);

impl ClaimedConsumers {
    pub(super) fn set(&self, plugin: &PluginName, claimed: Vec<Consumer>) {
        let mut held = self.0.lock();
        if claimed.is_empty() {
            held.remove(plugin);
        } else {
            held.insert(plugin.clone(), claimed);
        }
    }

    pub(super) fn all(&self) -> BTreeMap<PluginName, Vec<Consumer>> {
        let held = self.0.lock();
        held.clone()
    }
}
