//! Supervision of a running plugin: restarts tasks and agents that exited unexpectedly.
//!
//! A panicked task is a bug of the host. It must not silence an agent or leave work unprocessed
//! until the next reload: JetStream delivers the items it held again, and the task is restarted.
//! Agents that a command shut down stay down.

use std::collections::BTreeSet;

use crate::agents::Agent;
use crate::election::Election;
use crate::status::AgentStatus;
use mistersmith_core::names::AgentId;

use super::{FeedTask, RunningPlugin};

impl RunningPlugin {
    /// The agents that a command has shut down: they stay down until the plugin is reloaded.
    pub(in crate::plugins) async fn shut_down(&self) -> BTreeSet<AgentId> {
        let mut down = self.down.clone();
        for (id, agent) in &self.agents {
            if agent.is_gone().await && self.has_stopped(id) {
                down.insert(id.clone());
            }
        }
        down
    }

    /// Whether something exited that should run, or an agent runs under an id that is no longer
    /// ours.
    pub(in crate::plugins) async fn is_broken(&self) -> bool {
        let mut agents = self.agents.values();
        agents.any(|agent| agent.handle().state.fence.is_revoked())
            || self.work.as_ref().is_some_and(FeedTask::has_broken)
            || self.circuit.as_ref().is_some_and(FeedTask::has_broken)
            || self.election.as_ref().is_some_and(Election::has_broken)
            || self.listeners.iter().any(|l| l.running.has_broken())
            || !self.broken_agents().await.is_empty()
    }

    /// Restarts the parts that exited unexpectedly.
    pub(in crate::plugins) async fn mend(&mut self) -> anyhow::Result<()> {
        self.leave_lost_ids().await?;
        for id in self.broken_agents().await {
            tracing::error!(agent = %id,
                "internal error: the task of the agent ended; it is started again; \
                please report this with the log");
            self.agents.remove(&id);
            self.shared.directory.remove(&id);
            self.add_all(vec![id]).await?;
        }
        if self.circuit.as_ref().is_some_and(FeedTask::has_broken) {
            self.share_circuit().await;
        }
        if self.election.as_ref().is_some_and(Election::has_broken) {
            tracing::error!(plugin = %self.revision.spec.name,
                "internal error: the task of the election ended; it is started again; \
                please report this with the log");
            self.resign().await;
            self.join_election().await?;
        }
        self.listeners.retain(|l| !l.running.has_broken());
        self.listen().await?;
        if self.work.as_ref().is_some_and(FeedTask::has_broken) {
            tracing::error!(plugin = %self.revision.spec.name,
                "internal error: the task that pulls work ended; it is started again; \
                please report this with the log");
            let consumers = self.consumers(&self.revision).await?;
            self.work = self.pull(consumers);
        }
        Ok(())
    }

    /// Ends the agents whose ids another host has, even in the middle of a call, and takes other
    /// ids in their place.
    async fn leave_lost_ids(&mut self) -> anyhow::Result<()> {
        let lost = |(id, agent): (&AgentId, &Agent)| {
            let revoked = agent.handle().state.fence.is_revoked();
            revoked.then(|| id.clone())
        };
        let lost: Vec<AgentId> = self.agents.iter().filter_map(lost).collect();
        if lost.is_empty() {
            return Ok(());
        }
        for id in &lost {
            if let Some(agent) = self.agents.remove(id) {
                agent.abort().await;
                self.shared.directory.remove_same(agent.handle());
            }
        }
        self.fit_agents().await
    }

    async fn broken_agents(&self) -> Vec<AgentId> {
        let mut broken = Vec::new();
        for (id, agent) in &self.agents {
            if agent.is_gone().await && !self.has_stopped(id) {
                broken.push(id.clone());
            }
        }
        broken
    }

    /// Whether the agent ended in order, with status `Stopped`.
    fn has_stopped(&self, id: &AgentId) -> bool {
        let handle = self.agents.get(id).map(crate::agents::Agent::handle);
        handle.is_some_and(|handle| handle.state.status() == AgentStatus::Stopped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn what_panics_is_broken_and_what_was_stopped_is_not() {
        let running = |task: tokio::task::JoinHandle<()>| FeedTask {
            cancel: CancellationToken::new(),
            task: Some(task),
        };
        let panicked = running(tokio::spawn(async { panic!("a mistake") }));
        let going = running(tokio::spawn(std::future::pending()));
        let stopped = running(tokio::spawn(async {}));
        stopped.cancel.cancel();
        while !panicked.task.as_ref().unwrap().is_finished()
            || !stopped.task.as_ref().unwrap().is_finished()
        {
            tokio::task::yield_now().await;
        }
        assert!(panicked.has_broken());
        assert!(!going.has_broken());
        assert!(!stopped.has_broken());
    }
}
