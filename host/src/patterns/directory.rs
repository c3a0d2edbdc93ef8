//! The agents of this host, as patterns reach them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{mpsc, oneshot};

use crate::names::{AgentId, PluginName};
use crate::runtime::Health;

use super::cell::AgentCell;
use super::crew::Crew;
use super::mailbox::Mailbox;
use crate::status::AgentSnapshot;

/// What an agent is told between two messages.
#[derive(Debug)]
pub enum Control {
    /// Its configuration changed.
    Configured,
    /// Say how you are.
    Health(oneshot::Sender<Health>),
    /// Finish the current message, end the instance, and go.
    Stop {
        /// Why, as `stopped` events give it.
        reason: &'static str,
        /// Told when the agent has gone.
        done: oneshot::Sender<()>,
    },
}

/// Where patterns reach one agent.
#[derive(Debug, Clone)]
pub struct AgentPort {
    /// Its id.
    pub id: AgentId,
    /// The name of its plugin.
    pub plugin: PluginName,
    /// Messages for this agent alone.
    pub mailbox: Mailbox,
    /// What it is told between messages.
    pub control: mpsc::Sender<Control>,
    /// What is known about it.
    pub cell: Arc<AgentCell>,
    /// What it shares with the other agents of its plugin.
    pub crew: Arc<Crew>,
}

impl AgentPort {
    /// How the agent is now, and what keeps work from its plugin.
    pub fn snapshot(&self) -> AgentSnapshot {
        AgentSnapshot {
            pull_errors: self.crew.failing_pulls.list(),
            ..self.cell.snapshot(&self.id)
        }
    }
}

/// Whom a command or a health check is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every agent: the literal `*`, or `all`.
    All,
    /// One agent, or every agent of a plugin: only the directory can tell.
    Named(String),
}

impl Target {
    /// Reads the token of a subject that says whom it is for.
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
    agents: RwLock<BTreeMap<AgentId, AgentPort>>,
    /// How often an agent came or went.
    changes: AtomicU64,
}

/// The agents of one plugin, as they were when they were looked up last: for whoever needs them with
/// every message.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    seen: Option<u64>,
    ports: Arc<[AgentPort]>,
}

impl Directory {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<AgentId, AgentPort>> {
        self.0.agents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change who is here.
    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<AgentId, AgentPort>> {
        let agents = self.0.agents.write();
        let agents = agents.unwrap_or_else(PoisonError::into_inner);
        // Under the lock: who counts the same sees the same agents.
        self.0.changes.fetch_add(1, Ordering::Release);
        agents
    }

    /// Makes an agent reachable.
    pub fn add(&self, port: AgentPort) {
        self.write().insert(port.id.clone(), port);
    }

    /// Makes an agent unreachable.
    pub fn remove(&self, id: &AgentId) {
        self.write().remove(id);
    }

    /// Makes an agent unreachable, unless another has taken its id since.
    pub fn remove_same(&self, port: &AgentPort) {
        let mut agents = self.write();
        if agents
            .get(&port.id)
            .is_some_and(|found| Arc::ptr_eq(&found.cell, &port.cell))
        {
            agents.remove(&port.id);
        }
    }

    /// Whether this agent is here.
    pub fn contains(&self, id: &AgentId) -> bool {
        self.read().contains_key(id)
    }

    /// One agent, if it is here.
    pub fn get(&self, id: &AgentId) -> Option<AgentPort> {
        self.read().get(id).cloned()
    }

    /// Every agent, by id.
    pub fn all(&self) -> Vec<AgentPort> {
        self.read().values().cloned().collect()
    }

    /// The agents of a plugin, by id. `roll` is brought up to date if any agent came or went.
    pub fn call_roll(&self, plugin: &PluginName, roll: &mut Roll) -> Arc<[AgentPort]> {
        if roll.seen != Some(self.0.changes.load(Ordering::Acquire)) {
            let agents = self.read();
            roll.seen = Some(self.0.changes.load(Ordering::Acquire));
            let ports = agents.values().filter(|port| port.plugin == *plugin);
            roll.ports = ports.cloned().collect();
        }
        roll.ports.clone()
    }

    /// The agents that a target means.
    pub fn find(&self, target: &Target) -> Vec<AgentPort> {
        let agents = self.read();
        match target {
            Target::All => agents.values().cloned().collect(),
            Target::Named(name) => {
                let one = name
                    .parse::<AgentId>()
                    .ok()
                    .and_then(|id| agents.get(&id).cloned());
                match one {
                    Some(port) => vec![port],
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
