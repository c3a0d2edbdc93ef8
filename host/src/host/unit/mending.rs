//! What ended although nobody told it to, and what ended because somebody did.
//!
//! A task of ours that panicked is a mistake of the host. It must not silence an agent or leave work
//! lying until the next reload: what it held comes back by itself, and it is started again.

use std::collections::BTreeSet;

use crate::names::AgentId;
use crate::patterns::election::Election;
use crate::status::AgentStatus;

use super::{Running, Unit};

impl Unit {
    /// The agents that a command has ended: they stay down until the plugin is reloaded.
    pub(in crate::host) async fn shut_down(&self) -> BTreeSet<AgentId> {
        let mut down = self.down.clone();
        for (id, agent) in &self.agents {
            if agent.is_gone().await && self.has_stopped(id) {
                down.insert(id.clone());
            }
        }
        down
    }

    /// Whether something ended that should run.
    pub(in crate::host) async fn is_broken(&self) -> bool {
        self.work.as_ref().is_some_and(Running::has_broken)
            || self.circuit.as_ref().is_some_and(Running::has_broken)
            || self.election.as_ref().is_some_and(Election::has_broken)
            || self.listeners.iter().any(|l| l.running.has_broken())
            || !self.broken_agents().await.is_empty()
    }

    /// Starts again what ended although it should run.
    pub(in crate::host) async fn mend(&mut self) -> anyhow::Result<()> {
        for id in self.broken_agents().await {
            tracing::error!(agent = %id, "the agent's task ended by a mistake of the host; it is started again");
            self.agents.remove(&id);
            self.shared.directory.remove(&id);
            self.add_all(vec![id]).await?;
        }
        if self.circuit.as_ref().is_some_and(Running::has_broken) {
            self.share_circuit().await;
        }
        if self.election.as_ref().is_some_and(Election::has_broken) {
            tracing::error!(plugin = %self.version.spec.name, "the election ended by a mistake of the host; it is started again");
            self.resign().await;
            self.stand().await?;
        }
        self.listeners.retain(|l| !l.running.has_broken());
        self.listen().await?;
        if self.work.as_ref().is_some_and(Running::has_broken) {
            tracing::error!(plugin = %self.version.spec.name, "the pulling of work ended by a mistake of the host; it is started again");
            let lanes = self.lanes(&self.version).await?;
            self.work = self.pull(lanes);
        }
        Ok(())
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

    /// Whether the agent came to its end in order, and said so.
    fn has_stopped(&self, id: &AgentId) -> bool {
        let port = self.agents.get(id).map(crate::agent::Agent::port);
        port.is_some_and(|port| port.cell.status() == AgentStatus::Stopped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn what_panics_is_broken_and_what_was_stopped_is_not() {
        let running = |task: tokio::task::JoinHandle<()>| Running {
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
