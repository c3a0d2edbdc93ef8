//! The consumers that this host claims, made again when they are gone.
//!
//! Nobody deletes a consumer that a living host claims, but a person can, and a host that stood still
//! in the middle of retiring one. Pulls from a consumer that is gone end in errors for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{ConsumerClaims, consumers};
use crate::names::PluginName;
use crate::provision::consumers::Consumer;

/// What was claimed, by plugin. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeMap<PluginName, Vec<Consumer>>>>);

impl Held {
    pub(super) fn set(&self, plugin: &PluginName, claimed: Vec<Consumer>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.is_empty() {
            held.remove(plugin);
        } else {
            held.insert(plugin.clone(), claimed);
        }
    }

    fn all(&self) -> BTreeMap<PluginName, Vec<Consumer>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }
}

impl ConsumerClaims {
    pub(super) async fn restore(&self, living: &BTreeSet<String>) -> anyhow::Result<()> {
        for (plugin, claimed) in self.held.all() {
            for consumer in claimed {
                let name = &consumer.durable;
                if consumers::state(&self.link, name).await?.is_some() {
                    continue;
                }
                // A reload may be letting go of it right now.
                let ours = self.record_of(name).await?.is_some_and(|(record, _)| {
                    record.plugin == plugin.as_str() && record.hosts.contains(self.host.as_str())
                });
                if ours {
                    tracing::warn!(consumer = %name, %plugin, "the consumer was deleted by somebody; making it again");
                    self.make(&plugin, &consumer, living).await?;
                }
            }
        }
        Ok(())
    }
}
