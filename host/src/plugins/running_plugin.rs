//! One plugin that runs on this host, with its agents, its subscriptions and its consumers.

mod consumers;
mod coordination;
mod shutdown;
mod subscriptions;
mod supervise;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agents::{self, Agent, AgentState, Overrides, PluginQueue, PluginRevision};
use crate::delivery::Reason;
use crate::election::Election;
use crate::status::StopReason;
use crate::work::WorkConsumer;
use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_nats::{Role, retry};
use mistersmith_runtime::{ConfigValues, Fence};

use crate::host::claims::Claims;
use crate::host::shared::Shared;
use coordination::domain;
use subscriptions::Listening;

/// How long claiming ids is retried while the server does not answer.
const CLAIMING: Duration = Duration::from_secs(5);
/// Number of agents whose overrides are read concurrently.
const AT_ONCE: usize = 64;

/// A running plugin.
pub(crate) struct RunningPlugin {
    shared: Arc<Shared>,
    revision: PluginRevision,
    plugin_queue: Arc<PluginQueue>,
    agents: BTreeMap<AgentId, Agent>,
    /// Agents that a command shut down before the host lost its lease; not started with the others.
    down: BTreeSet<AgentId>,
    listeners: Vec<Listening>,
    work: Option<FeedTask>,
    election: Option<Election>,
    /// The task that shares the state of the circuit.
    circuit: Option<FeedTask>,
}

/// A task that feeds the agents.
struct FeedTask {
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl FeedTask {
    /// Whether it ended without having been stopped.
    fn has_broken(&self) -> bool {
        let ended = self.task.as_ref().is_some_and(JoinHandle::is_finished);
        ended && !self.cancel.is_cancelled()
    }

    /// Stops taking; returns when everything already taken has been handed over.
    async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for FeedTask {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Drop for RunningPlugin {
    /// A plugin dropped while it starts or ends takes its agents with it.
    fn drop(&mut self) {
        for id in self.agents.keys() {
            self.shared.directory.remove(id);
        }
    }
}

impl RunningPlugin {
    /// A plugin of which nothing runs yet; the agents in `down` will not be started.
    pub(super) fn new(
        shared: Arc<Shared>,
        revision: PluginRevision,
        down: BTreeSet<AgentId>,
    ) -> Self {
        let plugin_queue = Arc::new(PluginQueue::default());
        plugin_queue.election.open(domain(&revision));
        Self {
            shared,
            revision,
            plugin_queue,
            agents: BTreeMap::new(),
            down,
            listeners: Vec::new(),
            work: None,
            election: None,
            circuit: None,
        }
    }

    /// Claims ids, starts the agents, and begins to feed them.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let consumers = self.consumers(&self.revision).await?;
        self.share_circuit().await;
        self.fit_agents().await?;
        self.listen().await?;
        self.work = self.pull(consumers);
        self.join_election().await
    }

    /// The running revision.
    pub(super) fn revision(&self) -> &PluginRevision {
        &self.revision
    }

    /// The number of its agents.
    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Whether an id is in use here, or reserved for an agent that a command has shut down.
    pub(super) fn claims_id(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id) || self.down.contains(id)
    }

    /// Replaces the running revision: ids stay, the old revision finishes the messages in hand, and
    /// the new one handles those that wait. If the first agent cannot be started in the new
    /// revision, nothing changes.
    pub(super) async fn replace(&mut self, revision: PluginRevision) -> anyhow::Result<()> {
        self.forget_gone().await;
        self.down.clear();
        self.resign().await;
        self.plugin_queue.election.open(domain(&revision));
        let consumers = match self.replace_first(&revision).await {
            Ok(consumers) => consumers,
            Err(error) => {
                // The claims now match the new revision's work; the old one goes on with its own.
                if let Err(error) = self.consumers(&self.revision).await {
                    tracing::warn!(plugin = %self.revision.spec.name, error = %format!("{error:#}"),
                        "the work of the version that goes on was not claimed again");
                }
                self.plugin_queue.election.open(domain(&self.revision));
                self.join_election().await?;
                return Err(error);
            }
        };
        let others = self.agents.values().skip(1);
        let rest: Vec<(AgentId, Result<(), Reason>)> = join_all(others.map(|agent| async {
            (
                agent.handle().id.clone(),
                agent.replace(revision.clone()).await,
            )
        }))
        .await;
        self.revision = revision;
        self.share_circuit().await;
        // An agent that is gone, or whose start failed where the first one's succeeded, is started
        // from scratch; it retries by itself.
        for (id, result) in rest {
            if result.is_err() {
                self.end(vec![id], StopReason::Reload).await;
            }
        }
        self.fit_agents().await?;
        self.feed_again(consumers).await
    }

    /// Claims the consumers of a revision, and replaces the first agent by one of that revision.
    async fn replace_first(&self, revision: &PluginRevision) -> anyhow::Result<Vec<WorkConsumer>> {
        let consumers = self.consumers(revision).await?;
        if let Some(first) = self.agents.values().next() {
            first
                .replace(revision.clone())
                .await
                .map_err(|reason| anyhow::anyhow!(reason.message))?;
        }
        Ok(consumers)
    }

    async fn feed_again(&mut self, consumers: Vec<WorkConsumer>) -> anyhow::Result<()> {
        if let Some(work) = self.work.take() {
            work.stop().await;
        }
        self.work = self.pull(consumers);
        self.listen().await?;
        self.join_election().await
    }

    /// Starts missing agents (a command shut them down, or the manifest wants more) and ends
    /// surplus ones.
    async fn fit_agents(&mut self) -> anyhow::Result<()> {
        self.forget_gone().await;
        let spec = self.revision.spec.clone();
        // A connection that breaks meanwhile is soon re-established; every step may run twice.
        let ids = retry(CLAIMING, || self.claims().take(&spec.name, spec.instances))
            .await
            .with_context(|| format!("agent ids for plugin `{}` cannot be claimed", spec.name))?;
        let surplus: Vec<AgentId> = self
            .agents
            .keys()
            .filter(|id| !ids.contains(id))
            .cloned()
            .collect();
        self.end(surplus.clone(), StopReason::Removed).await;
        self.claims().give_up(surplus).await;
        let here = |id: &AgentId| self.agents.contains_key(id) || self.down.contains(id);
        let missing: Vec<AgentId> = ids.into_iter().filter(|id| !here(id)).collect();
        self.add_all(missing).await
    }

    /// Starts these agents with their recorded overrides.
    async fn add_all(&mut self, ids: Vec<AgentId>) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let stored = (
            &shared.kv.config,
            shared.transport.connection(Role::Control),
        );
        let healing_record = &shared.healing_record;
        let overrides = stream::iter(ids).map(|id| async move {
            let overrides = healing_record.overrides(stored, &id).await?;
            anyhow::Ok((id, overrides))
        });
        let mut overrides = std::pin::pin!(overrides.buffered(AT_ONCE));
        while let Some((id, overrides)) = overrides.try_next().await? {
            self.add(id, overrides);
        }
        Ok(())
    }

    /// Removes the agents that a command has shut down: they cannot be replaced, only created
    /// again.
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
        let fence = Fence::new(shared.term.clone(), id.clone());
        let plugin = &self.revision.spec.name;
        let state = AgentState::new(&shared.name, shared.id.as_str(), plugin, fence);
        let state = Arc::new(state);
        state.set_overrides(ConfigValues::of(&overrides.config));
        state.pause(overrides.paused);
        let (handle, inboxes) = agents::handle(
            id.clone(),
            self.revision.spec.name.clone(),
            state,
            self.plugin_queue.clone(),
        );
        shared.directory.add(handle.clone());
        let agent = Agent::start(handle, inboxes, self.revision.clone(), shared.deps.clone());
        self.agents.insert(id, agent);
    }

    fn claims(&self) -> &Claims {
        &self.shared.claims
    }
}

/// Gives up the ids and consumers of a plugin, which outlive its agents on this host.
pub(super) async fn forget(shared: &Shared, plugin: &PluginName, ids: Vec<AgentId>) {
    shared.healing_record.forget(plugin);
    shared.claims.give_up(ids).await;
    if let Err(error) = shared.consumers.release(plugin).await {
        tracing::warn!(%plugin, error = %format!("{error:#}"), "the plugin's consumers were not released");
    }
}
