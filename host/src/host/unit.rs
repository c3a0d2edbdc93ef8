//! One plugin on this host: its agents, its subscriptions, its work.

mod ending;
mod listening;
mod mending;
mod pulling;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Agent, Version};
use crate::names::{AgentId, PluginName};
use crate::patterns::Crew;
use crate::patterns::cell::AgentCell;
use crate::patterns::disposition::Reason;
use crate::patterns::election::Election;
use crate::patterns::overrides::Overrides;
use crate::patterns::work_queue::Lane;

use super::Shared;
use super::claims::Claims;
use listening::Listening;
use standing::domain;

/// Agents whose overrides are read at once.
const AT_ONCE: usize = 64;

/// A running plugin.
pub(super) struct Unit {
    shared: Arc<Shared>,
    version: Version,
    crew: Arc<Crew>,
    agents: BTreeMap<AgentId, Agent>,
    /// Ended by a command before the host lost its lease: not started with the others.
    down: BTreeSet<AgentId>,
    listeners: Vec<Listening>,
    work: Option<Running>,
    election: Option<Election>,
    /// Shares the state of the circuit.
    circuit: Option<Running>,
}

/// A task that feeds the agents.
struct Running {
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Whether it ended although nobody stopped it.
    fn has_broken(&self) -> bool {
        let ended = self.task.as_ref().is_some_and(JoinHandle::is_finished);
        ended && !self.cancel.is_cancelled()
    }

    /// Stops taking; returns when what was taken already has been handed over.
    async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Drop for Unit {
    /// What was left to itself in the middle of being started or ended: its agents end with it.
    fn drop(&mut self) {
        for id in self.agents.keys() {
            self.shared.directory.remove(id);
        }
    }
}

impl Unit {
    /// A plugin of which nothing runs yet, and of which the agents in `down` will not.
    pub(super) fn new(shared: Arc<Shared>, version: Version, down: BTreeSet<AgentId>) -> Self {
        let crew = Arc::new(Crew::default());
        crew.election.open(domain(&version));
        Self {
            shared,
            version,
            crew,
            agents: BTreeMap::new(),
            down,
            listeners: Vec::new(),
            work: None,
            election: None,
            circuit: None,
        }
    }

    /// Claims ids, starts the agents, and feeds them.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let lanes = self.lanes(&self.version).await?;
        self.share_circuit().await;
        self.fit_agents().await?;
        self.listen().await?;
        self.work = self.pull(lanes);
        self.stand().await
    }

    /// The version that runs.
    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    /// How many agents it has.
    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Whether an id is in use here, or kept for an agent that a command has ended.
    pub(super) fn claims_id(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id) || self.down.contains(id)
    }

    /// Goes on as another version: ids stay, messages in hand are finished by the old one, what
    /// waits is handled by the new one. When the first agent cannot be started in the new version
    /// nothing has changed.
    pub(super) async fn replace(&mut self, version: Version) -> anyhow::Result<()> {
        self.forget_gone().await;
        self.down.clear();
        self.resign().await;
        self.crew.election.open(domain(&version));
        let lanes = match self.replace_first(&version).await {
            Ok(lanes) => lanes,
            Err(error) => {
                // What was claimed is the new version's work; the old one goes on with its own.
                if let Err(error) = self.lanes(&self.version).await {
                    tracing::warn!(plugin = %self.version.spec.name, error = %format!("{error:#}"),
                        "the work of the version that goes on was not claimed again");
                }
                self.crew.election.open(domain(&self.version));
                self.stand().await?;
                return Err(error);
            }
        };
        let others = self.agents.values().skip(1);
        let rest: Vec<(AgentId, Result<(), Reason>)> = join_all(others.map(|agent| async {
            (
                agent.port().id.clone(),
                agent.replace(version.clone()).await,
            )
        }))
        .await;
        self.version = version;
        self.share_circuit().await;
        // An agent that had gone, or whose start failed where the first one's did not, is started
        // from nothing: it will try again by itself.
        for (id, result) in rest {
            if result.is_err() {
                self.end(vec![id], "reload").await;
            }
        }
        self.fit_agents().await?;
        self.feed_again(lanes).await
    }

    /// Claims the work of a version, and lets the first agent go on as it.
    async fn replace_first(&self, version: &Version) -> anyhow::Result<Vec<Lane>> {
        let lanes = self.lanes(version).await?;
        if let Some(first) = self.agents.values().next() {
            first
                .replace(version.clone())
                .await
                .map_err(|reason| anyhow::anyhow!(reason.message))?;
        }
        Ok(lanes)
    }

    async fn feed_again(&mut self, lanes: Vec<Lane>) -> anyhow::Result<()> {
        if let Some(work) = self.work.take() {
            work.stop().await;
        }
        self.work = self.pull(lanes);
        self.listen().await?;
        self.stand().await
    }

    /// Starts agents that are missing (a command shut them down, the manifest wants more), ends
    /// those that are too many.
    async fn fit_agents(&mut self) -> anyhow::Result<()> {
        self.forget_gone().await;
        let spec = self.version.spec.clone();
        let ids = self
            .claims()
            .take(&spec.name, spec.instances)
            .await
            .with_context(|| format!("agent ids for plugin `{}` cannot be claimed", spec.name))?;
        let surplus: Vec<AgentId> = self
            .agents
            .keys()
            .filter(|id| !ids.contains(id))
            .cloned()
            .collect();
        self.end(surplus.clone(), "removed").await;
        self.claims().give_up(surplus).await;
        let here = |id: &AgentId| self.agents.contains_key(id) || self.down.contains(id);
        let missing: Vec<AgentId> = ids.into_iter().filter(|id| !here(id)).collect();
        self.add_all(missing).await
    }

    /// Starts these agents, as commands have left them.
    async fn add_all(&mut self, ids: Vec<AgentId>) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let overrides = stream::iter(ids).map(|id| async {
            let overrides = Overrides::load(&shared.kv.config, &id).await?;
            anyhow::Ok((id, overrides))
        });
        let mut overrides = std::pin::pin!(overrides.buffered(AT_ONCE));
        while let Some((id, overrides)) = overrides.try_next().await? {
            self.add(id, overrides);
        }
        Ok(())
    }

    /// Forgets the agents that a command has shut down: they cannot be replaced, only started anew.
    async fn forget_gone(&mut self) {
        let mut gone = Vec::new();
        for (id, agent) in &self.agents {
            if agent.is_gone().await {
                gone.push(id.clone());
            }
        }
        for id in gone {
            self.agents.remove(&id);
        }
    }

    fn add(&mut self, id: AgentId, overrides: Overrides) {
        let shared = &self.shared;
        let cell = AgentCell::new(&shared.name, shared.id.as_str(), &self.version.spec.name);
        let cell = Arc::new(cell);
        cell.set_overrides(overrides.config);
        cell.pause(overrides.paused);
        let (port, inboxes) = agent::port(
            id.clone(),
            self.version.spec.name.clone(),
            cell,
            self.crew.clone(),
        );
        shared.directory.add(port.clone());
        let agent = Agent::start(
            port,
            inboxes,
            self.version.clone(),
            self.crew.clone(),
            shared.around.clone(),
        );
        self.agents.insert(id, agent);
    }

    fn claims(&self) -> Claims {
        claims(&self.shared)
    }
}

/// Claims ids for this host.
pub(super) fn claims(shared: &Shared) -> Claims {
    Claims {
        claims: shared.kv.claims.clone(),
        leases: shared.kv.leases.clone(),
        config: shared.kv.config.clone(),
        host: shared.id.clone(),
    }
}

/// Gives up what a plugin had on this host that outlives its agents: ids and consumers.
pub(super) async fn forget(shared: &Shared, plugin: &PluginName, ids: Vec<AgentId>) {
    claims(shared).give_up(ids).await;
    if let Err(error) = shared.consumers.release(plugin).await {
        tracing::warn!(%plugin, error = %format!("{error:#}"), "the plugin's consumers were not released");
    }
}
