//! The record of what this host needs in JetStream and of the values it knows there, kept in case
//! they are lost.

mod memory;

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::agents::{Directory, Overrides};
use mistersmith_core::names::{AgentId, Bucket, PluginName, Token};
use mistersmith_nats::provision::Needs;
use mistersmith_nats::{Connection, Kv, TransportError};

use memory::Memory;

/// The stream of the bucket of pauses and changed configuration.
const OVERRIDES: &str = "KV_AGENT_CONFIG";

/// The streams and buckets that this host needs, and the values that it knows there.
pub(crate) struct HealingRecord {
    pub(super) needs: Needs,
    /// The buckets that the plugins of this host are granted.
    granted: Mutex<BTreeMap<PluginName, BTreeSet<Bucket>>>,
    memory: Mutex<Memory>,
}

impl HealingRecord {
    pub(super) fn new(needs: Needs) -> Self {
        Self {
            needs,
            granted: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    /// Records the buckets that a plugin is granted from now on.
    pub(crate) fn needs(&self, plugin: &PluginName, buckets: BTreeSet<Bucket>) {
        let mut granted = self.granted.lock();
        granted.insert(plugin.clone(), buckets);
    }

    /// Removes a plugin that is gone from this host.
    pub(crate) fn forget(&self, plugin: &PluginName) {
        let mut granted = self.granted.lock();
        granted.remove(plugin);
    }

    pub(super) fn granted(&self) -> BTreeSet<Bucket> {
        let granted = self.granted.lock();
        granted.values().flatten().cloned().collect()
    }

    /// The overrides of an agent that starts: as the bucket has them, or, if the bucket (`kv`) was
    /// lost since the agent last ran here, as this host remembers them.
    pub(crate) async fn overrides(
        &self,
        (kv, connection): (&Kv, &Connection),
        agent: &AgentId,
    ) -> Result<Overrides, TransportError> {
        let found = Overrides::load(kv, agent).await?;
        if found != Overrides::default() || !self.memory().knows(agent) {
            return Ok(found);
        }
        let bucket = overrides_made(connection).await?;
        let Some(remembered) = self.memory().lost(agent, &bucket) else {
            return Ok(found);
        };
        remembered.restore(kv, agent).await?;
        Ok(remembered)
    }

    /// Remembers the current overrides of the agents before they end because the lease is lost too.
    pub(super) fn note(&self, directory: &Directory) {
        let mut memory = self.memory();
        for handle in directory.all() {
            if handle.state.fence.is_open() {
                memory.notes(&handle.id, handle.state.overrides());
            }
            let board = &handle.plugin_queue.election;
            if let Some(domain) = board.domain() {
                memory.saw_term(domain, board.newest_term());
            }
        }
    }

    /// The newest term of an election that was seen on this host; 0 before the first.
    pub(crate) fn newest_term(&self, domain: &Token) -> u64 {
        self.memory().terms().get(domain).copied().unwrap_or(0)
    }

    pub(super) fn memory(&self) -> parking_lot::MutexGuard<'_, Memory> {
        self.memory.lock()
    }
}

/// The creation time of the bucket of overrides.
pub(super) async fn overrides_made(connection: &Connection) -> Result<String, TransportError> {
    connection.stream(OVERRIDES)?.created().await
}
