//! The directory of this host's agents: handles by agent id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{mpsc, oneshot};

use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_runtime::Health;

use super::mailbox::Mailbox;
use super::plugin_queue::PluginQueue;
use super::state::AgentState;
use crate::status::{AgentSnapshot, StopReason};

/// A control message, which the event loop handles between two messages.
#[derive(Debug)]
pub enum Control {
    /// The agent's configuration changed.
    Configured,
    /// Call the plugin's health function and return its answer.
    Health(oneshot::Sender<Health>),
    /// Finish the current message, stop the instance, and end the task.
    Stop {
        /// The reason, as `stopped` events carry it.
        reason: StopReason,
        /// Completed when the agent has ended.
        done: oneshot::Sender<()>,
    },
}

/// The way to reach one agent.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    /// Its id.
    pub id: AgentId,
    /// The name of its plugin.
    pub plugin: PluginName,
    /// Messages for this agent alone.
    pub mailbox: Mailbox,
    /// Control messages, handled between two messages.
    pub control: mpsc::Sender<Control>,
    /// The agent's state.
    pub state: Arc<AgentState>,
    /// The queue that the agent shares with the other agents of its plugin.
    pub plugin_queue: Arc<PluginQueue>,
}

impl AgentHandle {
    /// The agent's state now, with the failing pulls of its plugin.
    pub fn snapshot(&self) -> AgentSnapshot {
        AgentSnapshot {
            pull_errors: self.plugin_queue.failing_pulls.list(),
            ..self.state.snapshot(&self.id)
        }
    }
}

/// The addressee of a command or a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every agent: the literal `*`, or `all`.
    All,
    /// One agent id, or the name of a plugin; only the directory can distinguish them.
    Named(String),
}

impl Target {
    /// Parses the addressee token of a subject.
    pub fn parse(token: &str) -> Self {
        match token {
            "*" | "all" => Self::All,
            name => Self::Named(name.to_owned()),
        }
    }
}

/// The agents of this host. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    agents: RwLock<BTreeMap<AgentId, AgentHandle>>,
    /// Counts additions and removals of agents.
    changes: AtomicU64,
}

/// Cached handles of the agents of one plugin, for callers that need them for every message.
#[derive(Debug, Clone, Default)]
pub struct AgentSnapshots {
    seen: Option<u64>,
    handles: Arc<[AgentHandle]>,
}

impl Directory {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<AgentId, AgentHandle>> {
        self.0.agents.read()
    }

    /// Locks the directory for a change.
    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<AgentId, AgentHandle>> {
        let agents = self.0.agents.write();
        // Counted under the lock: readers that see the same count see the same agents.
        self.0.changes.fetch_add(1, Ordering::Release);
        agents
    }

    /// Makes an agent reachable.
    pub fn add(&self, handle: AgentHandle) {
        self.write().insert(handle.id.clone(), handle);
    }

    /// Makes an agent unreachable.
    pub fn remove(&self, id: &AgentId) {
        self.write().remove(id);
    }

    /// Makes an agent unreachable, unless another agent has its id now.
    pub fn remove_same(&self, handle: &AgentHandle) {
        let mut agents = self.write();
        if agents
            .get(&handle.id)
            .is_some_and(|found| Arc::ptr_eq(&found.state, &handle.state))
        {
            agents.remove(&handle.id);
        }
    }

    /// Whether the directory has an agent with this id.
    pub fn contains(&self, id: &AgentId) -> bool {
        self.read().contains_key(id)
    }

    /// The handle of one agent.
    pub fn get(&self, id: &AgentId) -> Option<AgentHandle> {
        self.read().get(id).cloned()
    }

    /// Every agent, by id.
    pub fn all(&self) -> Vec<AgentHandle> {
        self.read().values().cloned().collect()
    }

    /// The agents of a plugin, by id. Refreshes `snapshots` if any agent was added or removed.
    pub fn snapshot(
        &self,
        plugin: &PluginName,
        snapshots: &mut AgentSnapshots,
    ) -> Arc<[AgentHandle]> {
        if snapshots.seen != Some(self.0.changes.load(Ordering::Acquire)) {
            let agents = self.read();
            snapshots.seen = Some(self.0.changes.load(Ordering::Acquire));
            let handles = agents.values().filter(|handle| handle.plugin == *plugin);
            snapshots.handles = handles.cloned().collect();
        }
        snapshots.handles.clone()
    }

    /// The agents that match a target.
    pub fn find(&self, target: &Target) -> Vec<AgentHandle> {
        let agents = self.read();
        match target {
            Target::All => agents.values().cloned().collect(),
            Target::Named(name) => {
                let one = name
                    .parse::<AgentId>()
                    .ok()
                    .and_then(|id| agents.get(&id).cloned());
                match one {
                    Some(handle) => vec![handle],
                    None => agents
                        .values()
                        .filter(|p| p.plugin.as_str() == name)
                        .cloned()
                        .collect(),
                }
            }
        }
    }
}
