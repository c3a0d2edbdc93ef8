//! The agents of this host, as patterns reach them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::names::{AgentId, PluginName};
use crate::runtime::Health;

use super::cell::AgentCell;
use super::crew::Crew;
use super::delivery::Delivery;

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
    pub mailbox: mpsc::Sender<Delivery>,
    /// What it is told between messages.
    pub control: mpsc::Sender<Control>,
    /// What is known about it.
    pub cell: Arc<AgentCell>,
    /// What it shares with the other agents of its plugin.
    pub crew: Arc<Crew>,
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
pub struct Directory(Arc<RwLock<BTreeMap<AgentId, AgentPort>>>);

impl Directory {
    /// Makes an agent reachable.
    pub fn add(&self, port: AgentPort) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port.id.clone(), port);
    }

    /// Makes an agent unreachable.
    pub fn remove(&self, id: &AgentId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Makes an agent unreachable, unless another has taken its id since.
    pub fn remove_same(&self, port: &AgentPort) {
        let mut agents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if agents
            .get(&port.id)
            .is_some_and(|found| Arc::ptr_eq(&found.cell, &port.cell))
        {
            agents.remove(&port.id);
        }
    }

    /// Whether this agent is here.
    pub fn contains(&self, id: &AgentId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(id)
    }

    /// One agent, if it is here.
    pub fn get(&self, id: &AgentId) -> Option<AgentPort> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Every agent, by id.
    pub fn all(&self) -> Vec<AgentPort> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// The agents that a target means.
    pub fn find(&self, target: &Target) -> Vec<AgentPort> {
        let agents = self.0.read().unwrap_or_else(PoisonError::into_inner);
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
